"""Shared style of the figures for paper: widths, colors of networks, panels, captions, with Matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import AffineDeltaTransform

from analysis.figures.style.heatmap import ticks
from analysis.figures.style.paper_figure import STYLE as STYLE
from analysis.figures.style.paper_figure import PaperFigure
from analysis.figures.style.words import name_kinds

COLUMN_WIDTHS = {1: 3.25, 2: 6.875}  # inches: one column and both of a two-column conference paper
COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # of networks, in their order


def plain_text(text: object) -> str:
    """Escape text, so that Matplotlib takes no part of it for a formula."""
    return str(text).replace("$", r"\$")


def panels(num_blocks: int, columns: int, per_row: int = 4, top: float = 0.22) -> tuple[Figure, list[Axes], Axes]:
    """Return square panels in rows, and the color bar's axes.

    Everything is placed in inches, so that a figure of any number of blocks has the same margins.

    Args:
        per_row: the most panels in a row of a figure two columns wide; half of them in one.
        top: inches for a panel's title.
    """
    per_row = min(num_blocks, per_row if columns == 2 else 2)
    rows = -(-num_blocks // per_row)
    width, left, gap, right, bottom = COLUMN_WIDTHS[columns], 0.36, 0.36, 0.76, 0.34
    caption_height = 0.14 if columns == 2 else 0.26  # one line or two
    side = min((width - left - right - gap * (per_row - 1)) / per_row, 2.4)
    height = rows * (top + side + bottom) + caption_height
    figure = PaperFigure(figsize=(width, height))

    def place(x: float, y: float, w: float, h: float) -> Axes:
        return figure.add_axes((x / width, y / height, w / width, h / height))

    axes = []
    for panel in range(num_blocks):
        row, column = divmod(panel, per_row)
        y = height - row * (top + side + bottom) - top - side
        axes.append(place(left + column * (side + gap), y, side, side))
    bar_left = left + per_row * side + (per_row - 1) * gap + 0.2
    lowest = caption_height + bottom
    return figure, axes, place(bar_left, lowest, 0.09, height - top - lowest)


def draw_block(ax: Axes, matrix: np.ndarray, title: str, **colors: Any) -> None:
    """Draw one block's matrix as a panel: source layer down, target layer across."""
    size = len(matrix)
    ax.add_collection(_cells(ax, matrix, **colors), autolim=False)
    ax.set_xlim(0, size)
    ax.set_ylim(0, size)
    ax.invert_yaxis()  # source 0 on top
    ax.set_title(title)
    ax.set_xlabel("Target layer ($\\ell$)")
    if ax.get_position().x0 < 0.15:  # the first of its row
        ax.set_ylabel("Source layer ($s$)")
    ax.set_xticks([t - 0.5 for t in ticks(size, first=1)], [str(t) for t in ticks(size, first=1)], rotation=0)
    ax.set_yticks([s + 0.5 for s in ticks(size - 1)], [str(s) for s in ticks(size - 1)], rotation=0)


OVERLAP = 0.04  # of a cell with the next ones, which cover it: cells that only touch show white seams in viewers


def _cells(ax: Axes, matrix: np.ndarray, **colors: Any) -> PolyCollection:
    """Return the cells that are not nan as squares: files keep one square and its places."""
    rows, columns = np.nonzero(~np.isnan(matrix))  # from left to right, from top to bottom
    side = 1 + OVERLAP
    cells = PolyCollection(
        [[(0, 0), (0, side), (side, side), (side, 0)]],
        offsets=np.column_stack([columns, rows]),
        offset_transform=ax.transData,
        array=matrix[rows, columns],
        cmap=colors["cmap"],
        norm=mpl.colors.Normalize(colors["vmin"], colors["vmax"]),
        edgecolors="none",
        clip_on=False,  # an SVG without clips is a third smaller
    )
    cells.set_transform(AffineDeltaTransform(ax.transData))  # type: ignore[arg-type]
    return cells


def split(bar: Axes, count: int) -> list[Axes]:
    """Return the axes of several color bars in the place of one, the first on top."""
    if count == 1:
        return [bar]
    left, bottom, width, height = bar.get_position().bounds
    figure = bar.get_figure()
    assert figure is not None
    bar.remove()
    step = height / count
    return [figure.add_axes((left, bottom + (count - 1 - n) * step, width, 0.86 * step)) for n in range(count)]


def draw_colors(ax: Axes, title: str, low: float, high: float, color_map: str) -> None:
    """Draw the color bar."""
    colors = mpl.cm.ScalarMappable(mpl.colors.Normalize(low, high), color_map)
    bar = ax.get_figure().colorbar(colors, cax=ax)  # type: ignore[union-attr]
    bar.set_label(title)
    bar.outline.set_linewidth(0.5)


def write_caption(figure: Figure, text: str) -> None:
    """Draw the line under the figure."""
    figure.text(0.5, 0.03 / figure.get_figheight(), text, ha="center", va="bottom", fontsize=6, color="#333333")


def highlight(ax: Axes, targets: Mapping[int, str]) -> None:
    """Draw a black rectangle around each of these columns, and write its kind of target beside the last one."""
    size = ax.get_xlim()[1]
    cell_points = 72 * ax.get_position().width * ax.get_figure().get_figwidth() / size  # type: ignore[union-attr]
    line = min(1.4, cell_points / 3)
    for target in targets:
        frame = Rectangle((target - 1, 0), 1, size, fill=False, edgecolor="black", linewidth=line, clip_on=False)
        ax.add_patch(frame)
    words = name_kinds(targets.values())
    ax.annotate(
        words, (1, 0.5), (2, 0), "axes fraction", "offset points", rotation=-90, fontsize=6, ha="left", va="center"
    )
