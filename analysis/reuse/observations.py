"""The four observations that the paper draws from Figure 5 (section 5, Feature Reuse), each as a number.

The paper states them in words, of one network. The statistics and the criteria below are ours: they turn the words
into something that a network can fail. Source weights are compared within a target by mean_abs_weight; within a
target both measures of the feature-reuse table give the same comparison.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

# Spread: the effective number of sources (the exponential of the entropy of their weights' shares) over
# their number. 1 = all alike, 1/n = all on one. Half says that a layer uses at least half of its sources' worth.
LEAST_SPREAD = 0.5
# "Consistently": in three of four layers at least.
LEAST_SHARE_OF_LAYERS = 0.75
# "A concentration towards the final feature maps": a tenth more for the last third of the sources.
LEAST_LEAN = 1.1


@dataclass(frozen=True)
class Observation:
    """One statement of the paper and what this network says to it."""

    number: int
    statement: str  # in our words
    statistic: str  # what the value is
    value: float | None  # None: the network has nothing to compute it from
    criterion: str
    holds: bool | None  # None: not decidable
    reason: str = ""  # why it is not decidable


def figure5_observations(table: pd.DataFrame) -> tuple[Observation, ...]:
    """The paper's four observations on Figure 5, read off a network's feature-reuse table.

    Args:
        table: as ``connection_weights`` gives it; blocks without a dense layer, of other networks, are left out.
    """
    dense = table.loc[table["target_kind"] == "dense_layer", "block"]
    table = table[table["block"].isin(dense)]
    return (_layers_spread(table), _transitions_spread(table), _block_input_least(table), _classifier_leans(table))


def spread(weights: np.ndarray) -> float:
    """Effective number of sources over their number, 1/n .. 1; nan where all weights are 0."""
    if weights.sum() == 0:
        return float("nan")
    shares = weights / weights.sum()
    positive = shares[shares > 0]
    return float(np.exp(-(positive * np.log(positive)).sum()) / len(weights))


def _layers_spread(table: pd.DataFrame) -> Observation:
    layers = table[(table.target_kind == "dense_layer") & (table.target_layer > 1)]
    spreads = layers.groupby(["block", "target_layer"])["mean_abs_weight"].agg(lambda w: spread(w.to_numpy()))
    value = _number(spreads.mean())
    return Observation(
        number=1,
        statement="Layers spread their weights over many inputs of the same block.",
        statistic="effective number of sources / number of sources, mean over the dense layers",
        value=value,
        criterion=f"at least {LEAST_SPREAD:g}",
        holds=None if value is None else value >= LEAST_SPREAD,
        reason="no dense layer has two sources" if value is None else "",
    )


def _transitions_spread(table: pd.DataFrame) -> Observation:
    transitions = table[table.target_kind == "transition"]
    spreads = transitions.groupby("block")["mean_abs_weight"].agg(lambda w: spread(w.to_numpy()))
    value = _number(spreads.min())
    return Observation(
        number=2,
        statement="Transition layers spread theirs over all layers of the block before them.",
        statistic="effective number of sources / number of sources, least of the transitions",
        value=value,
        criterion=f"at least {LEAST_SPREAD:g}",
        holds=None if value is None else value >= LEAST_SPREAD,
        reason="no transition reads a dense block" if value is None else "",
    )


def _block_input_least(table: pd.DataFrame) -> Observation:
    layers = table[(table.block > 1) & (table.target_kind == "dense_layer") & (table.target_layer > 1)]
    targets = layers.groupby(["block", "target_layer"])["mean_abs_weight"]
    is_least = layers["mean_abs_weight"] == targets.transform("min")
    value = _number(is_least[layers.source_layer == 0].mean())
    return Observation(
        number=3,
        statement="Layers after the first block give the transition's output (row 0) the least weight.",
        statistic="share of the dense layers whose least-weighted source is row 0",
        value=value,
        criterion=f"at least {LEAST_SHARE_OF_LAYERS:g}",
        holds=None if value is None else value >= LEAST_SHARE_OF_LAYERS,
        reason="no dense layer with two sources stands behind a transition" if value is None else "",
    )


def _classifier_leans(table: pd.DataFrame) -> Observation:
    weights = table[table.target_kind == "classifier"].sort_values("source_layer")["mean_abs_weight"].to_numpy()
    last_third = max(1, len(weights) // 3)
    early = weights[:-last_third].mean() if len(weights) > 1 else 0.0
    value = _number(weights[-last_third:].mean() / early) if early > 0 else None
    return Observation(
        number=4,
        statement="The classifier uses the whole block but leans to its last feature maps.",
        statistic="mean weight of the last third of the sources / mean weight of the others",
        value=value,
        criterion=f"at least {LEAST_LEAN:g}",
        holds=None if value is None else value >= LEAST_LEAN,
        reason="no classifier gives early feature maps of a dense block weight" if value is None else "",
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
