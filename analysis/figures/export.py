"""Figures, pictures and tables to files, with the same bytes for the same input."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from densenet_core.files import write_whole

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # full-width ones too
FORMATS = ("pdf", "svg", "png")
# No time stamps: the same figure has the same bytes.
_METADATA: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}


class Facts(NamedTuple):
    """What a figure's file says about itself, beside the figure."""

    title: str  # the figure and the network
    description: str  # the network's hash, and how to make the figure again
    software: str

    def metadata(self, file_format: str) -> dict[str, str]:
        """Return Matplotlib's ``metadata`` of a format."""
        about = {"pdf": "Subject", "svg": "Description", "png": "Description"}[file_format]
        maker = {"pdf": "Creator", "svg": "Creator", "png": "Software"}[file_format]
        return {"Title": self.title, about: self.description, maker: self.software}


_FACTS: ContextVar[Facts | None] = ContextVar("facts", default=None)


def file_facts() -> Facts | None:
    """Return the facts that figures saved now have in their files."""
    return _FACTS.get()


@contextmanager
def with_facts(facts: Facts) -> Iterator[None]:
    """Put facts into the metadata of the figures and pictures that are saved in this context.

    >>> from matplotlib.figure import Figure
    >>> with with_facts(Facts("a figure", "made by hand", "none")):
    ...     b"<dc:title>a figure</dc:title>" in figure_bytes(Figure(), "svg")
    True
    """
    token = _FACTS.set(facts)
    try:
        yield
    finally:
        _FACTS.reset(token)


def figure_bytes(figure: Figure, file_format: str) -> bytes:
    """Return a figure as a file's content: "pdf" and "svg" as vectors with fonts embedded, "png" at 300 dpi.

    Raises:
        ValueError: another format.
    """
    import matplotlib as mpl

    from analysis.figures.style.paper import STYLE

    if file_format not in FORMATS:
        raise ValueError(f"format {file_format!r} is unknown: choose from {', '.join(FORMATS)}")
    buffer = io.BytesIO()
    dpi = 300 if file_format == "png" else 600  # of the rasterized cells inside a vector file
    facts = file_facts()
    metadata = _METADATA[file_format] | (facts.metadata(file_format) if facts else {})
    with mpl.rc_context(fname=STYLE):
        figure.savefig(buffer, format=file_format, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def table_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as the content of a CSV file.

    Spreadsheets run text that begins with =, +, -, @, a tab or a carriage return as a formula. Such text, in cells and
    column names, gets an apostrophe in front, unless it is a number; columns of numbers stay as they are. Carriage
    returns become line feeds, which CSV can quote.

    >>> table_bytes(pd.DataFrame({"name": ["=1+1", "-0.5", "a"], "value": [-1, 2, 3]})).decode().splitlines()
    ['name,value', "'=1+1,-1", '-0.5,2', 'a,3']
    """
    harmless = table.rename(columns=_not_a_formula)
    for place, dtype in enumerate(table.dtypes):
        if not pd.api.types.is_numeric_dtype(dtype):
            harmless.isetitem(place, table.iloc[:, place].map(_not_a_formula).to_numpy(dtype=object))
    return harmless.to_csv(index=False, lineterminator="\n").encode("utf-8", "backslashreplace")


def _not_a_formula(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.replace("\r\n", "\n").replace("\r", "\n")  # pandas quotes only \n, and \r would begin a row
    if not text.lstrip(" ").startswith(FORMULA_SIGNS):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def _prepare(path: str | os.PathLike[str], formats: tuple[str, ...], what: str) -> tuple[Path, str]:
    """Return a file to write and the format that its ending names; its folder is made.

    Raises:
        ValueError: the ending is not one of ``formats``.
    """
    file = Path(path)
    file_format = file.suffix.lower().removeprefix(".")
    if file_format not in formats:
        raise ValueError(f"{what} file {file.name!r} does not end in .{', .'.join(formats)}")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file, file_format


def write_content(file: Path, content: bytes) -> None:
    """Write a file as a whole: on a full disk, the file that it replaces stays. Devices and pipes are written to."""
    if file.exists() and not file.is_file():
        file.write_bytes(content)
        return
    write_whole(file.resolve(), lambda temporary: temporary.write_bytes(content))


def save_table(table: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write a table as CSV.

    Raises:
        ValueError: the ending is not .csv.
    """
    file, _ = _prepare(path, ("csv",), "table")
    write_content(file, table_bytes(table))
    return file


def save_figure(figure: Figure, path: str | os.PathLike[str], table: pd.DataFrame | None = None) -> list[Path]:
    """Save a figure in the format of the file's extension, and its table as CSV next to it.

    >>> from analysis import connection_weights, feature_reuse_figure
    >>> from densenet_core import load_zoo
    >>> from tempfile import mkdtemp
    >>> table = connection_weights(load_zoo("densenet-40-12-digits"))
    >>> [file.name for file in save_figure(feature_reuse_figure(table), mkdtemp() + "/fig5.pdf", table)]
    ['fig5.pdf', 'fig5.csv']

    Returns:
        The files written: ``fig5.pdf`` and, with a table, ``fig5.csv``.

    Raises:
        ValueError: the ending is not .pdf, .svg or .png, or ``figure`` is no Matplotlib figure.
    """
    if not hasattr(figure, "savefig"):
        raise ValueError(f"figure is a {type(figure).__name__}: give a Matplotlib figure, as from feature_reuse_figure")
    file, file_format = _prepare(path, FORMATS, "figure")
    write_content(file, figure_bytes(figure, file_format))
    return [file] if table is None else [file, save_table(table, file.with_suffix(".csv"))]


def picture_bytes(pixels: np.ndarray) -> bytes:
    """Return a picture (H, W, 3) uint8 as the content of a PNG file.

    >>> import numpy as np
    >>> picture_bytes(np.zeros((2, 2, 3), np.uint8))[1:4]
    b'PNG'
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    about, facts = PngInfo(), file_facts()
    for key, text in (facts.metadata("png") if facts else {}).items():
        about.add_itxt(key, text)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=about)
    return buffer.getvalue()


def array_bytes(array: np.ndarray) -> bytes:
    """Return an array as the content of a .npy file."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def save_picture(pixels: np.ndarray, path: str | os.PathLike[str], data: ArrayLike | None = None) -> list[Path]:
    """Write a picture as PNG, and the array that it shows beside it as .npy.

    >>> import numpy as np
    >>> from tempfile import mkdtemp
    >>> files = save_picture(np.zeros((4, 4, 3), np.uint8), mkdtemp() + "/map.png", np.zeros((4, 4)))
    >>> [file.name for file in files]
    ['map.png', 'map.npy']

    Args:
        pixels: (H, W, 3) uint8.

    Raises:
        ValueError: the ending is not .png.
    """
    import numpy as np

    file, _ = _prepare(path, ("png",), "picture")
    write_content(file, picture_bytes(pixels))
    if data is None:
        return [file]
    beside = file.with_suffix(".npy")
    write_content(beside, array_bytes(np.asarray(data)))
    return [file, beside]
