"""A cell of a heatmap, which is a connection, as text: ``BLOCK.SOURCE.TARGET`` in addresses."""

from __future__ import annotations

import re

import pandas as pd

from analysis.figures.figure_5 import Connection

_CELL = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})")


def parse_cell(text: str, table: pd.DataFrame) -> Connection | None:
    """Return the connection that a text names; None where the table has no such connection."""
    match = _CELL.fullmatch(text)
    if match is None:
        return None
    block, source, target = map(int, match.groups())
    is_there = (table["block"] == block) & (table["source_layer"] == source) & (table["target_layer"] == target)
    return Connection(block, source, target) if is_there.any() else None


def cell_text(cell: tuple[int, int, int]) -> str:
    """Return the text that names a connection.

    >>> cell_text((2, 5, 9))
    '2.5.9'
    """
    return ".".join(map(str, cell))
