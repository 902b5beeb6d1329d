"""How a measure is scaled before it is drawn, and each source's share of its target."""

from __future__ import annotations

from typing import Literal, get_args

import pandas as pd

Scaling = Literal["block_max", "network_max", "target_max", "target_minmax", "none"]
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)

# The paper does not say how Figure 5's colours are scaled to 0..1; per block by its maximum is how it reads.
SCALING_TITLES: dict[Scaling, str] = {
    "block_max": "per block by its maximum",
    "network_max": "whole network by its maximum",
    "target_max": "per target by its maximum",
    "target_minmax": "per target from minimum to maximum",
    "none": "raw values",
}


def scaled(table: pd.DataFrame, measure: str, scaling: Scaling = "block_max") -> pd.Series:
    """A measure of the feature-reuse table, scaled for drawing; the same index as ``table``.

    Returns:
        Values in 0..1, but for "none", which gives the raw ones. Where all of a group are 0
        (or, from minimum to maximum, all equal) they become 0.

    Raises:
        ValueError: ``scaling`` or ``measure`` is not known; those that are, are listed.
    """
    if scaling not in SCALINGS:
        raise ValueError(f"scaling {scaling!r} is none of {', '.join(SCALINGS)}")
    check_measure(table, measure)
    values = table[measure].astype(float)
    if scaling == "none":
        return values
    if scaling == "network_max":
        return (values / values.max()).fillna(0.0)
    groups = values.groupby([table[key] for key in _group_keys(scaling)])
    low = groups.transform("min") if scaling == "target_minmax" else 0.0
    return ((values - low) / (groups.transform("max") - low)).fillna(0.0)


def target_share(table: pd.DataFrame) -> pd.Series:
    """Each connection's share of the L1 norm of all its target's weights: 0..1, adding up to 1 over a target."""
    l1 = table["l1_per_input_map"] * table["num_channels"]
    return (l1 / l1.groupby([table["block"], table["target_layer"]]).transform("sum")).fillna(0.0)


def check_measure(table: pd.DataFrame, measure: str) -> None:
    """Raises ValueError where ``table`` has no such measure; those that it has are listed."""
    keys = {"block", "source_layer", "target_layer", "target_kind", "num_channels"}
    known = [column for column in table.columns if column not in keys]
    if measure not in known:
        raise ValueError(f"measure {measure!r} is none of {', '.join(known)}")


def _group_keys(scaling: Scaling) -> list[str]:
    return ["block"] if scaling == "block_max" else ["block", "target_layer"]
