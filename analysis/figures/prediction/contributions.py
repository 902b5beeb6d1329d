"""Logit by layer as bars, with the image and its class activation map: for the screen and for paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from analysis.figures.prediction.style import BIAS_TITLE, PART, SOURCE, colors_by_sign, overlay, picture, source_labels
from analysis.figures.style.heatmap import ticks
from analysis.figures.style.paper import COLUMN_WIDTHS, STYLE, plain_text
from analysis.figures.style.paper_figure import PaperFigure
from analysis.figures.style.screen import INK, layout, plain
from analysis.words import Phrase

MAX_EXPLAINED = 8  # images of one figure
_HOVER = Phrase("prediction_figures.bar", "<b>source layer %{x}</b><br>adds %{y:+.3f} to the logit<extra></extra>")


@dataclass(frozen=True)
class Explained:
    """One image with what its figure shows."""

    title: str  # such as "cat (91 %)"
    pixels: Tensor  # (C, H, W) uint8, as the network sees it
    own_map: Tensor  # (h, w): class activation map
    table: pd.DataFrame  # of this image: source_layer and contribution


def contributions_screen(table: pd.DataFrame, title: str | None = None, marked: int | None = None) -> go.Figure:
    """Return bars of what each layer adds to a logit; the bars carry the source layer as ``customdata``.

    Args:
        table: source_layer and contribution, a row for each part.
        title: of the y axis; by default "part of the logit".
        marked: a source layer to frame.
    """
    own = table.sort_values("source_layer")
    title = PART if title is None else plain(title)
    frames = [3 if source == marked else 0 for source in own["source_layer"]]
    bars = go.Bar(
        x=source_labels(own["source_layer"]),
        y=own["contribution"],
        marker={"color": colors_by_sign(own["contribution"]), "line": {"color": INK, "width": frames}},
        customdata=own[["source_layer"]].to_numpy(),
        hovertemplate=_HOVER,
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
    )
    figure = go.Figure(bars, layout(height=320) | {"clickmode": "event+select", "dragmode": False})
    figure.update_xaxes(title=SOURCE, type="category")
    return figure.update_yaxes(title=title, zerolinecolor=INK)


def explanation_figure(images: Sequence[Explained], columns: int = 2) -> Figure:
    """Return a row for each image: as the network sees it, its class activation map, and its logit by layer.

    Args:
        images: at most ``MAX_EXPLAINED``.
        columns: width of the figure in columns of a paper: 1 (3.25 inches) or 2 (6.875 inches).

    Raises:
        ValueError: there are no images or too many, or ``columns`` is neither 1 nor 2.
    """
    if not 1 <= len(images) <= MAX_EXPLAINED:
        raise ValueError(f"images has {len(images)} images: a figure shows 1 to {MAX_EXPLAINED}")
    if columns not in COLUMN_WIDTHS:
        raise ValueError(f"columns {columns} is neither 1 nor 2")
    with mpl.rc_context(fname=STYLE):
        width = COLUMN_WIDTHS[columns]
        height = 0.24 * width * len(images) + 0.45
        figure = PaperFigure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(len(images), 3, squeeze=False, width_ratios=(1, 1, 2.4))
        for row, image in zip(axes, images, strict=True):
            _draw_pictures(row[0], row[1], image)
            _draw_bars(row[2], image.table)
            row[2].set_title(plain_text(image.title), fontsize=7, loc="left")
        axes[-1, 2].set_xlabel("source layer")
        axes[0, 0].set_title("input", fontsize=7)
        axes[0, 1].set_title("class activation map", fontsize=7)
    return figure


def _draw_pictures(left: Axes, right: Axes, image: Explained) -> None:
    left.imshow(picture(image.pixels))
    right.imshow(overlay(image.pixels, image.own_map))
    for ax in (left, right):
        ax.axis("off")


def _draw_bars(ax: Axes, table: pd.DataFrame) -> None:
    own = table.sort_values("source_layer")
    ax.bar(own["source_layer"], own["contribution"], color=colors_by_sign(own["contribution"]), width=0.8)
    ax.axhline(0, color="#333333", linewidth=0.5)
    shown = ticks(int(own["source_layer"].max()))
    ax.set_xticks([-1, *shown], [BIAS_TITLE, *map(str, shown)])
    ax.set_ylabel(PART)
    ax.grid(axis="y", linewidth=0.3, color="#cccccc")
    ax.set_axisbelow(True)
