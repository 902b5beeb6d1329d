"""The difference of two networks' feature reuse as heatmaps: red where the first reuses more, blue where the second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.figure_5 import feature_reuse_screen
from analysis.figures.style.heatmap import DIVERGING, block_matrix, block_title, highlighted_targets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "first minus second"
HOVER = (
    "<b>block %{customdata[0]}: source %{customdata[1]} → target %{customdata[2]}</b><br>"
    "first: %{customdata[3]:.3f}<br>second: %{customdata[4]:.3f}<br>difference: %{customdata[5]:+.3f}<extra></extra>"
)
COLUMNS = ["block", "source_layer", "target_layer", "first", "second", "difference"]


def difference_screen(table: pd.DataFrame) -> go.Figure:
    """Draw the difference of every cell, with both networks' values on hover.

    Args:
        table: as from ``reuse_difference``.
    """
    drawn = table.assign(mean_abs_weight=table["difference"], num_channels=0)
    figure = feature_reuse_screen(drawn, "mean_abs_weight", "none", "viridis")
    limit = _limit(table)
    bar = {"title": {"text": TITLE}}
    figure.update_layout(coloraxis={"colorscale": DIVERGING, "cmin": -limit, "cmax": limit, "colorbar": bar})
    for number, block in enumerate(sorted(table["block"].unique())):
        rows = table.loc[table["block"] == block, COLUMNS].astype(object)
        figure.data[2 * number + 1].update(customdata=rows.to_numpy(), hovertemplate=HOVER)
    return figure


def difference_figure(table: pd.DataFrame, columns: int = 2) -> Figure:
    """Draw the same for a paper.

    Args:
        table: as from ``reuse_difference``.
        columns: width of the figure in columns of a paper.
    """
    import matplotlib as mpl

    from analysis.figures.style.paper import STYLE, draw_block, draw_colors, highlight, panels

    blocks, limit = sorted(table["block"].unique()), _limit(table)
    with mpl.rc_context(fname=STYLE):
        figure, axes, bar = panels(len(blocks), columns)
        for ax, block in zip(axes, blocks, strict=True):
            matrix = block_matrix(table, table["difference"], block)
            draw_block(ax, matrix, block_title(table, block), cmap=DIVERGING, vmin=-limit, vmax=limit)
            highlight(ax, highlighted_targets(table, block))
        draw_colors(bar, TITLE, -limit, limit, DIVERGING)
    return figure


def _limit(table: pd.DataFrame) -> float:
    """The largest difference, so that white is none."""
    return float(table["difference"].abs().max()) or 1.0
