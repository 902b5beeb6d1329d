"""The paper's Figure 5, for paper (Matplotlib) and for the screen (Plotly, to hover over and to click)."""

from __future__ import annotations

from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure

from analysis.figures.style.heatmap import (
    DIVERGING,
    KIND_TITLES,
    ColorMap,
    block_matrix,
    block_title,
    caption,
    color_title,
    highlighted_targets,
    named_color_map,
    ticks,
)
from analysis.figures.style.paper import COLUMN_WIDTHS, STYLE, draw_block, draw_colors, highlight, panels, write_caption
from analysis.figures.style.screen import INK, layout
from analysis.reuse.measures import measure_title
from analysis.reuse.scaling import Scaling, color_range, default_scaling, scaled

PLOTLY_COLORS = {"jet": "Jet", "viridis": "Viridis", "cividis": "Cividis", DIVERGING: "RdBu_r"}
PANEL_HEIGHT = 330  # pixels


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
        ValueError: an option is unknown; the sentence lists those known.
    """
    if columns not in COLUMN_WIDTHS:
        raise ValueError(f"columns {columns} is neither 1 nor 2")
    scaling = default_scaling(measure) if scaling is None else scaling
    values = scaled(table, measure, scaling)
    colors = named_color_map(color_map, measure, scaling)
    blocks = sorted(table["block"].unique())
    low, high = color_range(values, measure, scaling)
    with mpl.rc_context(fname=STYLE):
        figure, axes, bar_axes = panels(len(blocks), columns)
        for ax, block in zip(axes, blocks, strict=True):
            matrix = block_matrix(table, values, block)
            draw_block(ax, matrix, block_title(table, block), vmin=low, vmax=high, cmap=colors)
            highlight(ax, highlighted_targets(table, block))
        draw_colors(bar_axes, measure_title(measure), low, high, colors)
        write_caption(figure, caption(measure, scaling, line_break="\n" if columns == 1 else " "))
    return figure


def feature_reuse_screen(
    table: pd.DataFrame,
    measure: str = "mean_abs_weight",
    scaling: Scaling | None = None,
    color_map: ColorMap = "jet",
    marked: Connection | None = None,
) -> go.Figure:
    """Draw the feature-reuse heatmaps of all blocks, each cell with its numbers on hover.

    The cells carry (block, source_layer, target_layer) as the first three of their markers' ``customdata``.

    Args:
        table: as from ``connection_weights`` or ``measure_reuse``.
        marked: a connection to draw a white frame around.

    Raises:
        ValueError: an option is unknown; the sentence lists those known.
    """
    scaling = default_scaling(measure) if scaling is None else scaling
    values = scaled(table, measure, scaling)
    colors = PLOTLY_COLORS[named_color_map(color_map, measure, scaling)]
    blocks = sorted(int(block) for block in table["block"].unique())
    per_row = len(blocks) if len(blocks) <= 3 else 2
    rows = -(-len(blocks) // per_row)
    suffixes = {block: "" if number == 1 else str(number) for number, block in enumerate(blocks, start=1)}
    panels = [_panel(table, values, block, measure, suffix) for block, suffix in suffixes.items()]
    axes = {name: axis for panel in panels for name, axis in panel.axes.items()}
    for block in blocks[::per_row]:
        axes[f"yaxis{suffixes[block]}"]["title"] = {"text": "source layer s"}
    frames = [] if marked is None else _frames(marked, suffixes[marked.block])
    low, high = color_range(values, measure, scaling)
    bar = {"title": {"text": color_title(measure, scaling), "side": "right"}, "thickness": 12, "outlinewidth": 0}
    return go.Figure(
        [trace for panel in panels for trace in panel.traces],
        layout(height=rows * PANEL_HEIGHT + 60)
        | axes
        | {
            "grid": {"rows": rows, "columns": per_row, "pattern": "independent", "xgap": 0.22, "ygap": 0.3},
            "annotations": [panel.heading for panel in panels],
            "shapes": [shape for panel in panels for shape in panel.shapes] + frames,
            "coloraxis": {"colorscale": colors, "cmin": low, "cmax": high, "colorbar": bar},
            "dragmode": False,
            "hovermode": "closest",
            "clickmode": "event+select",
            "hoverdistance": 30,
        },
    )


class _Panel(NamedTuple):
    """What a block adds to the figure, as Plotly's dictionaries."""

    traces: list[dict[str, Any]]
    axes: dict[str, dict[str, Any]]
    heading: dict[str, Any]
    shapes: list[dict[str, Any]]


def _panel(table: pd.DataFrame, values: pd.Series, block: int, measure: str, suffix: str) -> _Panel:
    """The panel of a block whose axes have this suffix: "" of the first, "2" of the second and so on."""
    matrix = block_matrix(table, values, block)
    size = len(matrix)
    on = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
    image = {
        "type": "heatmap",
        "z": matrix,
        "x": np.arange(1, size + 1),
        "coloraxis": "coloraxis",
        "hoverinfo": "skip",
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
    }
    axis = {"showgrid": False, "zeroline": False, "fixedrange": True, "ticks": "outside", "ticklen": 3}
    x_ticks, y_ticks = ticks(size, first=1), ticks(size - 1)
    x_axis = {"title": {"text": "target layer ℓ"}, "tickvals": x_ticks, "range": [0.5, size + 0.5]}
    y_axis = {"tickvals": y_ticks, "range": [size - 0.5, -0.5]}
    heading = {
        "text": block_title(table, block),
        "font": {"size": 14, "color": INK},
        "xref": f"x{suffix} domain",
        "yref": f"y{suffix} domain",
        "x": 0.5,
        "y": 1,
        "yanchor": "bottom",
        "showarrow": False,
    }
    return _Panel(
        [image | on, _cell_markers(table, values, block, measure) | on],
        {f"xaxis{suffix}": axis | x_axis, f"yaxis{suffix}": axis | y_axis},
        heading,
        [_rectangle(suffix, t, t, 0, size - 1, "black", 2) for t in highlighted_targets(table, block)],
    )


def _cell_markers(table: pd.DataFrame, values: pd.Series, block: int, measure: str) -> dict[str, Any]:
    """Transparent squares over the cells: they carry the hover, and are what a click selects."""
    rows = table[table["block"] == block]
    custom = np.column_stack(
        [
            rows[["block", "source_layer", "target_layer"]].astype(object),
            rows["num_channels"],
            rows[measure],
            values[rows.index],
        ]
    )
    unchanged = {"marker": {"opacity": 0}}
    return {
        "type": "scatter",
        "x": rows["target_layer"],
        "y": rows["source_layer"],
        "mode": "markers",
        "marker": {"opacity": 0, "maxdisplayed": 1},
        "customdata": custom,
        "text": rows["target_kind"].map(KIND_TITLES).tolist(),
        "hovertemplate": (
            "<b>block %{customdata[0]}: source %{customdata[1]} → target %{customdata[2]}</b><br>"
            "target: %{text}<br>source gives %{customdata[3]} feature maps<br>"
            f"{measure_title(measure)}: %{{customdata[4]:.4g}}<br>"
            "scaled: %{customdata[5]:.3f}<extra></extra>"
        ),
        "selected": unchanged,
        "unselected": unchanged,
        "showlegend": False,
    }


def _frames(cell: Connection, suffix: str) -> list[dict[str, Any]]:
    """Around a cell, to be seen on every colour."""
    place = (cell.target_layer, cell.target_layer, cell.source_layer, cell.source_layer)
    return [_rectangle(suffix, *place, color, width) for color, width in (("black", 5), ("white", 2.5))]


def _rectangle(suffix: str, left: int, right: int, top: int, bottom: int, color: str, width: float) -> dict[str, Any]:
    """Around the cells from one to another, these among them."""
    sides = {"x0": left - 0.5, "x1": right + 0.5, "y0": top - 0.5, "y1": bottom + 0.5}
    return {
        "type": "rect",
        "xref": f"x{suffix}",
        "yref": f"y{suffix}",
        **sides,
        "line": {"color": color, "width": width},
    }
