"""The row of buttons under a picture: take it home as a vector figure, with its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pandas as pd
import streamlit as st

from analysis.figures.export import FORMATS, table_bytes
from app.dashboard.language import t


@contextmanager
def take_home() -> Iterator[None]:
    """The row in which a picture's downloads stand, with its label."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{t('common.take_home')}**")
        yield


def download_row(name: str, table: pd.DataFrame, figure_file: Callable[[str], bytes] | None, key: str = "") -> None:
    """Buttons for PDF, SVG, PNG and CSV.

    Args:
        name: of the files, without ending.
        figure_file: gives the figure's file for a format; called when its button is clicked. None: the table alone.
        key: tells the rows of a page apart.
    """
    if figure_file is not None:
        for file_format in FORMATS:
            _button(file_format, partial(figure_file, file_format), name, key)
    _button("csv", partial(table_bytes, table), name, key)


def _button(file_format: str, content: Callable[[], bytes], name: str, key: str) -> None:
    st.download_button(
        file_format.upper(),
        content,
        f"{name}.{file_format}",
        key=f"download_{key}{file_format}",
        on_click="ignore",
        icon=":material/download:",
    )
