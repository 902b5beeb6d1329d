"""What can be taken home: a figure as a vector file with its data, link and code; a page's figures as one archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.figures.export import FORMATS, table_bytes
from app.dashboard.caching import cache
from app.dashboard.charts import Kept
from app.dashboard.language import t
from app.dashboard.widgets.archive import archive
from app.dashboard.widgets.handover import Code, page_link, show_handover

FigureFile = Callable[[str], bytes]  # the content of a figure's file in a format
_ITEMS = "taken_home"  # of the session's state: what the page offers, by name


class Item(NamedTuple):
    """A figure, or a table, that can be taken home."""

    table: pd.DataFrame
    figure_file: FigureFile | None
    code: Code | None


@contextmanager
def take_home() -> Iterator[None]:
    """Draw the row in which a picture's downloads are, with its label."""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown(f"**{t('common.take_home')}**")
        yield


def download_row(
    name: str, table: pd.DataFrame, figure_file: FigureFile | None, key: str = "", code: Code | None = None
) -> None:
    """Draw buttons for PDF, SVG, PNG and CSV, and one for the page's link and the figure's code.

    Args:
        name: of the files, without ending.
        figure_file: called when its button is clicked. None: the table alone.
        key: identifies the row among those of the page.
    """
    st.session_state.setdefault(_ITEMS, {})[name] = Item(table, figure_file, code)
    if figure_file is not None:
        for file_format in FORMATS:
            _button(file_format, partial(figure_file, file_format), name, key)
    _button("csv", partial(table_bytes, table), name, key)
    show_handover(code, key)


def download_small(name: str, table: pd.DataFrame, screen: go.Figure | Kept, key: str) -> None:
    """Draw the downloads of a small figure, which has no other version for paper, behind one button."""
    draw = partial(screen_file, name, table, _Screen(screen.figure if isinstance(screen, Kept) else screen))
    st.session_state.setdefault(_ITEMS, {})[name] = Item(table, draw, None)
    with st.popover(t("common.take_home"), icon=":material/download:", type="tertiary", key=f"popover_{key}"):
        for file_format in FORMATS:
            _button(file_format, partial(draw, file_format), name, key)
        _button("csv", partial(table_bytes, table), name, key)


class _Screen(NamedTuple):
    figure: go.Figure


@cache(32)
def screen_file(name: str, table: pd.DataFrame, _screen: _Screen, file_format: str) -> bytes:
    """Return a screen's figure as a file for paper."""
    from analysis.figures.export import figure_bytes
    from analysis.figures.style.from_screen import paper_figure

    return figure_bytes(paper_figure(_screen.figure), file_format)


def begin_page() -> None:
    """Forget what the page before offered."""
    st.session_state[_ITEMS] = {}


def download_all(page: str) -> None:
    """Draw the button for everything that the page offers, as one archive; nothing where that is one figure or none."""
    items: dict[str, Item] = st.session_state.get(_ITEMS, {})
    if not items:
        return
    st.download_button(
        t("archive.button"),
        partial(archive, items, t(f"pages.{page}"), page_link()),
        f"densenet_lens_{page}.zip",
        key="download_all",
        on_click="ignore",
        icon=":material/folder_zip:",
        help=t("archive.help"),
    )


def _button(file_format: str, content: Callable[[], bytes], name: str, key: str) -> None:
    st.download_button(
        file_format.upper(),
        content,
        f"{name}.{file_format}",
        key=f"download_{key}{file_format}",
        on_click="ignore",
        icon=":material/download:",
        type="tertiary",
    )
