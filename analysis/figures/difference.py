"""Two networks' feature reuse on one scale, and their difference: red where the first reuses more, blue where less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from analysis.figures.style.blocks import Colors, Row, blocks_figure, measure_colors
from analysis.figures.style.blocks_screen import blocks_screen
from analysis.figures.style.heatmap import DIVERGING, ColorMap
from analysis.figures.style.screen import plain
from analysis.reuse.measures import DEFAULT
from analysis.reuse.scaling import Scaling, default_scaling
from analysis.words import Phrase

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

TITLE = Phrase("figures.difference", "first minus second")
HOVER = Phrase(
    "figures.difference_hover",
    "<b>block %{customdata[0]}: source %{customdata[1]} → target %{customdata[2]}</b><br>"
    "first: %{customdata[3]:.3f}<br>second: %{customdata[4]:.3f}<br>difference: %{customdata[5]:+.3f}<extra></extra>",
)
COLUMNS = ["block", "source_layer", "target_layer", "first", "second", "difference"]


def difference_screen(table: pd.DataFrame, only: int | None = None) -> go.Figure:
    """Draw the difference of every cell, with both networks' values on hover.

    Args:
        table: as from ``reuse_difference``.
        only: draw this block alone; the color bar is the last block's.
    """
    return blocks_screen(table, [_difference(table)], table[COLUMNS], HOVER, only=only)


def difference_figure(table: pd.DataFrame, columns: int = 2) -> Figure:
    """Draw the difference for a paper.

    Args:
        table: as from ``reuse_difference``.
        columns: width of the figure in columns of a paper.
    """
    return blocks_figure(table, [_difference(table)], columns)


def two_networks_screen(
    table: pd.DataFrame,
    names: tuple[str, str] = ("first", "second"),
    measure: str = DEFAULT,
    scaling: Scaling | None = None,
    color_map: ColorMap = "viridis",
    only: int | None = None,
) -> go.Figure:
    """Draw both networks below each other on one scale; each cell's hover has both values and their difference.

    Plotly shows one hover at a time, of the cell under the pointer. A dotted line marks that cell's target layer in
    the other network too.

    Args:
        table: as from ``reuse_difference`` of the same measure and scaling.
        names: of the networks, before the blocks' titles.
        only: draw this block alone; the color bar is the last block's.
    """
    rows = _both(table, (plain(names[0]), plain(names[1])), measure, scaling, color_map)
    return blocks_screen(table, rows, table[COLUMNS], HOVER, only=only)


def two_networks_figure(
    table: pd.DataFrame,
    names: tuple[str, str] = ("first", "second"),
    measure: str = DEFAULT,
    scaling: Scaling | None = None,
    color_map: ColorMap = "viridis",
    columns: int = 2,
) -> Figure:
    """Draw both networks below each other on one scale, for a paper."""
    from analysis.figures.style.paper import plain_text

    rows = _both(table, (plain_text(names[0]), plain_text(names[1])), measure, scaling, color_map)
    return blocks_figure(table, rows, columns)


def _both(
    table: pd.DataFrame, names: tuple[str, str], measure: str, scaling: Scaling | None, color_map: ColorMap
) -> list[Row]:
    scaling = default_scaling(measure) if scaling is None else scaling
    values = pd.concat([table["first"], table["second"]])
    colors = measure_colors(values, measure, scaling, color_map)
    return [Row(table[column], colors, name) for column, name in zip(("first", "second"), names, strict=True)]


def _difference(table: pd.DataFrame) -> Row:
    """Return the difference in diverging colors: white is none."""
    limit = float(table["difference"].abs().max()) or 1.0
    return Row(table["difference"], Colors(TITLE, -limit, limit, DIVERGING))
