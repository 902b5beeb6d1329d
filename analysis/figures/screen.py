"""Figures for the screen, with Plotly: the same pictures as ``paper``, to hover over and to click."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.heatmap import (
    KIND_TITLES,
    MEASURE_TITLES,
    ColorMap,
    block_matrix,
    block_title,
    check_color_map,
    color_range,
    color_title,
    highlighted_targets,
    ticks,
)
from analysis.figures.screen_style import ACCENT, GRID, INK, layout
from analysis.scaling import Scaling, scaled

PLOTLY_COLORS = {"jet": "Jet", "viridis": "Viridis", "cividis": "Cividis"}
PANEL_HEIGHT = 330  # pixels


class Connection(NamedTuple):
    """One cell of the heatmap."""

    block: int
    source_layer: int
    target_layer: int


def feature_reuse_screen(
    table: pd.DataFrame,
    measure: str = "mean_abs_weight",
    scaling: Scaling = "block_max",
    color_map: ColorMap = "jet",
    marked: Connection | None = None,
) -> go.Figure:
    """The feature-reuse heatmaps of all blocks, each cell with its numbers on hover.

    The cells carry (block, source_layer, target_layer) as the first three of their markers' ``customdata``.

    Args:
        table: as ``connection_weights`` gives it.
        marked: a connection to draw a white frame around.

    Raises:
        ValueError: an option is not known; those that are, are listed.
    """
    check_color_map(color_map)
    values = scaled(table, measure, scaling)
    blocks = sorted(table["block"].unique())
    per_row = len(blocks) if len(blocks) <= 3 else 2
    rows = -(-len(blocks) // per_row)
    figure = make_subplots(
        rows,
        per_row,
        subplot_titles=[block_title(table, block) for block in blocks],
        horizontal_spacing=0.18 / per_row,
        vertical_spacing=0.16,
    )
    for panel, block in enumerate(blocks):
        _add_block(figure, table, values, int(block), measure, *(i + 1 for i in divmod(panel, per_row)))
    if marked is not None:
        _frame_cell(figure, marked, blocks.index(marked.block) + 1)
    low, high = color_range(values, scaling)
    bar = {"title": {"text": color_title(measure, scaling), "side": "right"}, "thickness": 12, "outlinewidth": 0}
    figure.update_layout(
        **layout(height=rows * PANEL_HEIGHT + 60),
        coloraxis={"colorscale": PLOTLY_COLORS[color_map], "cmin": low, "cmax": high, "colorbar": bar},
        dragmode=False,
        hovermode="closest",
        clickmode="event+select",
    )
    figure.update_annotations(font={"size": 14, "color": INK})
    return figure


def _add_block(
    figure: go.Figure, table: pd.DataFrame, values: pd.Series, block: int, measure: str, row: int, col: int
) -> None:
    matrix = block_matrix(table, values, block)
    size = len(matrix)
    figure.add_trace(
        go.Heatmap(
            z=matrix,
            x=np.arange(1, size + 1),
            coloraxis="coloraxis",
            hoverinfo="skip",
            hoverongaps=False,
            xgap=1,
            ygap=1,
        ),
        row,
        col,
    )
    figure.add_trace(_cell_markers(table, values, block, measure, size), row, col)
    axis = {"showgrid": False, "zeroline": False, "fixedrange": True, "ticks": "outside", "ticklen": 3}
    x_ticks, y_ticks = ticks(size, first=1), ticks(size - 1)
    figure.update_xaxes(
        axis | {"title": "target layer ℓ", "tickvals": x_ticks, "range": [0.5, size + 0.5]}, row=row, col=col
    )
    figure.update_yaxes(axis | {"tickvals": y_ticks, "range": [size - 0.5, -0.5]}, row=row, col=col)
    if col == 1:
        figure.update_yaxes(title="source layer s", row=row, col=col)
    for target in highlighted_targets(table, block):
        frame = {"x0": target - 0.5, "x1": target + 0.5, "y0": -0.5, "y1": size - 0.5}
        figure.add_shape(type="rect", **frame, line={"color": "black", "width": 2}, row=row, col=col)


def _cell_markers(table: pd.DataFrame, values: pd.Series, block: int, measure: str, size: int) -> go.Scatter:
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
    marker = {"symbol": "square", "size": min(24, 240 / size), "color": "rgba(0,0,0,0)", "line": {"width": 0}}
    unchanged = {"marker": {"opacity": 0}}
    return go.Scatter(
        x=rows["target_layer"],
        y=rows["source_layer"],
        mode="markers",
        marker=marker,
        customdata=custom,
        text=rows["target_kind"].map(KIND_TITLES).tolist(),
        hovertemplate=(
            "<b>block %{customdata[0]}: source %{customdata[1]} → target %{customdata[2]}</b><br>"
            "target: %{text}<br>source gives %{customdata[3]} feature maps<br>"
            f"{MEASURE_TITLES.get(measure, measure)}: %{{customdata[4]:.4g}}<br>"
            "scaled: %{customdata[5]:.3f}<extra></extra>"
        ),
        selected=unchanged,
        unselected=unchanged,
        showlegend=False,
    )


def _frame_cell(figure: go.Figure, cell: Connection, panel: int) -> None:
    axis = "" if panel == 1 else str(panel)
    frame = {
        "x0": cell.target_layer - 0.5,
        "x1": cell.target_layer + 0.5,
        "y0": cell.source_layer - 0.5,
        "y1": cell.source_layer + 0.5,
    }
    for color, width in (("black", 5), ("white", 2.5)):  # seen on every colour
        figure.add_shape(type="rect", xref=f"x{axis}", yref=f"y{axis}", **frame, line={"color": color, "width": width})


def source_profile(table: pd.DataFrame, measure: str, cell: Connection) -> go.Figure:
    """The cell's row: how much each target weighs this source."""
    rows = table[(table["block"] == cell.block) & (table["source_layer"] == cell.source_layer)]
    marked = rows["target_layer"] == cell.target_layer
    return _profile(rows["target_layer"], rows[measure], marked, "target layer ℓ", measure)


def target_profile(table: pd.DataFrame, measure: str, cell: Connection) -> go.Figure:
    """The cell's column: how much this target weighs each of its sources."""
    rows = table[(table["block"] == cell.block) & (table["target_layer"] == cell.target_layer)]
    marked = rows["source_layer"] == cell.source_layer
    return _profile(rows["source_layer"], rows[measure], marked, "source layer s", measure)


def weight_histogram(weights: np.ndarray) -> go.Figure:
    """The distribution of one connection's weights.

    Args:
        weights: all of them, in any shape.
    """
    counts, edges = np.histogram(weights, bins=min(60, max(10, int(np.sqrt(weights.size)))))
    bars = go.Bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=counts,
        width=np.diff(edges),
        marker={"color": ACCENT, "line": {"width": 0}},
        hovertemplate="w ≈ %{x:.3g}: %{y} weights<extra></extra>",
    )
    return _small(go.Figure(bars), "weight w", "number of weights")


def _profile(x: pd.Series, y: pd.Series, marked: pd.Series, x_title: str, measure: str) -> go.Figure:
    bars = go.Bar(
        x=x,
        y=y,
        marker={"color": [ACCENT if m else "#bfdbfe" for m in marked]},
        hovertemplate=f"{x_title} %{{x}}: %{{y:.4g}}<extra></extra>",
    )
    figure = _small(go.Figure(bars), x_title, MEASURE_TITLES.get(measure, measure))
    return figure.update_xaxes(tickvals=ticks(int(x.max()), int(x.min())))


def _small(figure: go.Figure, x_title: str, y_title: str) -> go.Figure:
    figure.update_layout(**layout(height=220), bargap=0.15)
    figure.update_layout(margin_t=6)
    figure.update_xaxes(title=x_title, fixedrange=True)
    return figure.update_yaxes(title=y_title, fixedrange=True, gridcolor=GRID, rangemode="tozero", nticks=5)
