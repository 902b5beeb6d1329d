"""Matrices of names, and of the similarity of the layers of one network or two beside the untrained ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from analysis.figures.prediction.style import SIGNED
from analysis.figures.style.heatmap import ticks
from analysis.figures.style.paper import COLUMN_WIDTHS, STYLE, draw_colors, plain_text
from analysis.figures.style.paper_figure import PaperFigure
from analysis.figures.style.screen import layout, plain
from analysis.figures.style.words import number_block
from analysis.prediction.similarity import similarity_matrix
from analysis.words import Phrase

MAX_TICKS = 14
SIDE = 400  # pixels of a matrix


def matrix_screen(matrix: pd.DataFrame, names: Sequence[str], title: str, low: float, high: float) -> go.Figure:
    """Return a square matrix with names at its sides for the screen, such as correlations of classes.

    Args:
        names: of the rows and columns, in their order.
        title: of the colors.
        low, high: the ends of the color scale; a negative ``low`` makes it diverging.
    """
    labels = [plain(name) for name in names]
    heatmap = go.Heatmap(
        z=matrix.to_numpy(), coloraxis="coloraxis", customdata=_pairs(labels, labels), hovertemplate=_HOVER
    )
    figure = go.Figure(heatmap, layout(height=SIDE) | {"dragmode": False})
    shown = ticks(len(labels) - 1, most=MAX_TICKS)
    axis = {"tickvals": shown, "ticktext": [labels[place] for place in shown], "showgrid": False}
    figure.update_xaxes(axis, tickangle=-90, constrain="domain")
    figure.update_yaxes(axis, autorange="reversed", scaleanchor="x", constrain="domain")
    return figure.update_layout(coloraxis=_colors(title, low, high), margin={"b": 80, "l": 80})


def similarity_screen(
    tables: Mapping[str, pd.DataFrame], title: str, networks: tuple[str, str] | None = None
) -> go.Figure:
    """Return the similarity of all layers of networks, a matrix each, side by side on one scale.

    Args:
        tables: as ``layer_similarity`` returns them, by the names to show.
        title: of the colors.
        networks: names of the two networks of each table, down and across; None: the table is of one network.
    """
    figure = make_subplots(1, len(tables), subplot_titles=[plain(name) for name in tables], horizontal_spacing=0.08)
    for column, table in enumerate(tables.values(), start=1):
        matrix = similarity_matrix(table)
        pairs = _pairs(layer_labels(matrix.index), layer_labels(matrix.columns))
        heatmap = go.Heatmap(z=matrix.to_numpy(), coloraxis="coloraxis", customdata=pairs, hovertemplate=_HOVER)
        figure.add_trace(heatmap, 1, column)
        axes = (
            (figure.add_hline, figure.update_yaxes, matrix.index),
            (figure.add_vline, figure.update_xaxes, matrix.columns),
        )
        for add_line, update_axes, layers in axes:
            starts, middles, blocks = _blocks(layers)
            for start in starts[1:]:
                add_line(start - 0.5, line={"color": "white", "width": 1.5}, row=1, col=column)
            update_axes(_SIDE | {"tickvals": middles, "ticktext": blocks}, row=1, col=column)
        if networks is None:
            figure.update_yaxes(scaleanchor="x" if column == 1 else f"x{column}", row=1, col=column)
        else:
            figure.update_xaxes(title_text=plain(networks[1]), row=1, col=column)
    figure.update_yaxes(autorange="reversed")
    if networks is not None:
        figure.update_yaxes(title_text=plain(networks[0]), col=1)
    figure.update_layout(layout(height=SIDE) | {"dragmode": False, "coloraxis": _colors(title, 0, 1)})
    return figure.update_layout(margin={"l": 70})


def similarity_figure(
    tables: Mapping[str, pd.DataFrame], columns: int = 2, networks: tuple[str, str] | None = None
) -> Figure:
    """Return the similarity of all layers of networks for paper, a matrix each; lines separate the blocks.

    Args:
        tables: as ``layer_similarity`` returns them, by the names to show.
        columns: width of the figure in columns of a paper: 1 (3.25 inches) or 2 (6.875 inches).
        networks: as in ``similarity_screen``.
    """
    with mpl.rc_context(fname=STYLE):
        width = COLUMN_WIDTHS[columns]
        side = (width - 0.5) / len(tables)
        figure = PaperFigure(figsize=(width, side + 0.25), layout="constrained")
        *axes, bar = figure.subplots(1, len(tables) + 1, width_ratios=[*[1.0] * len(tables), 0.05], squeeze=False)[0]
        for ax, (name, table) in zip(axes, tables.items(), strict=True):
            matrix = similarity_matrix(table)
            ax.pcolormesh(matrix.to_numpy(), vmin=0, vmax=1, cmap="viridis", edgecolors="face", linewidth=0.1)
            _mark_blocks(ax, matrix)
            ax.tick_params(length=0)
            ax.invert_yaxis()
            ax.set_aspect("equal" if networks is None else "auto")
            ax.set_title(plain_text(name), fontsize=7)
            if networks is not None:
                ax.set_xlabel(plain_text(networks[1]))
        if networks is not None:
            axes[0].set_ylabel(plain_text(networks[0]))
        draw_colors(bar, "linear CKA", 0, 1, "viridis")
    return figure


def _mark_blocks(ax: Axes, matrix: pd.DataFrame) -> None:
    """Separate the blocks by lines and name them at both sides."""
    for add_line, layers in ((ax.axhline, matrix.index), (ax.axvline, matrix.columns)):
        for start in _blocks(layers)[0][1:]:
            add_line(start, color="white", linewidth=0.7)
    (_, across, columns), (_, down, rows) = _blocks(matrix.columns), _blocks(matrix.index)
    ax.set_xticks([place + 0.5 for place in across], columns)
    ax.set_yticks([place + 0.5 for place in down], rows, rotation=90, va="center")


def layer_labels(layers: pd.Index) -> list[str]:
    """Return the layers at a side of a similarity matrix as "block.layer".

    >>> layer_labels(pd.MultiIndex.from_tuples([(1, 0), (1, 1)], names=["block", "source_layer"]))
    ['1.0', '1.1']
    """
    return [f"{block}.{source}" for block, source in layers]


_HOVER = "<b>%{customdata}</b>: %{z:.3f}<extra></extra>"


_SIDE = {"showgrid": False, "constrain": "domain"}  # of the axes of a matrix


def _pairs(rows: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    return np.array([[f"{row} × {column}" for column in columns] for row in rows])


def _blocks(layers: pd.Index) -> tuple[list[int], list[float], list[Phrase]]:
    """Return where each block begins, its middle, and its title."""
    blocks = np.array([block for block, _ in layers])
    numbers = list(dict.fromkeys(blocks.tolist()))
    places = [np.flatnonzero(blocks == number) for number in numbers]
    starts, middles = [int(own[0]) for own in places], [float(own.mean()) for own in places]
    return starts, middles, [number_block(number) for number in numbers]


def _colors(title: str, low: float, high: float) -> dict[str, object]:
    bar = {"title": {"text": title, "side": "right"}, "thickness": 12, "outlinewidth": 0}
    return {"colorscale": SIGNED if low < 0 else "Viridis", "cmin": low, "cmax": high, "colorbar": bar}
