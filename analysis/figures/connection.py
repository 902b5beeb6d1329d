"""One cell of Figure 5 in detail: its row, its column and the distribution of its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.figure_5 import Connection
from analysis.figures.style.heatmap import ticks
from analysis.figures.style.screen import ACCENT, layout
from analysis.figures.style.words import SOURCE_LAYER, TARGET_LAYER
from analysis.reuse.measures import measure_title
from analysis.words import Phrase

MIN_PLACES = 6  # for bars


def source_profile(table: pd.DataFrame, measure: str, cell: Connection) -> go.Figure:
    """Return the cell's row: how much each target weighs this source."""
    rows = table[(table["block"] == cell.block) & (table["source_layer"] == cell.source_layer)]
    marked = rows["target_layer"] == cell.target_layer
    return _profile(rows["target_layer"], rows[measure], marked, TARGET_LAYER, measure)


def target_profile(table: pd.DataFrame, measure: str, cell: Connection) -> go.Figure:
    """Return the cell's column: how much this target weighs each of its sources."""
    rows = table[(table["block"] == cell.block) & (table["target_layer"] == cell.target_layer)]
    marked = rows["source_layer"] == cell.source_layer
    return _profile(rows["source_layer"], rows[measure], marked, SOURCE_LAYER, measure)


def weight_histogram(weights: np.ndarray) -> go.Figure:
    """Return the distribution of one connection's weights.

    Args:
        weights: all of them, in any shape.
    """
    counts, edges = np.histogram(weights, bins=min(60, max(10, int(np.sqrt(weights.size)))))
    bars = {
        "x": (edges[:-1] + edges[1:]) / 2,
        "y": counts,
        "width": np.diff(edges),
        "marker": {"color": ACCENT, "line": {"width": 0}},
        "hovertemplate": Phrase("figures.weight_hover", "w ≈ %{x:.3g}: %{y} weights<extra></extra>"),
    }
    x_axis = {"title": {"text": Phrase("figures.weight", "weight w")}}
    return _bar_chart(bars, x_axis, Phrase("figures.num_weights", "number of weights"))


def _profile(x: pd.Series, y: pd.Series, marked: pd.Series, x_title: str, measure: str) -> go.Figure:
    bars = {
        "x": x,
        "y": y,
        "marker": {"color": [ACCENT if m else "#bfdbfe" for m in marked]},
        "hovertemplate": Phrase("figures.value_hover", "{axis} %{x}: %{y:.4g}<extra></extra>", axis=x_title),
    }
    first, last = int(x.min()), int(x.max())
    beside = 0.6 + max(0, MIN_PLACES - (last - first + 1)) / 2  # a single bar is not as wide as the plot
    x_axis = {"title": {"text": x_title}, "tickvals": ticks(last, first), "range": [first - beside, last + beside]}
    return _bar_chart(bars, x_axis, measure_title(measure))


def _bar_chart(bars: dict[str, Any], x_axis: dict[str, Any], y_title: str) -> go.Figure:
    look = layout(height=220)
    look["margin"] = look["margin"] | {"t": 6}
    y_axis = {"title": {"text": y_title}, "rangemode": "tozero", "nticks": 5}
    axes = {"xaxis": x_axis, "yaxis": y_axis}
    return go.Figure({"type": "bar", **bars}, look | axes | {"bargap": 0.15})
