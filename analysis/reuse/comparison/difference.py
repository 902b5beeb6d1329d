"""Compare the feature reuse of two networks with the same blocks, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.reuse.measures import CONNECTION, DEFAULT
from analysis.reuse.scaling import Scaling, default_scaling, scale_measure


def reuse_difference(
    first: pd.DataFrame, second: pd.DataFrame, measure: str = DEFAULT, scaling: Scaling | None = None
) -> pd.DataFrame:
    """Return the scaled values of both networks and their difference, a row for each connection.

    >>> from analysis import connection_weights
    >>> from densenet_core import load_zoo
    >>> table = connection_weights(load_zoo("densenet-40-12-digits"))
    >>> reuse_difference(table, table)["difference"].abs().max()
    0.0

    Args:
        first, second: as from ``connection_weights``, ``measure_reuse`` or ``reuse_at``, with a column for the measure.
        scaling: of each network by itself, so that networks of different weight decay can be compared; by default
            ``default_scaling(measure)``.

    Returns:
        Columns block, source_layer, target_layer, target_kind, first, second and difference (first minus second).
        ``attrs`` has rank_correlation, Spearman's correlation of the two networks' values.

    Raises:
        ValueError: the networks have different blocks or layers.
    """
    check_same_cells((first, second))
    scaling = default_scaling(measure) if scaling is None else scaling
    values = [scale_measure(table, measure, scaling).to_numpy() for table in (first, second)]
    found = first[CONNECTION].reset_index(drop=True).assign(first=values[0], second=values[1])
    found["difference"] = found["first"] - found["second"]
    found.attrs["rank_correlation"] = float(found["first"].corr(found["second"], method="spearman"))
    return found


def have_same_cells(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Return whether two feature-reuse tables have the same connections in the same order."""
    return first[CONNECTION].reset_index(drop=True).equals(second[CONNECTION].reset_index(drop=True))


def check_same_cells(tables: Sequence[pd.DataFrame]) -> None:
    """Raise ValueError if the tables have different connections; the message names two of the shapes."""
    for table in tables[1:]:
        if not have_same_cells(tables[0], table):
            shapes = " and ".join(_shape(each) for each in (tables[0], table))
            raise ValueError(f"the networks have different blocks, {shapes}: choose networks of the same shape")


def _shape(table: pd.DataFrame) -> str:
    """Return the numbers of layers of the blocks."""
    layers = table.groupby("block")["target_layer"].max() - 1
    return "(" + ", ".join(map(str, layers)) + " layers)"
