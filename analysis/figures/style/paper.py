"""What all figures for paper share: widths, colours of networks, panels, captions, with Matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.figures.style.heatmap import (
    ticks,
)

COLUMN_WIDTHS = {1: 3.25, 2: 6.875}  # inches: one column and both of a two-column conference paper
STYLE = str(files("analysis.figures.style") / "paper.mplstyle")
COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # of networks, in their order


def plain_text(text: object) -> str:
    """Text that others wrote, so that Matplotlib takes no part of it for a formula."""
    return str(text).replace("$", r"\$")


def panels(num_blocks: int, columns: int, per_row: int = 4, top: float = 0.22) -> tuple[Figure, list[Axes], Axes]:
    """Square panels in rows, and the colour bar's axes.

    Everything is placed in inches, so that a figure of any number of blocks has the same margins.

    Args:
        per_row: the most panels in a row of a figure two columns wide; half of them in one.
        top: inches for a panel's title.
    """
    per_row = min(num_blocks, per_row if columns == 2 else 2)
    rows = -(-num_blocks // per_row)
    width, left, gap, right, bottom = COLUMN_WIDTHS[columns], 0.36, 0.28, 0.66, 0.34
    caption_height = 0.14 if columns == 2 else 0.26  # one line or two
    side = min((width - left - right - gap * (per_row - 1)) / per_row, 2.4)
    height = rows * (top + side + bottom) + caption_height
    figure = Figure(figsize=(width, height))

    def place(x: float, y: float, w: float, h: float) -> Axes:
        return figure.add_axes((x / width, y / height, w / width, h / height))

    axes = []
    for panel in range(num_blocks):
        row, column = divmod(panel, per_row)
        y = height - row * (top + side + bottom) - top - side
        axes.append(place(left + column * (side + gap), y, side, side))
    bar_left = left + per_row * side + (per_row - 1) * gap + 0.1
    lowest = caption_height + bottom
    return figure, axes, place(bar_left, lowest, 0.09, height - top - lowest)


def draw_block(ax: Axes, matrix: np.ndarray, title: str, **colors: Any) -> None:
    """One block's matrix as a panel: source layer down, target layer across."""
    size = len(matrix)
    # Cells as pixels, text as text: vector cells show white seams in PDF viewers.
    ax.pcolormesh(np.ma.masked_invalid(matrix), rasterized=True, **colors)
    ax.invert_yaxis()  # source 0 on top
    ax.set_title(title)
    ax.set_xlabel("Target layer ($\\ell$)")
    if ax.get_position().x0 < 0.15:  # the first of its row
        ax.set_ylabel("Source layer ($s$)")
    ax.set_xticks([t - 0.5 for t in ticks(size, first=1)], [str(t) for t in ticks(size, first=1)], rotation=0)
    ax.set_yticks([s + 0.5 for s in ticks(size - 1)], [str(s) for s in ticks(size - 1)], rotation=0)


def draw_colors(ax: Axes, title: str, low: float, high: float, color_map: str) -> None:
    """The colour bar."""
    colors = mpl.cm.ScalarMappable(mpl.colors.Normalize(low, high), color_map)
    bar = ax.get_figure().colorbar(colors, cax=ax)  # type: ignore[union-attr]
    bar.set_label(title)
    bar.outline.set_linewidth(0.5)


def write_caption(figure: Figure, text: str) -> None:
    """The line under the figure."""
    figure.text(0.5, 0.03 / figure.get_figheight(), text, ha="center", va="bottom", fontsize=6, color="#333333")


def highlight(ax: Axes, targets: Sequence[int]) -> None:
    """A black rectangle around each of these columns, a transition's or a classifier's."""
    size = ax.get_xlim()[1]
    cell_points = 72 * ax.get_position().width * ax.get_figure().get_figwidth() / size  # type: ignore[union-attr]
    line = min(1.4, cell_points / 3)
    for target in targets:
        frame = Rectangle((target - 1, 0), 1, size, fill=False, edgecolor="black", linewidth=line, clip_on=False)
        ax.add_patch(frame)
