"""Two networks of one shape: how their feature reuse differs, connection by connection."""

from __future__ import annotations

import pandas as pd

from analysis.reuse.scaling import Scaling, scaled

KEYS = ["block", "source_layer", "target_layer", "target_kind"]


def reuse_difference(
    first: pd.DataFrame, second: pd.DataFrame, measure: str = "mean_abs_weight", scaling: Scaling = "block_max"
) -> pd.DataFrame:
    """Return the scaled values of both networks and their difference, a row for each connection.

    >>> from analysis import connection_weights
    >>> from densenet_core import load_zoo
    >>> table = connection_weights(load_zoo("densenet-40-12-digits"))
    >>> reuse_difference(table, table)["difference"].abs().max()
    0.0

    Args:
        first, second: as from ``connection_weights`` or ``measure_reuse``, with a column for the measure.
        scaling: of each network by itself, so that networks of different weight decay can be compared.

    Returns:
        Columns block, source_layer, target_layer, target_kind, first, second and difference (first minus second).
        ``attrs`` has rank_correlation, Spearman's correlation of the two networks' values.

    Raises:
        ValueError: the networks have other blocks or layers.
    """
    if not first[KEYS].reset_index(drop=True).equals(second[KEYS].reset_index(drop=True)):
        shapes = " and ".join(_shape(table) for table in (first, second))
        raise ValueError(f"the networks have different blocks, {shapes}: choose two of the same shape")
    values = [scaled(table, measure, scaling).to_numpy() for table in (first, second)]
    found = first[KEYS].reset_index(drop=True).assign(first=values[0], second=values[1])
    found["difference"] = found["first"] - found["second"]
    found.attrs["rank_correlation"] = float(found["first"].corr(found["second"], method="spearman"))
    return found


def _shape(table: pd.DataFrame) -> str:
    """The numbers of layers of the blocks."""
    layers = table.groupby("block")["target_layer"].max() - 1
    return "(" + ", ".join(map(str, layers)) + " layers)"
