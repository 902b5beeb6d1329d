"""Which of two measures predicts a third better, with an interval of the difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.reuse.agreement import choose_connections, correlations_within
from analysis.reuse.baselines import BASELINES
from analysis.reuse.comparison.resampling import Cluster, centered_interval, draw_clusters, over_images, tie_noise
from analysis.reuse.ranks import spearman, weighted_spearman


@dataclass(frozen=True)
class AgreementDifference:
    """The rank correlation of one measure with a reference, less that of another."""

    difference: float  # -2..2
    low: float  # 95 % interval over targets, and over the images of ablation
    high: float
    low_by_source: float  # the same, over sources instead of targets
    high_by_source: float
    within_targets: float  # mean of the same difference within each target of three sources or more; nan without one
    within_low: float  # its 95 % interval over targets
    within_high: float


def compare_agreements(
    table: pd.DataFrame,
    first: str,
    other: str,
    reference: str = "ablation",
    kind: str | None = "dense_layer",
    block_input: bool = True,
    resamples: int = 1000,
    seed: int = 0,
) -> AgreementDifference:
    """Return how much better ``first`` orders connections as ``reference`` does than ``other``.

    The bootstrap is paired: every resample has the same connections and images for both. Intervals of the two
    correlations that overlap do not show that they are alike, nor does one that excludes 0 beside one that does not
    show that they differ.

    Args:
        table: as from ``measure_reuse``.
        first, other: measures of the table, or ``BASELINES``.
        kind, block_input, resamples: as for ``agreement``.

    Raises:
        ValueError: as ``agreement``.

    >>> from analysis import connection_weights
    >>> from densenet_core import load_zoo
    >>> table = connection_weights(load_zoo("densenet-40-12-digits"))
    >>> found = compare_agreements(table, "mean_abs_weight", "nearness", "mean_abs_weight")
    >>> found.low > 0
    True
    """
    baselines = {name: BASELINES[name](table) for name in (first, other) if name in BASELINES}
    rows = choose_connections(table.assign(**baselines), (first, other, reference), kind, block_input)
    a, b, wanted = (tie_noise(rows, name) for name in (first, other, reference))
    difference = spearman(a, wanted) - spearman(b, wanted)
    one, two, drawn = (over_images(rows, name, resamples, seed) for name in (first, other, reference))

    def interval(by: Cluster) -> tuple[float, float]:
        times = draw_clusters(rows, by, resamples, seed)
        resampled = weighted_spearman(one, drawn, times) - weighted_spearman(two, drawn, times)
        return centered_interval(resampled, difference)

    within = _mean_and_interval(
        correlations_within(rows, a, wanted) - correlations_within(rows, b, wanted), resamples, seed
    )
    return AgreementDifference(difference, *interval("target_layer"), *interval("source_layer"), *within)


def _mean_and_interval(values: np.ndarray, resamples: int, seed: int) -> tuple[float, float, float]:
    """Return the mean of the known values, one per target, with its 95 % interval over targets."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan"), float("nan")
    drawn = known[np.random.default_rng(seed).integers(len(known), size=(resamples, len(known)))].mean(1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(known.mean()), float(low), float(high)
