"""The blocks of a network as heatmaps, for the screen (Plotly)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.figures.style.blocks import Colors, Row, rows_with_dots
from analysis.figures.style.heatmap import DIVERGING, block_matrix, block_title, highlighted_targets, ticks
from analysis.figures.style.screen import INK, MUTED, layout
from analysis.figures.style.words import KIND_TITLES, SOURCE_LAYER, TARGET_LAYER, name_kinds

if TYPE_CHECKING:
    import plotly.graph_objects as go

PLOTLY_COLORS = {"jet": "Jet", "viridis": "Viridis", "cividis": "Cividis", DIVERGING: "RdBu_r"}
PANEL_HEIGHT = 330  # pixels
LABEL_SIZE = 11  # pixels, of the words beside framed columns
LABEL_ROOM = 24  # pixels, for these words at the figure's edge


def blocks_screen(
    table: pd.DataFrame,
    rows: Sequence[Row],
    hover: pd.DataFrame,
    template: str,
    marked: tuple[int, int, int] | None = None,
    only: int | None = None,
) -> go.Figure:
    """Draw rows of heatmaps for the screen; panels below each other share their target layer's axis.

    A dotted line marks the hovered cell's target layer in all rows.

    Args:
        table: a feature-reuse table.
        hover: with the table's index: the cells' ``customdata``, of which the first three columns are block,
            source_layer and target_layer; ``text`` is the kind of the target.
        template: the ``hovertemplate``.
        marked: a connection to draw a white frame around.
        only: draw this block alone, for a page that places the blocks by the screen's width; the color bar is the last
            block's.
    """
    import plotly.graph_objects as go

    every = sorted(int(block) for block in table["block"].unique())
    blocks = every if only is None else [only]
    per_row = len(blocks) if len(blocks) <= 3 or len(rows) > 1 else 2
    grid = _Grid(blocks, len(rows), per_row)
    bars = list(dict.fromkeys(row.colors for row in rows))
    figure: dict[str, Any] = layout(height=grid.num_rows * PANEL_HEIGHT + 60) | {
        "grid": {"subplots": grid.subplots(), "xgap": 0.24, "ygap": 0.3 if len(rows) == 1 else 0.22},
        "annotations": [],
        "shapes": [],
        "dragmode": False,
        "hovermode": "closest",
        "clickmode": "event+select",
        "hoverdistance": 30,
    }
    has_bar = every[-1] in blocks
    figure |= {f"coloraxis{_suffix(n)}": _color_bar(bar, n, len(bars), has_bar) for n, bar in enumerate(bars)}
    if not has_bar:
        figure["margin"] |= {"r": LABEL_ROOM}
    traces: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        for place, block in enumerate(blocks):
            axes = grid.axes(number, place)
            traces += _cells(table, row, block, hover, template, axes, f"coloraxis{_suffix(bars.index(row.colors))}")
            figure |= _axes(table, block, axes, is_first=place % per_row == 0, has_spikes=len(rows) > 1)
            figure["annotations"] += [_heading(table, row, block, axes), *_labels(table, block, axes)]
            figure["shapes"] += _frames(table, block, axes)
            if marked is not None and marked[0] == block:
                figure["shapes"] += _marks(*marked[1:], axes)
    return go.Figure(traces, figure)


class _Grid(NamedTuple):
    """Which axes a panel has: a y axis of its own; panels of several rows share an x axis for each block."""

    blocks: list[int]
    num_given: int  # rows of heatmaps
    per_row: int

    @property
    def num_rows(self) -> int:
        """Rows of panels: one row of heatmaps takes several where it has many blocks."""
        return self.num_given if self.num_given > 1 else -(-len(self.blocks) // self.per_row)

    def axes(self, row: int, place: int) -> tuple[str, str]:
        """Return the suffixes of a panel's x and y axis: "" for the first, "2" for the second and so on."""
        return _suffix(place), _suffix(row * len(self.blocks) + place)

    def subplots(self) -> list[list[str]]:
        """Return Plotly's ``layout.grid.subplots``."""
        names = [
            f"x{x}y{y}" for r in range(self.num_given) for x, y in (self.axes(r, p) for p in range(len(self.blocks)))
        ]
        names += [""] * (self.num_rows * self.per_row - len(names))
        return [names[i : i + self.per_row] for i in range(0, len(names), self.per_row)]


def _suffix(number: int) -> str:
    return "" if number == 0 else str(number + 1)


def _color_bar(colors: Colors, number: int, count: int, is_shown: bool) -> dict[str, Any]:
    """Return a color axis; several color bars are below each other."""
    place = {} if count == 1 else {"len": 1 / count, "y": 1 - (number + 0.5) / count}
    bar = {"title": {"text": colors.title, "side": "right"}, "thickness": 12, "outlinewidth": 0, "x": 1.04}
    return {
        "colorscale": PLOTLY_COLORS.get(colors.color_map, colors.color_map),
        "cmin": colors.low,
        "cmax": colors.high,
        "colorbar": bar | place,
        "showscale": is_shown,
    }


def _cells(
    table: pd.DataFrame,
    row: Row,
    block: int,
    hover: pd.DataFrame,
    template: str,
    axes: tuple[str, str],
    color_axis: str,
) -> list[dict[str, Any]]:
    """Return a block's heatmap, its dots, and transparent markers over its cells for hovering and clicking."""
    own = table[table["block"] == block]
    traces = [_image(block_matrix(table, row.values, block), color_axis)]
    if row.dotted is not None:
        traces.append(_dots(rows_with_dots(own, row.dotted)))
    traces.append(_markers(own, hover, template))
    return [trace | {"xaxis": f"x{axes[0]}", "yaxis": f"y{axes[1]}"} for trace in traces]


def _image(matrix: np.ndarray, color_axis: str) -> dict[str, Any]:
    return {
        "type": "heatmap",
        "z": matrix,
        "x": np.arange(1, len(matrix) + 1),
        "coloraxis": color_axis,
        "hoverinfo": "skip",
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
    }


def _markers(rows: pd.DataFrame, hover: pd.DataFrame, template: str) -> dict[str, Any]:
    """Return transparent markers: clicks on heatmaps do not reach Streamlit."""
    unchanged = {"marker": {"opacity": 0}}
    return {
        "type": "scatter",
        "x": rows["target_layer"],
        "y": rows["source_layer"],
        "mode": "markers",
        "marker": {"opacity": 0, "maxdisplayed": 1},
        "customdata": hover.loc[rows.index].astype(object).to_numpy(),
        "text": [KIND_TITLES[kind] for kind in rows["target_kind"]],
        "hovertemplate": template,
        "selected": unchanged,
        "unselected": unchanged,
        "showlegend": False,
    }


def _dots(rows: pd.DataFrame) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": rows["target_layer"],
        "y": rows["source_layer"],
        "mode": "markers",
        "marker": {"size": 4, "color": "white", "line": {"color": "black", "width": 0.7}},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _axes(
    table: pd.DataFrame, block: int, axes: tuple[str, str], is_first: bool, has_spikes: bool
) -> dict[str, dict[str, Any]]:
    size = int(table.loc[table["block"] == block, "target_layer"].max())
    axis: dict[str, Any] = {"showgrid": False, "zeroline": False, "ticks": "outside", "ticklen": 3}
    x_axis: dict[str, Any] = {
        "title": {"text": TARGET_LAYER},
        "tickvals": ticks(size, first=1),
        "range": [0.5, size + 0.5],
    }
    y_axis: dict[str, Any] = {"tickvals": ticks(size - 1), "range": [size - 0.5, -0.5]}
    if is_first:
        y_axis["title"] = {"text": SOURCE_LAYER}
    if has_spikes:
        x_axis |= {"showspikes": True, "spikemode": "across", "spikethickness": 1, "spikedash": "dot"}
        x_axis |= {"spikesnap": "hovered data", "spikecolor": MUTED}
    return {f"xaxis{axes[0]}": axis | x_axis, f"yaxis{axes[1]}": axis | y_axis}


def _heading(table: pd.DataFrame, row: Row, block: int, axes: tuple[str, str]) -> dict[str, Any]:
    return _words(row.title(block_title(table, block)), axes, 14, INK, x=0.5, y=1, yanchor="bottom")


def _labels(table: pd.DataFrame, block: int, axes: tuple[str, str]) -> list[dict[str, Any]]:
    """Return the kind of the last column in words, to its right."""
    words = name_kinds(highlighted_targets(table, block).values())
    return [_words(words, axes, LABEL_SIZE, MUTED, x=1, y=0.5, xanchor="left", textangle=90)] if words else []


def _words(text: str, axes: tuple[str, str], size: int, color: str, **place: Any) -> dict[str, Any]:
    on = {"xref": f"x{axes[0]} domain", "yref": f"y{axes[1]} domain", "showarrow": False}
    return {"text": text, "font": {"size": size, "color": color}} | on | place


def _frames(table: pd.DataFrame, block: int, axes: tuple[str, str]) -> list[dict[str, Any]]:
    """Return black rectangles around the columns of transitions and classifiers."""
    last = int(table.loc[table["block"] == block, "target_layer"].max()) - 1
    return [_rectangle(axes, t, t, 0, last, "black", 2) for t in highlighted_targets(table, block)]


def _marks(source: int, target: int, axes: tuple[str, str]) -> list[dict[str, Any]]:
    """Return rectangles around a cell that are visible on every color."""
    place = (target, target, source, source)
    return [_rectangle(axes, *place, color, width) for color, width in (("black", 5), ("white", 2.5))]


def _rectangle(
    axes: tuple[str, str], left: int, right: int, top: int, bottom: int, color: str, width: float
) -> dict[str, Any]:
    """Return a rectangle around the cells from one to another, these included."""
    sides = {"x0": left - 0.5, "x1": right + 0.5, "y0": top - 0.5, "y1": bottom + 0.5}
    line = {"color": color, "width": width}
    return {"type": "rect", "xref": f"x{axes[0]}", "yref": f"y{axes[1]}", **sides, "line": line}
