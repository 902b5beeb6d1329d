"""Downloads: a figure as a vector file with its data, link and code; all figures of a page as one archive."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import ArrayLike

from analysis.figures.export import FORMATS, array_bytes, picture_bytes, table_bytes
from app.dashboard.archive import archive
from app.dashboard.charts import Kept
from app.dashboard.keys import CHECKPOINT_ENDINGS
from app.dashboard.language import t
from app.dashboard.widgets.handover import Code, page_link, show_code, show_handover
from app.facts import figure_facts, weights_hash
from app.text import one_line
from densenet_core import Checkpoint

MAX_STEM = 60  # letters of a network's name in a file's
FigureFile = Callable[[str], bytes]  # the content of a figure's file in a format
_ITEMS = "taken_home"  # of the session's state: what the page offers, by name
_NETWORK = "named_network"  # of the session's state: the name and the weights of the network that the page is about


class Named:
    """The network that the page is about."""

    def __init__(self, name: str, network: Checkpoint) -> None:
        self.name, self._network = one_line(name), network

    @property
    def stem(self) -> str:
        """Its name in names of files."""
        path = Path(self.name)
        name = path.stem if path.suffix in CHECKPOINT_ENDINGS else self.name
        return re.sub(r"[^\w.-]+", "_", name)[:MAX_STEM]

    @cached_property
    def weights_hash(self) -> str:
        """The SHA-256 of its tensors."""
        return weights_hash(self._network)


def name_files_after(name: str, network: Checkpoint) -> None:
    """Name the page's downloads after a network, and put its name and the hash of its weights into them."""
    st.session_state[_NETWORK] = Named(name, network)


@contextmanager
def describing(name: str, code: Code, named: Named | None) -> Iterator[None]:
    """Put into the files made in this context what they show, the network's hash, and the code behind them."""
    from analysis.figures.export import with_facts

    hashes = {} if named is None else {named.name: named.weights_hash}
    with with_facts(figure_facts(name, hashes, code.command or code.python)):
        yield


def _described(content: Callable[[], bytes], name: str, code: Code, named: Named | None) -> bytes:
    with describing(name, code, named):
        return content()


class Item(NamedTuple):
    """A figure, a picture or a table that can be downloaded."""

    data: pd.DataFrame | np.ndarray  # what it shows: a table, or the array of a picture
    figure_file: FigureFile | None
    code: Code
    formats: tuple[str, ...] = FORMATS

    def files(self) -> dict[str, Callable[[], bytes]]:
        """Return what makes the content of each file, by its ending: figures first, then the data."""
        files: dict[str, Callable[[], bytes]] = {}
        if self.figure_file is not None:
            files |= {ending: partial(self.figure_file, ending) for ending in self.formats}
        if isinstance(self.data, pd.DataFrame):
            files["csv"] = partial(table_bytes, self.data)
        else:
            files["npy"] = partial(array_bytes, self.data)
        return files


@contextmanager
def take_home() -> Iterator[None]:
    """Draw the row in which a picture's downloads are, with its label."""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown(f"**{t('common.take_home')}**")
        yield


def offer(name: str, item: Item) -> None:
    """Put an item into the page's archive."""
    st.session_state.setdefault(_ITEMS, {})[name] = item


def download_row(
    name: str,
    table: pd.DataFrame,
    figure_file: FigureFile | None,
    key: str,
    code: Code,
    formats: tuple[str, ...] = FORMATS,
) -> None:
    """Draw buttons for PDF, SVG, PNG and CSV, and one for the page's link and the figure's code.

    Args:
        name: of the files, without ending.
        figure_file: called when its button is clicked. None: the table alone.
        key: identifies the row among those of the page.
        formats: those of ``figure_file``.
    """
    _draw_buttons(name, Item(table, figure_file, code, formats), key)
    show_handover(code, key)


def download_small(name: str, table: pd.DataFrame, screen: go.Figure | Kept, key: str, code: Code) -> None:
    """Draw the downloads of a small figure, which has no other version for paper, behind one button."""
    draw = partial(screen_file, screen.figure if isinstance(screen, Kept) else screen)
    _draw_popover(name, Item(table, draw, code), key)


def download_picture(name: str, pixels: np.ndarray, data: ArrayLike, key: str, code: Code) -> None:
    """Draw the downloads of a picture, PNG and the array that it shows, behind one button.

    Args:
        pixels: (H, W, 3) uint8.
    """
    item = Item(np.asarray(data), lambda _: picture_bytes(pixels), code, formats=("png",))
    _draw_popover(name, item, key)


def download_table(name: str, table: pd.DataFrame, key: str, code: Code) -> None:
    """Draw the download of a small table behind one button."""
    _draw_popover(name, Item(table, None, code), key)


def _draw_popover(name: str, item: Item, key: str) -> None:
    with st.popover(t("common.take_home"), icon=":material/download:", type="tertiary", key=f"popover_{key}"):
        _draw_buttons(name, item, key)
        show_code(item.code)


def _draw_buttons(name: str, item: Item, key: str) -> None:
    offer(name, item)
    named: Named | None = st.session_state.get(_NETWORK)
    stem = name if named is None else f"{named.stem}_{name}"
    for ending, content in item.files().items():
        st.download_button(
            "LaTeX" if ending == "tex" else ending.upper(),
            partial(_described, content, name, item.code, named),
            f"{stem}.{ending}",
            key=f"download_{key}{ending}",
            on_click="ignore",
            icon=":material/download:",
            type="tertiary",
        )


def screen_file(screen: go.Figure, file_format: str) -> bytes:
    """Return a screen's figure as a file for paper."""
    from analysis.figures.export import figure_bytes
    from analysis.figures.style.from_screen import paper_figure

    return figure_bytes(paper_figure(screen), file_format)


def forget_items() -> None:
    """Forget what the page before offered; the archive button keeps the same dictionary."""
    st.session_state.setdefault(_ITEMS, {}).clear()
    st.session_state.pop(_NETWORK, None)


@contextmanager
def only_these(part: str) -> Iterator[None]:
    """Replace what this part of a page offered before: for fragments, which are drawn again by themselves."""
    items = st.session_state.setdefault(_ITEMS, {})
    for name in st.session_state.pop(f"{_ITEMS}_{part}", ()):
        items.pop(name, None)
    others = set(items)
    try:
        yield
    finally:
        st.session_state[f"{_ITEMS}_{part}"] = set(items) - others


def download_all(page: str) -> None:
    """Draw the button for everything that the page offers, as one archive; nothing where it offers none."""
    items: dict[str, Item] = st.session_state.get(_ITEMS, {})
    if not items:
        return
    st.download_button(
        t("archive.button"),
        partial(archive, items, t(f"pages.{page}"), page_link(), st.session_state.get(_NETWORK)),
        f"densenet_lens_{page}.zip",
        key="download_all",
        on_click="ignore",
        icon=":material/folder_zip:",
        help=t("archive.help"),
    )
