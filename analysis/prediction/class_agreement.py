"""Reliability of the profiles of classes: measured on two halves of the images, and compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from analysis.prediction.by_class import class_profiles, reuse_by_class
from analysis.reuse.connections import Network
from densenet_core import DataError
from densenet_core.data.images import Images, sample_evenly

NUM_PERMUTATIONS = 10_000


@dataclass(frozen=True)
class ClassAgreement:
    """Mean Pearson correlations of class profiles between two halves of the images.

    Profiles are centered (the mean over classes is subtracted), except for ``raw_same`` and ``raw_other``.
    """

    num_images: int
    num_classes: int
    num_connections: int
    same_class: float  # between the halves, for the same class: the reliability of what is specific to a class
    other_class: float  # between the halves, for different classes: the null
    p_value: float  # fraction of random assignments of classes between the halves that agree at least as well
    raw_same: float  # for the same class, with what all classes need
    raw_other: float  # for different classes, with what all classes need: how far they need the same connections


def class_agreement(network: Network, images: Images, num_images: int = 500) -> ClassAgreement:
    """Measure ``reuse_by_class`` on two halves of the images, and compare the profiles of the classes.

    Args:
        images: Labeled images; ``num_images`` of them are used, evenly spaced over the set. Every other one is in the
            first half.

    Raises:
        CheckpointError: The network is not a DenseNet.
        DataError: The images do not fit the network, or a class has images in one half only.
    """
    chosen = sample_evenly(images, num_images)
    rows = torch.arange(len(chosen))
    first, second = (reuse_by_class(network, chosen.subset(rows[start::2]), len(chosen)) for start in (0, 1))
    return compare_profiles(first, second)


def compare_profiles(first: pd.DataFrame, second: pd.DataFrame, measure: str = "ablation") -> ClassAgreement:
    """Compare the class profiles of two tables of ``reuse_by_class``, measured on different images.

    Raises:
        DataError: The tables have different classes, or fewer than 3.
    """
    classes = [sorted(table["class"].unique()) for table in (first, second)]
    if classes[0] != classes[1] or len(classes[0]) < 3:
        raise DataError(f"the halves have classes {classes[0]} and {classes[1]}: use more images")
    centered, raw = (
        _cross_correlations(*(class_profiles(table, measure, is_centered).to_numpy() for table in (first, second)))
        for is_centered in (True, False)
    )
    same, other = np.eye(len(centered), dtype=bool), ~np.eye(len(centered), dtype=bool)
    return ClassAgreement(
        num_images=int(sum(table.groupby("class")["num_images"].first().sum() for table in (first, second))),
        num_classes=len(centered),
        num_connections=len(first) // len(centered),
        same_class=float(centered[same].mean()),
        other_class=float(centered[other].mean()),
        p_value=_permutation_p(centered),
        raw_same=float(raw[same].mean()),
        raw_other=float(raw[other].mean()),
    )


def _cross_correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Pearson's correlations of the rows of two arrays, 0 where a row is constant: (rows, rows)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.corrcoef(first, second)[: len(first), len(first) :]
    found: np.ndarray = np.nan_to_num(correlations)
    return found


def _permutation_p(correlations: np.ndarray) -> float:
    generator, number = np.random.default_rng(0), len(correlations)
    orders = generator.permuted(np.tile(np.arange(number), (NUM_PERMUTATIONS, 1)), axis=1)
    permuted = correlations[np.arange(number), orders].mean(1)
    at_least = int((permuted >= np.trace(correlations) / number - 1e-12).sum())
    return (1 + at_least) / (1 + NUM_PERMUTATIONS)
