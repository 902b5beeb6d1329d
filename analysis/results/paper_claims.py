"""What the paper says of efficiency, each statement beside the numbers that its own tables give."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.results.efficiency import Parity, parity
from analysis.results.results import published_results

PAPER = "Huang et al. 2017"
ON_PAR = 0.25  # percentage points that count as the same error


def efficiency_claims(results: pd.DataFrame | None = None) -> pd.DataFrame:
    """The paper's statements on parameters and computation, checked on published numbers.

    Returns:
        Columns statement, numbers (what the tables say), holds (True, False, or None where the points do not decide).
    """
    table = published_results() if results is None else results
    imagenet = table[(table["dataset"] == "ImageNet") & (table["error_kind"] == "top1_single_crop")]
    imagenet = imagenet[imagenet["source"].isin([f"{PAPER}, Table 3", "fb.resnet.torch, pretrained models"])]
    cifar = table[(table["source"] == f"{PAPER}, Table 2") & (table["dataset"] == "C10+")]
    osmr = table[(table["source"] == "osmr/imgclsmob") & (table["dataset"] == "C10+")]
    rows = [
        _on_par(imagenet, "DenseNet-201", "ResNet-101", "params", "less than half of the parameters", 2.0),
        _same_computation(imagenet),
        _on_par(cifar, "DenseNet-BC (L=100, k=12)", "ResNet-1001 (pre-activation)", "params", "a tenth", 10.0),
        _third("the paper's Table 2", cifar, "ResNet-164 (pre-activation)"),
        _third("osmr/imgclsmob, one recipe for all", osmr, "PreResNet-164(BN)"),
    ]
    return pd.DataFrame(rows, columns=["statement", "numbers", "holds"])


def _row(table: pd.DataFrame, model: str) -> pd.Series:
    (position,) = np.flatnonzero(table["model"] == model)
    return table.iloc[int(position)]


def _on_par(table: pd.DataFrame, ours: str, theirs: str, cost: str, words: str, least: float) -> list[object]:
    a, b = _row(table, ours), _row(table, theirs)
    times = b[cost] / a[cost]
    numbers = f"{a['error']:.2f} % against {b['error']:.2f} %; {times:.2f} times fewer {cost}"
    holds = bool(a["error"] <= b["error"] + ON_PAR and times >= least)
    return [f"{ours} is on par with {theirs} with {words}.", numbers, holds]


def _same_computation(table: pd.DataFrame) -> list[object]:
    """ "A DenseNet with ResNet-50's computation is on par with ResNet-101": DenseNet-201 is nearest to ResNet-50."""
    resnet50, resnet101 = _row(table, "ResNet-50"), _row(table, "ResNet-101")
    densenets = table[table["family"] == "DenseNet-BC"]
    nearest = densenets.loc[(densenets["mult_adds"] / resnet50["mult_adds"]).sub(1).abs().idxmin()]
    numbers = (
        f"{nearest['model']} has {nearest['mult_adds'] / resnet50['mult_adds']:.2f} times ResNet-50's mult_adds: "
        f"{nearest['error']:.2f} % against ResNet-101's {resnet101['error']:.2f} %"
    )
    holds = bool(nearest["error"] <= resnet101["error"] + ON_PAR)
    return ["A DenseNet with ResNet-50's computation is on par with ResNet-101.", numbers, holds]


def _third(where: str, table: pd.DataFrame, reference: str) -> list[object]:
    found: Parity = parity(table, "DenseNet-BC", _row(table, reference), "params")
    holds = None if found.times_fewer is None else found.times_fewer >= 2.5
    statement = f"DenseNet-BC needs about a third of a pre-activation ResNet's parameters (Figure 4, middle; {where})."
    return [statement, str(found), holds]
