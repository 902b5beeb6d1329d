"""The images that drive a layer, a map or a connection most and least, with the places marked, for paper."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.prediction.style import mark_place
from analysis.figures.style.paper import COLUMN_WIDTHS, STYLE, plain_text
from analysis.figures.style.paper_figure import PaperFigure
from analysis.prediction.image_files import prepare_dataset_image
from densenet_core.data.images import Images

TITLES = ("most", "least")


def halves(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the table of ``driving_images``: those that drive it most, strongest first, and least, weakest first."""
    half = (len(table) + 1) // 2
    return table.iloc[:half], table.iloc[half:].iloc[::-1]


def driving_images_figure(table: pd.DataFrame, images: Images, columns: int = 2) -> Figure:
    """Return the images of ``driving_images`` in two rows: those that drive a place most, and least.

    Each has a frame around the place of its largest value, and its class and value above it.

    Args:
        table: as ``driving_images`` returns it.
        images: those that were searched, whose rows the table names.
        columns: width of the figure in columns of a paper: 1 (3.25 inches) or 2 (6.875 inches).
    """
    rows = halves(table)
    across = max(1, len(rows[0]))
    width = COLUMN_WIDTHS[columns]
    with mpl.rc_context(fname=STYLE):
        figure = PaperFigure(figsize=(width, 2 * (width / across + 0.3)), layout="constrained")
        axes = figure.subplots(2, across, squeeze=False)
        for line, title, own in zip(axes, TITLES, rows, strict=True):
            line[0].set_ylabel(title)
            for ax in line:
                ax.set(xticks=[], yticks=[], frame_on=False)
            drawn = own[["row", "label", "value", "y", "x"]].itertuples(index=False, name=None)
            for ax, (row, label, value, y, x) in zip(line, drawn, strict=False):
                ax.imshow(mark_place(prepare_dataset_image(images, row).pixels, y, x), interpolation="nearest")
                ax.set_title(f"{plain_text(images.class_names[label])}\n{value:.3g}", fontsize=6)
    return figure
