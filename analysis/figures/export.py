"""Figures to files: PDF, SVG and PNG with the same bytes for the same input, the table beside them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("pdf", "svg", "png")
# No time stamps: the same figure gives the same bytes.
_METADATA: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}


def figure_bytes(figure: Figure, file_format: str) -> bytes:
    """A figure as a file's content: "pdf" and "svg" as vectors with fonts embedded, "png" at 300 dpi.

    Raises:
        ValueError: another format.
    """
    import matplotlib as mpl

    from analysis.figures.style.paper import STYLE

    if file_format not in FORMATS:
        raise ValueError(f"format {file_format!r} is none of {', '.join(FORMATS)}")
    buffer = io.BytesIO()
    dpi = 300 if file_format == "png" else 600  # of the rasterized cells inside a vector file
    with mpl.rc_context(fname=STYLE):
        figure.savefig(buffer, format=file_format, dpi=dpi, metadata=_METADATA[file_format])
    return buffer.getvalue()


def table_bytes(table: pd.DataFrame) -> bytes:
    """A table as the content of a CSV file."""
    return table.to_csv(index=False, lineterminator="\n").encode()


def check_ending(file: Path, formats: tuple[str, ...], what: str) -> str:
    """The format that a file's ending names.

    Raises:
        ValueError: it is none of ``formats``.
    """
    file_format = file.suffix.lower().removeprefix(".")
    if file_format not in formats:
        raise ValueError(f"{what} file {file.name!r} does not end in .{', .'.join(formats)}")
    return file_format


def save_table(table: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Writes a table as CSV.

    Raises:
        ValueError: the ending is not .csv.
    """
    file = Path(path)
    check_ending(file, ("csv",), "table")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(table_bytes(table))
    return file


def save_figure(figure: Figure, path: str | os.PathLike[str], table: pd.DataFrame | None = None) -> list[Path]:
    """Writes a figure by its file's ending, and the table that it shows beside it as CSV.

    >>> from analysis import connection_weights, feature_reuse_figure
    >>> from densenet_core import load_zoo
    >>> from tempfile import mkdtemp
    >>> table = connection_weights(load_zoo("densenet-40-12-digits"))
    >>> [file.name for file in save_figure(feature_reuse_figure(table), mkdtemp() + "/fig5.pdf", table)]
    ['fig5.pdf', 'fig5.csv']

    Returns:
        The files written: ``fig5.pdf`` and, with a table, ``fig5.csv``.

    Raises:
        ValueError: the ending is none of .pdf, .svg and .png.
    """
    file = Path(path)
    file_format = check_ending(file, FORMATS, "figure")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(figure_bytes(figure, file_format))
    return [file] if table is None else [file, save_table(table, file.with_suffix(".csv"))]
