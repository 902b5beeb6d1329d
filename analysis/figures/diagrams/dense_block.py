"""A dense block drawn as arcs, the paper's Figure 1 for any number of layers: for paper and for the screen."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.architecture.architecture import block_connections, block_layers
from analysis.figures.diagrams.arcs import arc, arc_collection, arc_line
from analysis.figures.style.heatmap import ticks
from analysis.figures.style.paper import COLUMN_WIDTHS, STYLE
from analysis.figures.style.paper_figure import PaperFigure
from analysis.figures.style.screen import ACCENT, INK, layout
from analysis.figures.style.words import KIND_TITLES, LAYER_FROM_INPUT
from analysis.words import Phrase
from densenet_core import DenseNetSpec

FAINT = "#c9ced6"  # connections into what follows the block, and unmarked ones
NODE = 0.15  # half a layer's width, in layers
MAX_LABELED = 12  # layers whose numbers are all written below them
_HOVERS = {
    "input": Phrase(
        "figures.block_input_hover", "<b>the block's input</b><br>outputs %{customdata[3]} feature maps<extra></extra>"
    ),
    "dense_layer": Phrase(
        "figures.dense_layer_hover",
        "<b>layer %{customdata[0]}</b><br>reads %{customdata[1]} sources: %{customdata[4]} = %{customdata[2]} "
        "feature maps<br>outputs %{customdata[3]}<extra></extra>",
    ),
    "transition": Phrase(
        "figures.transition_hover",
        "<b>the transition</b><br>reads %{customdata[1]} sources: %{customdata[4]} = %{customdata[2]} feature maps<br>"
        "outputs %{customdata[3]}<extra></extra>",
    ),
    "classifier": Phrase(
        "figures.classifier_hover",
        "<b>the classifier</b><br>reads %{customdata[1]} sources: %{customdata[4]} = %{customdata[2]} feature maps<br>"
        "outputs %{customdata[3]} scores<extra></extra>",
    ),
}


def dense_block_figure(spec: DenseNetSpec, block: int = 1, columns: int = 1) -> Figure:
    """Draw each direct connection of a dense block as an arc in its source's color, into what follows in gray.

    Args:
        block: 1-based.
        columns: width of the figure in columns of a paper: 1 (3.25 inches) or 2 (6.875 inches).

    Raises:
        ValueError: the network has no such block, or ``columns`` is neither 1 nor 2.
    """
    connections, layers = block_connections(spec, block), block_layers(spec, block)
    if columns not in COLUMN_WIDTHS:
        raise ValueError(f"columns {columns} is neither 1 nor 2")
    last = int(layers["layer"].max())
    with mpl.rc_context(fname=STYLE):
        width = COLUMN_WIDTHS[columns]
        figure = PaperFigure(figsize=(width, 1.25 + 0.3 * width))
        ax = figure.add_axes((0.5 / width, 0, 1 - 0.75 / width, 1))  # left: the rows' names; right: half a name
        _draw_arcs(ax, connections, last)
        _draw_nodes(ax, layers)
        ax.set(xlim=(-3 * NODE, last + 3 * NODE), ylim=(-0.78, 1.06))
        ax.axis("off")
        into_layers = int((connections["target_kind"] == "dense_layer").sum())
        text = f"{spec.title}, dense block {block}: {into_layers} connections into its {last - 1} layers"
        figure.text(0.5, 0.02, text, ha="center", va="bottom", fontsize=6, color="#333333")
    return figure


def _draw_arcs(ax: Axes, connections: pd.DataFrame, last: int) -> None:
    colors = source_colors(last)
    line = float(np.clip(8 / last, 0.25, 0.9))
    for kind, rows in connections.groupby("target_kind", sort=False):
        pairs = list(zip(rows["source_layer"], rows["target_layer"], strict=True))
        arcs = arc_collection([_arc(source, target, last) for source, target in pairs])
        arcs.set(linewidth=line, zorder=1 if kind == "dense_layer" else 0, label=str(kind))
        arcs.set_edgecolor([colors[source] if kind == "dense_layer" else FAINT for source, _ in pairs])
        ax.add_collection(arcs)
    targets = connections["target_layer"].unique()
    ax.scatter(targets - NODE, np.full(len(targets), 0.02), marker="v", s=min(9, 60 / last), color="#333333", zorder=2)


def _draw_nodes(ax: Axes, layers: pd.DataFrame) -> None:
    last = int(layers["layer"].max())
    colors = source_colors(last)
    for layer, kind in zip(layers["layer"], layers["kind"], strict=True):
        color = colors[layer] if layer < last else "white"
        ax.bar(layer, -0.2, 2.6 * NODE, color=color, edgecolor="#333333", linewidth=0.5, zorder=3)
        if layer in _choose_labels(last):
            name = {0: "$x_0$", last: kind}.get(layer, f"$H_{{{layer}}}$")
            ax.text(layer, -0.25, name, ha="center", va="top", fontsize=7 if layer < last else 6)
    quiet: dict[str, Any] = {"fontsize": 6, "color": "#555555"}
    for y, word, column in ((-0.4, "reads", "input_maps"), (-0.52, "outputs", "output_maps")):
        ax.annotate(word, (0, y), (-3, 0), ("axes fraction", "data"), "offset points", ha="right", va="top", **quiet)
        for layer, maps in zip(layers["layer"], layers[column], strict=True):
            if layer in _choose_labels(last) and (maps or column == "output_maps"):
                ax.text(layer, y, str(maps), ha="center", va="top", **quiet)


def dense_block_screen(spec: DenseNetSpec, block: int = 1, marked: int | None = None) -> go.Figure:
    """Draw the same for the screen: hovering over a layer shows what it reads and adds.

    Args:
        marked: a layer (1..n, or n+1 for what follows the block) ; only its inputs are drawn in color.

    Raises:
        ValueError: the network has no such block.
    """
    connections, layers = block_connections(spec, block), block_layers(spec, block)
    last = int(layers["layer"].max())
    figure = go.Figure()
    is_faint = connections["target_layer"] != marked if marked else connections["target_kind"] != "dense_layer"
    for faint in (True, False):  # gray ones below
        drawn = connections[is_faint == faint]
        for source in range(last):
            ends = list(drawn.loc[drawn["source_layer"] == source, "target_layer"])
            if ends:
                figure.add_trace(_arc_trace(source, ends, last, faint, marked is not None))
    targets = sorted(set(connections["target_layer"]))
    heads = {"x": [target - NODE for target in targets], "y": [0.02] * len(targets), "mode": "markers"}
    head = {"symbol": "triangle-down", "size": float(np.clip(90 / last, 3, 9)), "color": INK}
    figure.add_trace(go.Scatter(**heads, marker=head, hoverinfo="skip", name="arrow heads"))
    for kind, rows in layers.groupby("kind", sort=False):
        figure.add_trace(_node_trace(spec, block, str(kind), rows, last))
    figure.update_layout(**layout(height=320), hovermode="closest", dragmode=False, barmode="overlay")
    figure.update_layout(margin={"l": 8, "r": 8, "t": 8, "b": 44})
    shown = sorted(_choose_labels(last))
    following = KIND_TITLES[layers["kind"].iloc[-1]]
    names = [str(layer) if layer < last else following for layer in shown]
    figure.update_xaxes(title=LAYER_FROM_INPUT, tickvals=shown, ticktext=names, range=[-0.6, last + 0.6])
    figure.update_yaxes(visible=False, range=[-0.16, 1.04])
    return figure.update_xaxes(showgrid=False, zeroline=False)


def _arc_trace(source: int, targets: list[int], last: int, faint: bool, is_marking: bool) -> go.Scatter:
    points = arc_line([_arc(source, target, last) for target in targets])
    color = FAINT if faint else ACCENT if is_marking else source_colors(last)[source]
    return go.Scatter(
        x=points[:, 0],
        y=points[:, 1],
        mode="lines",
        line={"color": color, "width": float(np.clip(16 / last, 0.6, 2.4)) * (0.6 if faint else 1)},
        hoverinfo="skip",
        connectgaps=False,
    )


def _node_trace(spec: DenseNetSpec, block: int, kind: str, rows: pd.DataFrame, last: int) -> go.Bar:
    custom = rows[["layer", "num_sources", "input_maps", "output_maps"]].astype(object)
    custom["sum"] = [_sum_of(spec, block, layer) for layer in rows["layer"]]
    colors = [*source_colors(last), "white"]
    return go.Bar(
        x=rows["layer"],
        y=np.full(len(rows), -0.15),
        width=2.6 * NODE,
        marker={"color": [colors[layer] for layer in rows["layer"]], "line": {"color": INK, "width": 1}},
        customdata=custom.to_numpy(),
        hovertemplate=_HOVERS[kind],
        name=kind,
    )


def _sum_of(spec: DenseNetSpec, block: int, layer: int) -> str:
    """Return the feature maps of a layer's sources as a sum: "6 + 3 × 4"."""
    channels = spec.source_channels(block)
    terms = [(maps, len(list(run))) for maps, run in groupby(channels[s] for s in spec.sources(block, layer))]
    return " + ".join(str(maps) if count == 1 else f"{count} × {maps}" for maps, count in terms)


def _arc(source: int, target: int, last: int) -> np.ndarray:
    """Return an arc's height: the longest of a block is 1 high; the power raises shorter ones to keep them visible."""
    return arc(source + NODE, target - NODE, ((target - source) / last) ** 0.75)


def source_colors(number: int) -> list[str]:
    """Return a color for each source, from dark to light in their order."""
    return [mpl.colors.to_hex(color) for color in mpl.colormaps["viridis"](np.linspace(0.25, 0.88, number))]


def _choose_labels(last: int) -> set[int]:
    """Return the layers whose names and numbers are written: all up to ``MAX_LABELED``, else a round step apart."""
    return {*(range(last) if last <= MAX_LABELED else ticks(last - 1)[:-1]), last}
