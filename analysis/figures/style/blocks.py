"""The blocks of a network as heatmaps: their rows, and the figure for paper (Matplotlib).

A figure has one row of heatmaps, or several whose cells are the same connections: two networks, mean and spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from analysis.figures.style.heatmap import (
    ColorMap,
    block_matrix,
    block_title,
    color_map_name,
    color_title,
    highlighted_targets,
)
from analysis.reuse.scaling import Scaling, color_range
from analysis.words import Phrase

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Colors(NamedTuple):
    """A color bar; rows of heatmaps with equal ones share it."""

    title: str
    low: float
    high: float
    color_map: str  # Matplotlib's name


class Row(NamedTuple):
    """One row of heatmaps."""

    values: pd.Series  # a value for each connection, with the table's index
    colors: Colors
    name: str = ""  # before the blocks' titles
    dotted: pd.Series | None = None  # the connections whose cells have a dot

    def title(self, block: str) -> str:
        """Return the title of a block in this row."""
        return Phrase("figures.named_block", "{row}: {block}", row=self.name, block=block) if self.name else block


def measure_colors(values: pd.Series, measure: str, scaling: Scaling, color_map: ColorMap) -> Colors:
    """Return the color bar of scaled values of a measure; diverging, with 0 in the middle, for one that has a sign.

    Raises:
        ValueError: ``color_map`` is unknown.
    """
    name = color_map_name(color_map, measure, scaling)
    return Colors(color_title(measure, scaling), *color_range(values, measure, scaling), name)


def rows_with_dots(table: pd.DataFrame, dotted: pd.Series) -> pd.DataFrame:
    return table[dotted.loc[table.index].fillna(False).astype(bool)]


def blocks_figure(table: pd.DataFrame, rows: Sequence[Row], columns: int = 2, words: str = "") -> Figure:
    """Draw rows of heatmaps for a paper.

    Args:
        table: a feature-reuse table.
        columns: width of the figure in columns of a paper: 1 (3.25 inches) or 2 (6.875 inches).
        words: the line under the figure.

    Raises:
        ValueError: ``columns`` is neither 1 nor 2.
    """
    import matplotlib as mpl

    from analysis.figures.style.paper import COLUMN_WIDTHS, STYLE, draw_colors, panels, split, write_caption

    if columns not in COLUMN_WIDTHS:
        raise ValueError(f"columns {columns} is neither 1 nor 2")
    blocks = sorted(table["block"].unique())
    per_row = len(blocks) if len(rows) > 1 else 4 if columns == 2 else 2
    bars = list(dict.fromkeys(row.colors for row in rows))
    with mpl.rc_context(fname=STYLE):
        figure, axes, bar = panels(len(rows) * len(blocks), columns, per_row)
        drawn = [(row, block) for row in rows for block in blocks]
        for ax, (row, block) in zip(axes, drawn, strict=True):
            _draw_panel(ax, table, row, block)
        for ax, colors in zip(split(bar, len(bars)), bars, strict=True):
            draw_colors(ax, *colors)
        write_caption(figure, words)
    return figure


def _draw_panel(ax: Axes, table: pd.DataFrame, row: Row, block: int) -> None:
    from analysis.figures.style.paper import draw_block, highlight

    colors = row.colors
    look = {"vmin": colors.low, "vmax": colors.high, "cmap": colors.color_map}
    draw_block(ax, block_matrix(table, row.values, block), row.title(block_title(table, block)), **look)
    highlight(ax, highlighted_targets(table, block))
    if row.dotted is not None:
        dots = rows_with_dots(table[table["block"] == block], row.dotted)
        x, y = dots["target_layer"] - 0.5, dots["source_layer"] + 0.5
        ax.plot(x, y, "o", markersize=1.8, markerfacecolor="white", markeredgecolor="black", markeredgewidth=0.3)
