"""Connections of a decision as heatmaps and as arcs; classes and layers compared as matrices."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.diagrams.arcs import arc, arc_collection, arc_line
from analysis.figures.prediction.style import AGAINST, FOR, SIGNED
from analysis.figures.style.blocks import Colors, Row, blocks_figure
from analysis.figures.style.blocks_screen import blocks_screen
from analysis.figures.style.heatmap import block_title, ticks
from analysis.figures.style.paper import COLUMN_WIDTHS, STYLE, plain_text
from analysis.figures.style.paper_figure import PaperFigure
from analysis.figures.style.screen import INK, layout
from analysis.figures.style.words import LAYER_FROM_INPUT
from analysis.words import Phrase, phrases

MAX_ARCS = 200  # of a block, the strongest
DECISION_TITLES = phrases(
    "decisions",
    {
        "gradient_activation": "gradient × activation",
        "cut_effect": "fall of the logit when cut",
        "ablation": "rise of the loss when cut (nats)",
    },
)


def decision_figure(table: pd.DataFrame, measure: str = "gradient_activation", columns: int = 2) -> Figure:
    """Return signed heatmaps of all blocks: blue where a connection speaks for the class, red where against.

    Args:
        table: as ``decision_connections`` returns it.
        measure: the column to draw; all blocks share a scale.
        columns: width of the figure in columns of a paper.

    Raises:
        ValueError: the table has no such column.
    """
    words = "Blue: speaks for the class. Red: against it. Source 0: the input of the block."
    return blocks_figure(table, [_signed_row(table, measure)], columns, words)


def decision_screen(
    table: pd.DataFrame,
    measure: str = "gradient_activation",
    block: int | None = None,
    marked: tuple[int, int, int] | None = None,
    only: int | None = None,
) -> go.Figure:
    """Return the signed heatmaps for the screen; cells carry (block, source_layer, target_layer) as ``customdata``.

    Args:
        table: as ``decision_connections`` returns it.
        measure: the column to draw; all blocks share a scale.
        block: draw this block alone, with a color bar.
        marked: a connection (block, source_layer, target_layer) to draw a frame around.
        only: draw this block alone, and a color bar if it is the last one.

    Raises:
        ValueError: the table has no such column.
    """
    row = _signed_row(table, measure)
    shown = table if block is None else table[table["block"] == block]
    hover = shown[["block", "source_layer", "target_layer", measure]]
    template = Phrase(
        "prediction_figures.cell", "<b>source %{y} → target %{x}</b><br>%{customdata[3]:+.4f}<extra></extra>"
    )
    return blocks_screen(shown, [row._replace(values=shown[measure])], hover, template, marked, only)


def _signed_row(table: pd.DataFrame, measure: str) -> Row:
    """Return the measure as a row of heatmaps, with 0 in the middle of the colors: blue above, red below."""
    limit = _limit(table, measure)
    return Row(table[measure], Colors(DECISION_TITLES.get(measure, measure), -limit, limit, SIGNED))


def decision_arcs_figure(table: pd.DataFrame, measure: str = "gradient_activation", columns: int = 2) -> Figure:
    """Return the strongest connections of each block as arcs, the form of Figure 1: blue for, vermilion against."""
    limit, blocks = _limit(table, measure), sorted(table["block"].unique())
    with mpl.rc_context(fname=STYLE):
        figure = PaperFigure(figsize=(COLUMN_WIDTHS[columns], 1.1 * len(blocks) + 0.2), layout="constrained")
        axes = figure.subplots(len(blocks), 1, squeeze=False)[:, 0]
        for ax, block in zip(axes, blocks, strict=True):
            _draw_arcs(ax, table[table["block"] == block], measure, limit)
            ax.set_title(block_title(table, block), fontsize=7)
    return figure


def _draw_arcs(ax: Axes, rows: pd.DataFrame, measure: str, limit: float) -> None:
    last = int(rows["target_layer"].max())
    drawn = _strongest(rows, measure)
    arcs = arc_collection([_arc(s, t, last) for s, t in drawn[["source_layer", "target_layer"]].to_numpy()])
    strength = (drawn[measure].abs() / limit).clip(0, 1).to_numpy()
    arcs.set_edgecolor(
        [(*mpl.colors.to_rgb(_color(v)), 0.15 + 0.85 * s) for v, s in zip(drawn[measure], strength, strict=True)]
    )
    arcs.set_linewidth((0.2 + 2.2 * strength).tolist())
    ax.add_collection(arcs)
    ax.scatter(range(last + 1), np.zeros(last + 1), s=8, color="#333333", zorder=3)
    shown = ticks(last)
    for layer in shown:
        ax.text(layer, -0.08, str(layer), ha="center", va="top", fontsize=6)
    ax.set(xlim=(-0.5, last + 0.5), ylim=(-0.25, 1.08))
    ax.axis("off")


def decision_arcs_screen(table: pd.DataFrame, measure: str = "gradient_activation", block: int = 1) -> go.Figure:
    """Return the strongest connections of one block as arcs, for the screen."""
    rows, limit = table[table["block"] == block], _limit(table, measure)
    last = int(rows["target_layer"].max())
    figure = go.Figure(layout=layout(height=300) | {"dragmode": False})
    for source, target, value in _strongest(rows, measure)[["source_layer", "target_layer", measure]].to_numpy():
        points = arc_line([_arc(source, target, last)])
        strength = min(1.0, abs(value) / limit)
        line = {"color": _color(value), "width": 0.8 + 4.6 * strength}
        figure.add_scatter(
            x=points[:, 0], y=points[:, 1], mode="lines", line=line, opacity=0.4 + 0.6 * strength, hoverinfo="skip"
        )
    figure.add_scatter(
        x=list(range(last + 1)), y=[0] * (last + 1), mode="markers", marker={"color": INK, "size": 7}, hoverinfo="skip"
    )
    figure.update_xaxes(title=LAYER_FROM_INPUT, tickvals=ticks(last), showgrid=False, zeroline=False)
    return figure.update_yaxes(visible=False, range=[-0.1, 1.08])


def matrix_figure(
    matrix: pd.DataFrame, names: Sequence[str], title: str, low: float, high: float, columns: int = 1
) -> Figure:
    """Return a square matrix with names at its sides: correlations of classes, CKA of layers.

    Args:
        names: of the rows and columns, in their order; every second, third, ... where they are many.
    """
    with mpl.rc_context(fname=STYLE):
        width = COLUMN_WIDTHS[columns]
        figure = PaperFigure(figsize=(width, 0.86 * width), layout="constrained")
        ax = figure.subplots()
        drawn = ax.pcolormesh(
            matrix.to_numpy(), vmin=low, vmax=high, cmap=SIGNED if low < 0 else "viridis", rasterized=True
        )
        shown = ticks(len(matrix) - 1, most=20 if columns == 2 else 12)
        for axis, size in ((ax.xaxis, matrix.shape[1]), (ax.yaxis, matrix.shape[0])):
            kept = [place for place in shown if place < size]
            axis.set_ticks([place + 0.5 for place in kept], [plain_text(names[place]) for place in kept])
        ax.tick_params(axis="x", rotation=90, labelsize=6)
        ax.tick_params(axis="y", labelsize=6)
        ax.invert_yaxis()
        figure.colorbar(drawn, ax=ax).set_label(title)
    return figure


def _limit(table: pd.DataFrame, measure: str) -> float:
    if measure not in table:
        raise ValueError(f"measure {measure!r} is not a column of the table: it has {', '.join(table.columns)}")
    return float(table[measure].abs().max()) or 1.0


def _strongest(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return at most ``MAX_ARCS``, the strongest last, so that they lie on top."""
    return rows.loc[rows[measure].abs().nlargest(MAX_ARCS).index[::-1]]


def _arc(source: int, target: int, last: int) -> np.ndarray:
    return arc(source, target, ((target - source) / last) ** 0.75)


def _color(value: float) -> str:
    return FOR if value >= 0 else AGAINST
