"""The claim on overfitting, tested on several seeds of each side: synthetic records with known gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from analysis.claims.claim import NotMeasurable, check
from analysis.claims.claims import ON_IMAGES
from analysis.claims.evidence import Evidence
from analysis.claims.generalization import compare_gaps, welch_interval
from analysis.claims.losses import Losses, gap_difference, image_losses
from densenet_core import Checkpoint, create_model
from densenet_core.networks.names import published_spec
from densenet_core.networks.network import Network
from tests.analysis.reuse.test_effects import some_images

CLAIM = next(claim for claim in ON_IMAGES if claim.name == "overfits_less")
WIDE = (0.30, 0.40, 0.50)  # standard deviation 0.1


def runs(arch: str, gaps: Sequence[float], **settings: Any) -> list[Checkpoint]:
    """Runs of one architecture whose records have these gaps; they differ in seed, name and losses."""
    return [
        Checkpoint(
            published_spec(arch),
            {},
            {
                "name": f"{arch}-{seed}",
                "arch": arch,
                "dataset": "C10",
                "seed": seed,
                "test_loss": 0.5 + gap,
                "train_eval_loss": 0.5,
                "recipe": {"epochs": 40, "drop_rate": 0.0, "seed": seed, **settings},
            },
        )
        for seed, gap in enumerate(gaps)
    ]


def dense(gaps: Sequence[float], **settings: Any) -> list[Checkpoint]:
    return runs("densenet-40-12", gaps, **settings)


def resnets(gaps: Sequence[float], **settings: Any) -> list[Checkpoint]:
    return runs("resnet-20", gaps, **settings)


def some_models(number: int) -> list[Network]:
    return [create_model("densenet-7-2", num_classes=5) for _ in range(number)]


def changed(run: Checkpoint, **record: Any) -> Checkpoint:
    return Checkpoint(run.spec, run.weights, run.record | record)


def overfitting(ours: Sequence[Checkpoint], theirs: Sequence[Checkpoint]) -> pd.Series:
    return check([CLAIM], Evidence(ours[0], beside=tuple(theirs), seeds=tuple(ours[1:]))).iloc[0]


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        (WIDE, (0.80, 0.90, 1.00), "holds"),
        ((0.80, 0.90, 1.00), WIDE, "does not hold"),
        (WIDE, (0.45, 0.55, 0.65), "undecided"),
    ],
)
def test_the_verdict_is_that_of_the_interval_over_seeds(
    ours: Sequence[float], theirs: Sequence[float], verdict: str
) -> None:
    row = overfitting(dense(ours), resnets(theirs))
    difference = ours[1] - theirs[1]  # the middle of three evenly spaced gaps is their mean
    half = 2.776 * math.sqrt(2 * 0.1**2 / 3)  # Student's t with 4 degrees of freedom, from a table
    assert (row["value"], row["low"], row["high"]) == (
        pytest.approx(difference),
        pytest.approx(difference - half, abs=1e-4),
        pytest.approx(difference + half, abs=1e-4),
    )
    assert (row["verdict"], row["criterion"]) == (verdict, "at most 0")
    assert row["control"] == "gap of ResNet-20, mean of 3 seeds"
    assert row["control_value"] == pytest.approx(theirs[1])


def test_the_result_names_n_spread_and_criterion() -> None:
    assert overfitting(dense(WIDE), resnets((0.8, 1.0), epochs=80))["reason"] == (
        "3 against 2 seeds, from the records: gap 0.4 ± 0.1 [0.3, 0.4, 0.5] against 0.9 ± 0.14 [0.8, 1] "
        "(mean ± standard deviation); Welch's 95 % interval over seeds; the sides also differ in epochs"
    )


def test_two_seeds_are_enough_and_leave_a_wide_interval() -> None:
    row = overfitting(dense((0.3, 0.5)), resnets((0.7, 0.9)))
    half = 4.303 * math.sqrt(2 * 0.02 / 2)  # 2 degrees of freedom; variance 0.02 on each side
    assert (row["low"], row["high"]) == (pytest.approx(-0.4 - half, abs=1e-4), pytest.approx(-0.4 + half, abs=1e-4))
    assert row["verdict"] == "undecided"  # with the normal distribution's 1.96 it would hold


def test_the_interval_is_not_that_of_pooled_variances() -> None:
    interval = welch_interval([0.0, 2.0], [1.0, 1.0, 1.0])  # a side without spread leaves n - 1 = 1 degree of freedom
    assert interval == pytest.approx((-12.706, 12.706), abs=1e-3)
    ours, theirs = [0.1, 0.4, 0.2, 0.6], [1.0, 1.1]
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    assert welch_interval(ours, theirs) == pytest.approx((expected.low, expected.high))


@pytest.mark.slow
def test_one_run_of_each_side_falls_back_to_the_images() -> None:
    ours, theirs = (Checkpoint(m.spec, m.state_dict(), {}) for m in some_models(2))
    train, test = some_images(30), some_images(40)
    found = compare_gaps([ours], [theirs], train, test)
    losses = [Losses(image_losses(own, train), image_losses(own, test)) for own in (ours, theirs)]
    assert (found.difference, found.low, found.high) == pytest.approx(gap_difference(losses[0], losses[1]))
    with pytest.raises(NotMeasurable, match="30 or more training and as many test images"):
        compare_gaps(dense([0.3]), resnets([0.4]))  # the records alone have no interval


@pytest.mark.slow
def test_runs_without_recorded_gaps_are_all_measured_on_the_images() -> None:
    names = [{"seed": number % 2, "name": f"run-{number}"} for number in range(4)]
    networks = [Checkpoint(m.spec, m.state_dict(), name) for m, name in zip(some_models(4), names, strict=True)]
    networks[0] = changed(networks[0], test_loss=9.0, train_eval_loss=0.0)
    with pytest.raises(NotMeasurable, match="the records of run-1, run-2, run-3 have no finite test_loss and train_"):
        compare_gaps(networks[:2], networks[2:])
    train, test = some_images(30), some_images(40)
    found = compare_gaps(networks[:2], networks[2:], train, test)
    expected = [image_losses(own, test).mean() - image_losses(own, train).mean() for own in networks]
    assert (*found.ours, *found.theirs) == pytest.approx(expected)  # the recorded 9 is not mixed with measured gaps
    assert "2 against 2 seeds, on 30 training and 40 test images: gap " in found.detail


@pytest.mark.parametrize("loss", [math.nan, math.inf, None, "0.5"])
def test_a_loss_that_is_no_finite_number_is_named(loss: object) -> None:
    ours = dense(WIDE)
    row = overfitting([*ours[:2], changed(ours[2], test_loss=loss)], resnets(WIDE))
    assert row["verdict"] == "not decidable"
    assert row["reason"].startswith("the records of densenet-40-12-2 have no finite test_loss")


def test_runs_of_a_side_that_differ_in_more_than_the_seed_are_named() -> None:
    longer = changed(dense(WIDE, epochs=80)[2], name="longer")
    row = overfitting([*dense(WIDE[:2]), longer, resnets(WIDE)[2]], resnets(WIDE))
    assert row["verdict"] == "not decidable"
    named = "more than the seed differs from densenet-40-12-0 in longer (epochs), resnet-20-2 (arch)"
    assert row["reason"] == named
    theirs = resnets(WIDE)
    other = [*theirs[:2], changed(theirs[2], dataset="C10+")]
    assert overfitting(dense(WIDE), other)["reason"] == (
        "more than the seed differs from resnet-20-0 in resnet-20-2 (dataset)"
    )


def test_one_run_given_twice_is_not_two_seeds() -> None:
    ours = dense(WIDE)
    reason = overfitting([ours[0], ours[1], ours[1]], resnets(WIDE))["reason"]
    assert reason.startswith("the runs of a side need a seed of their own each: densenet-40-12-0 (0), ")
    copies = overfitting(dense((0.3, 0.3)), resnets((0.4, 0.4)))
    assert (copies["verdict"], "copies" in copies["reason"]) == ("not decidable", True)


def test_one_run_beside_several_is_not_decidable() -> None:
    assert overfitting(dense(WIDE[:1]), resnets(WIDE))["reason"] == (
        "1 against 3 runs: give two or more of each, or one of each"
    )
