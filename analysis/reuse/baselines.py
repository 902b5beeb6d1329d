"""Baselines for every measure: orders of connections by structure alone, without weights or images.

A measure that orders connections no better than these says nothing about the trained network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from analysis.reuse.measures import MEASURE_TITLES, MEASURES
from analysis.words import phrases

if TYPE_CHECKING:  # the command line reads the orders at its start
    import pandas as pd


def inverse_sources(table: pd.DataFrame) -> pd.Series:
    """1 / number of the target's sources: the mean of every share within a target."""
    return 1 / table.groupby(["block", "target_layer"])["source_layer"].transform("size")


def channel_share(table: pd.DataFrame) -> pd.Series:
    """The source's share of the target's input channels."""
    return table["num_channels"] / table.groupby(["block", "target_layer"])["num_channels"].transform("sum")


def nearness(table: pd.DataFrame) -> pd.Series:
    """Minus the distance between the layers, target_layer - source_layer."""
    return table["source_layer"] - table["target_layer"]


def log_densenet(table: pd.DataFrame) -> pd.Series:
    """The connections that a logarithmic pattern keeps come first, in each group the nearest.

    Layer i reads the layers i - 1, i - 2, i - 4, i - 8 and so on (Log-DenseNet, Hu et al. 2017; the same offsets in
    Zhu et al. 2018, "Sparsely Aggregated Convolutional Networks").
    """
    distance = table["target_layer"] - table["source_layer"]
    is_power_of_two = (distance & (distance - 1)) == 0
    order: pd.Series = is_power_of_two - distance / (distance.max() + 1)
    return order


def nearest_and_farthest(table: pd.DataFrame) -> pd.Series:
    """The nearest and farthest sources of each target come first, the middle last (SparseNet, Liu and Zeng 2018)."""
    sources = table.groupby(["block", "target_layer"])["source_layer"]
    near, far = sources.rank(ascending=False), sources.rank()
    return -near.where(near < far, far)


BASELINES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "inverse_sources": inverse_sources,
    "channel_share": channel_share,
    "nearness": nearness,
}
BASELINE_TITLES = phrases(
    "measures",
    {
        "inverse_sources": "1 / number of sources",
        "channel_share": "share of the channels",
        "nearness": "nearness of the layers",
    },
)
# Fixed sparse patterns of the literature, as orders of pruning: the least goes first.
PATTERNS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "log_densenet": log_densenet,
    "nearest_and_farthest": nearest_and_farthest,
}
PATTERN_TITLES = phrases(
    "measures",
    {
        "log_densenet": "pattern of Log-DenseNet",
        "nearest_and_farthest": "pattern of SparseNet",
    },
)

# A share within a target does not order connections of different targets: contribution_total does.
ORDERS = (*(name for name, measure in MEASURES.items() if measure.comparable != "target"), *PATTERNS)
ORDER_TITLES = {name: title for name, title in (MEASURE_TITLES | PATTERN_TITLES).items() if name in ORDERS}
