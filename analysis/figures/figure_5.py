"""The paper's Figure 5, for paper (Matplotlib) and for the screen (Plotly, to hover over and to click)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from analysis.figures.style.blocks import Row, blocks_figure, measure_colors
from analysis.figures.style.blocks_screen import blocks_screen
from analysis.figures.style.heatmap import ColorMap, caption
from analysis.reuse.measures import measure_title
from analysis.reuse.scaling import Scaling, default_scaling, scale_measure
from analysis.words import Phrase

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure


class Connection(NamedTuple):
    """One cell of the heatmap."""

    block: int
    source_layer: int
    target_layer: int


def feature_reuse_figure(
    table: pd.DataFrame,
    measure: str = "mean_abs_weight",
    scaling: Scaling | None = None,
    color_map: ColorMap = "jet",
    columns: int = 2,
) -> Figure:
    """Draw the paper's Figure 5 for any DenseNet: a heatmap for each block, source layer down, target layer across.

    >>> from analysis import connection_weights
    >>> from densenet_core import load_zoo
    >>> figure = feature_reuse_figure(connection_weights(load_zoo("densenet-40-12-digits")))
    >>> len(figure.axes)  # three blocks and the color bar
    4

    Args:
        table: as from ``connection_weights`` or ``measure_reuse``.
        measure: the column to draw.
        scaling: how it is scaled for the colors, which the figure's caption names; by default ``default_scaling``.
        color_map: "jet" looks like the paper; "viridis" and "cividis" are perceptually uniform. A signed measure has a
            diverging map instead, with 0 in the middle.
        columns: width of the figure in columns of a paper: 1 (3.25 inches) or 2 (6.875 inches).

    Raises:
        ValueError: an option is unknown; the message lists the known ones.
    """
    scaling = default_scaling(measure) if scaling is None else scaling
    values = scale_measure(table, measure, scaling)
    colors = measure_colors(values, measure, scaling, color_map)._replace(title=measure_title(measure))
    words = caption(measure, scaling, line_break="\n" if columns == 1 else " ")
    return blocks_figure(table, [Row(values, colors)], columns, words)


def feature_reuse_screen(
    table: pd.DataFrame,
    measure: str = "mean_abs_weight",
    scaling: Scaling | None = None,
    color_map: ColorMap = "jet",
    marked: Connection | None = None,
    only: int | None = None,
) -> go.Figure:
    """Draw the feature-reuse heatmaps of all blocks, each cell with its numbers on hover.

    The cells carry (block, source_layer, target_layer) as the first three of their markers' ``customdata``.

    Args:
        table: as from ``connection_weights`` or ``measure_reuse``.
        marked: a connection to draw a white frame around.
        only: draw this block alone; the color bar is the last block's.

    Raises:
        ValueError: an option is unknown; the message lists the known ones.
    """
    scaling = default_scaling(measure) if scaling is None else scaling
    values = scale_measure(table, measure, scaling)
    colors = measure_colors(values, measure, scaling, color_map)
    hover = table[["block", "source_layer", "target_layer", "num_channels", measure]].assign(scaled=values)
    return blocks_screen(table, [Row(values, colors)], hover, _hover(measure), marked, only)


def _hover(measure: str) -> Phrase:
    return Phrase(
        "figures.cell_hover",
        "<b>block %{customdata[0]}: source %{customdata[1]} → target %{customdata[2]}</b><br>"
        "target: %{text}<br>source: %{customdata[3]} feature maps<br>"
        "{measure}: %{customdata[4]:.4g}<br>scaled: %{customdata[5]:.3f}<extra></extra>",
        measure=measure_title(measure),
    )
