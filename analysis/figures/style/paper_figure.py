"""The Matplotlib figure that every figure for paper is."""

from __future__ import annotations

import io
from importlib.resources import files

import matplotlib as mpl
from matplotlib.figure import Figure

STYLE = str(files("analysis.figures.style") / "paper.mplstyle")
SCREEN_DPI = 100  # pixels of the page per inch; the picture has twice as many, for sharp text on every screen


class PaperFigure(Figure):
    """A figure that Jupyter shows when it is the value of a cell, without pyplot.

    >>> figure = PaperFigure(figsize=(3.25, 2.0))
    >>> picture, size = figure._repr_png_()
    >>> picture[1:4], size
    (b'PNG', {'width': 325, 'height': 200})
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the picture and its size in pixels of the page, as IPython asks for them."""
        buffer = io.BytesIO()
        with mpl.rc_context(fname=STYLE):
            self.savefig(buffer, format="png", dpi=2 * SCREEN_DPI)
        width, height = (round(inches * SCREEN_DPI) for inches in self.get_size_inches())
        return buffer.getvalue(), {"width": width, "height": height}
