"""The paper's statements on parameters, computation and overfitting as claims on published results."""

from __future__ import annotations

import math
from functools import cache, partial

import pandas as pd

from analysis.claims.claim import Claim, Criterion, check
from analysis.claims.published_statistics import (
    BC_250,
    ON_PAR,
    OSMR,
    TABLE_2,
    change_with_capacity,
    error_against_many_parameters,
    error_at_same_computation,
    error_of_best_variant,
    loss_without_augmentation,
    share_below_fractalnet,
    share_of_resnets_with_fewer,
    times_fewer,
    times_fewer_at_error,
)
from analysis.results.results import tabulated_results

BC_100 = "DenseNet-BC (L=100, k=12)"
RESNET_1001 = "ResNet-1001 (pre-activation)"
VARIANTS = ("DenseNet (L=40, k=12)", "DenseNet (L=100, k=12)", "DenseNet (L=100, k=24)")  # without BC
MOSTLY = math.nextafter(0.5, 1)  # more than half: the word says no more


def published_claims(results: pd.DataFrame | None = None) -> pd.DataFrame:
    """Test the paper's statements on published results: its own tables, and those that it is compared with.

    Args:
        results: in place of ``tabulated_results()``.

    Returns:
        One row per statement, with the columns of ``analysis.claims.claim.COLUMNS``; ``reason`` holds the numbers
        behind the value.

    Example:
        >>> claims = published_claims().set_index("claim")
        >>> claims.loc["resnet101_on_par", "verdict"], claims.loc["resnet101_on_par", "reason"]
        ('holds', '22.58 % against 22.44 %; 2.23 times fewer parameters')
    """
    return _on_tabulated_results().copy() if results is None else check(PUBLISHED, results)


@cache
def _on_tabulated_results() -> pd.DataFrame:
    return check(PUBLISHED, tabulated_results())


TIMES_FEWER = "times fewer parameters, where the error is at most 0.25 points higher (else 0)"
PUBLISHED: tuple[Claim[pd.DataFrame], ...] = (
    Claim(
        "resnet101_on_par",
        "DenseNet-201 is on par with ResNet-101 with less than half of the parameters.",
        "4.4, Figure 3",
        TIMES_FEWER,
        partial(times_fewer, dataset="ImageNet", ours="DenseNet-201", theirs="ResNet-101"),
        Criterion(at_least=2),
    ),
    Claim(
        "resnet50_computation",
        "A DenseNet with ResNet-50's computation is on par with ResNet-101.",
        "4.4, Figure 3",
        "error less ResNet-101's (percentage points)",
        error_at_same_computation,
        Criterion(at_most=ON_PAR),
    ),
    Claim(
        "resnet1001_c10",
        "On C10+, DenseNet-BC (L=100, k=12) is on par with ResNet-1001 with a tenth of the parameters.",
        "4.3, Figure 4 right",
        TIMES_FEWER,
        partial(times_fewer, dataset="C10+", ours=BC_100, theirs=RESNET_1001),
        Criterion(at_least=10),
    ),
    Claim(
        "resnet1001_c100",
        "On C100+, DenseNet-BC (L=100, k=12) is on par with ResNet-1001 with a tenth of the parameters.",
        "4.3",
        TIMES_FEWER,
        partial(times_fewer, dataset="C100+", ours=BC_100, theirs=RESNET_1001),
        Criterion(at_least=10),
    ),
    Claim(
        "third_of_resnet",
        "DenseNet-BC needs about a third of a pre-activation ResNet's parameters for the same error.",
        "4.3, Figure 4 middle",
        "times fewer parameters than ResNet-164 at its error, in the paper's Table 2",
        partial(times_fewer_at_error, source=TABLE_2, reference="ResNet-164 (pre-activation)"),
        Criterion(at_least=2.5),
    ),
    Claim(
        "third_of_resnet_osmr",
        "Trained with one recipe too, DenseNet-BC needs about a third of a pre-activation ResNet's parameters.",
        "4.3, Figure 4 middle",
        "times fewer parameters than PreResNet-164 at its error, in networks trained with one recipe",
        partial(times_fewer_at_error, source=OSMR, reference="PreResNet-164(BN)"),
        Criterion(at_least=2.5),
    ),
    Claim(
        "resnets_need_fewer",
        "Trained with one recipe, pre-activation ResNets mostly need fewer parameters than DenseNet-BC at equal error.",
        "C10+; no paper says it: observed here, and the criterion was set when the count was known",
        "share of the ResNets on the Pareto front at whose error DenseNet-BC needs more parameters",
        share_of_resnets_with_fewer,
        Criterion(at_least=MOSTLY),
        paper=OSMR,
    ),
    Claim(
        "below_fractalnet",
        "Without augmentation, the error is close to 30 % lower than FractalNet's with drop-path.",
        "4.3",
        "1 - error / FractalNet's error, minimum of C10 and C100",
        share_below_fractalnet,
        Criterion(at_least=0.25, at_most=0.35),
    ),
    Claim(
        "capacity",
        "Without compression and bottlenecks, DenseNets improve as depth and growth rate increase (C10+).",
        "4.3",
        "largest change of error from one network to the next larger (percentage points)",
        partial(change_with_capacity, dataset="C10+", models=VARIANTS),
        Criterion(at_most=0),
    ),
    Claim(
        "fewer_than_30m",
        "DenseNet-BC (L=250, k=24), with 15.3M parameters, outperforms networks with more than 30M parameters.",
        "4.3",
        "error less the best of those networks, maximum over C10, C10+, C100, C100+ (percentage points)",
        error_against_many_parameters,
        Criterion(at_most=0),
    ),
    Claim(
        "overfits_with_growth_rate",
        "Without augmentation, a growth rate of 24 instead of 12 overfits (L=100, C10).",
        "4.3",
        "change of error with four times the parameters (percentage points)",
        partial(change_with_capacity, dataset="C10", models=VARIANTS[1:]),
        Criterion(at_least=0),
    ),
    Claim(
        "svhn_depth",
        "On SVHN, DenseNet-BC with L=250 does not improve over its shorter counterpart.",
        "4.3",
        "change of error from DenseNet (L=100, k=24) to DenseNet-BC (L=250, k=24) (percentage points)",
        partial(change_with_capacity, dataset="SVHN", models=(VARIANTS[2], BC_250)),
        Criterion(at_least=0),
    ),
    Claim(
        "best_variant",
        "DenseNet-BC is the best of the variants (C10+).",
        "4.3, Figure 4 left",
        "lowest error of DenseNet-BC less the lowest of the other DenseNets (percentage points)",
        error_of_best_variant,
        Criterion(at_most=0),
    ),
    Claim(
        "loses_less_without_augmentation",
        "DenseNets are less prone to overfitting: they lose less without augmentation than ResNets.",
        "4.3",
        "error on C10 / error on C10+, largest of the DenseNets / smallest of the pre-activation ResNets",
        loss_without_augmentation,
        Criterion(at_most=1),
    ),
)
