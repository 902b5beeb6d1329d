"""Intervals of rank correlations: a target's connections depend on each other, and ablation depends on its images."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from analysis.reuse.comparison.image_effects import EFFECTS
from analysis.reuse.measures import HALVES, MEASURES

Cluster = Literal["target_layer", "source_layer"]  # what a resample draws, with all of its connections


def tie_noise(rows: pd.DataFrame, measure: str) -> np.ndarray:
    """Return a measure's values, with those below its noise tied at 0."""
    noise = MEASURES[measure].noise if measure in MEASURES else 0.0
    return without_noise(rows[measure].to_numpy(float), noise)


def without_noise(values: np.ndarray, noise: float) -> np.ndarray:
    """Return the values, with those below the noise tied at 0."""
    tied: np.ndarray = np.where(np.abs(values) < noise, 0.0, values)
    return tied


def over_images(rows: pd.DataFrame, measure: str, resamples: int, seed: int) -> np.ndarray:
    """Return a measure's values over resampled images: (resamples, rows), or (rows,) where images do not change them.

    The table's ``attrs`` hold the effect on every image, and each resample draws images with replacement. A table that
    was read from a file has ablation over two halves of its images, and each resample takes one of them: the
    mean over a half differs from the mean over all images by what that one has as its standard error (half-sample
    replication, McCarthy 1969). All connections of a resample share their images.
    """
    values = tie_noise(rows, measure)
    effects = rows.attrs.get(EFFECTS)
    if measure == "ablation" and effects is not None:
        return without_noise(effects.resample(rows, resamples, seed), MEASURES[measure].noise)
    if measure != "ablation" or any(half not in rows for half in HALVES):
        return values
    half = np.random.default_rng((seed, 1)).integers(2, size=resamples)
    return without_noise(rows[list(HALVES)].to_numpy(float).T[half], MEASURES[measure].noise)


def draw_clusters(rows: pd.DataFrame, by: Cluster, resamples: int, seed: int) -> np.ndarray:
    """Return how often each resample takes each connection: (resamples, rows).

    A resample draws as many targets (or sources) as there are, with replacement, each with all of its connections.
    """
    cluster = rows.groupby(["block", by]).ngroup().to_numpy()
    clusters = cluster.max() + 1
    draws: np.ndarray = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), resamples)
    return draws[:, cluster]


def centered_interval(resampled: np.ndarray, value: float) -> tuple[float, float]:
    """Return the percentiles 2.5 and 97.5 of what was resampled, shifted so that its median is the value.

    Resampling adds the noise of the images a second time, which weakens every resampled correlation.
    """
    known = resampled[~np.isnan(resampled)]
    if not len(known):
        return float("nan"), float("nan")
    low, middle, high = np.percentile(known, (2.5, 50, 97.5))
    return float(low + value - middle), float(high + value - middle)
