"""Show Plotly figures on a page: in their own colors, without Plotly's tool bar.

What a page draws again at each change is kept (``draw_once``): building a figure takes longer than all else that a
change asks for, and people go back and forth.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import plotly.graph_objects as go
import streamlit as st

from analysis.figures.style.screen import ACCENT, GRID, INK, MUTED, TEMPLATE
from app.dashboard.caching import cache
from app.dashboard.keys import NetworkKey
from app.dashboard.language import language, translate

BUTTONS_ROOM = 44  # pixels
GLYPHS = {  # Plotly's markers as text, filled and hollow
    "square": ("■", "□"),
    "circle": ("●", "○"),
    "diamond": ("◆", "◇"),
    "triangle-up": ("▲", "△"),
    "triangle-down": ("▼", "▽"),
}
ZOOM = {
    "displayModeBar": True,
    "displaylogo": False,
    "modeBarButtons": [["zoomIn2d", "zoomOut2d", "resetScale2d"]],
}
MAX_NARROW = 3  # blocks that are side by side on a wide screen; of more, two
_DARK = {  # the colors of ink and paper in the dark theme
    INK: "#e5e7eb",
    MUTED: "#9ca3af",
    GRID: "#374151",
    ACCENT: "#60a5fa",
    "white": "#1f2937",
    "black": "#f9fafb",
    "#bfdbfe": "#1e3a8a",
    "#332288": "#a394f0",  # families' colors that are too dark there
    "#882255": "#e07aa8",
}


class Kept(NamedTuple):
    """A figure in the session's language that is not changed any more."""

    figure: go.Figure


def show_chart(
    figure: go.Figure | Kept, key: str, alt: str | None = None, can_zoom: bool = False, **options: Any
) -> None:
    """Draw a figure; ``alt`` describes it in words, and ``options`` are those of ``st.plotly_chart``.

    Args:
        can_zoom: for scatter plots and curves: drag over a part to enlarge it; visible buttons zoom and go back.
    """
    shown = figure.figure if isinstance(figure, Kept) else _finish(figure)
    config: dict[str, Any] = {"displayModeBar": False}
    if can_zoom:
        shown, config = _with_zoom(shown), ZOOM
    st.plotly_chart(shown, theme=None, key=key, alt=alt, config=config, **options)


def show_legend(figure: go.Figure) -> None:
    """Draw a figure's legend as text below it, which wraps: on a narrow screen Plotly's own takes the plot's room.

    For traces of points, and lines.
    """
    entries = []
    for trace in apply_theme(translate(figure)).data:
        if trace.mode == "lines":
            color, glyph = trace.line.color, "┄"
        else:
            filled, hollow = GLYPHS[trace.marker.symbol]
            is_hollow = trace.marker.color != trace.marker.line.color
            color, glyph = trace.marker.line.color, hollow if is_hollow else filled
        entries.append(
            f'<span style="white-space:nowrap"><span style="color:{color}">{glyph}</span> {trace.name}</span>'
        )
    style = "display:flex;flex-wrap:wrap;column-gap:1.1rem;font-size:0.875rem;line-height:1.6"
    st.html(f'<div style="{style}">{"".join(entries)}</div>')


def _with_zoom(figure: go.Figure) -> go.Figure:
    """Return the figure with axes that zoom and room for the buttons at the right."""
    free = go.Figure(figure).update_xaxes(fixedrange=False).update_yaxes(fixedrange=False)
    margin = max(free.layout.margin.r or 0, BUTTONS_ROOM)
    bar = {"orientation": "v", "bgcolor": "rgba(0,0,0,0)", "color": MUTED, "activecolor": ACCENT}
    return free.update_layout(dragmode="zoom", margin_r=margin, modebar=bar)


def show_blocks(
    draw: Callable[[int], go.Figure | Kept],
    blocks: Sequence[int],
    key: str,
    alt: str,
    on_click: Callable[[int], None] | None = None,
) -> None:
    """Draw a figure for each dense block: side by side where the screen has the room, else one below the other.

    Args:
        draw: returns a block's figure.
        key: of the charts, before the block's number.
        on_click: called with the block whose cell was clicked.
    """
    width = "blocks" if len(blocks) <= MAX_NARROW else "wide_blocks"
    with st.container(horizontal=True, key=f"{width}_{key}"):
        for block in blocks:
            clicked: dict[str, Any] = {}
            if on_click is not None:
                clicked = {"on_select": partial(on_click, block), "selection_mode": "points"}
            show_chart(draw(block), f"{key}{block}", alt, **clicked)


def draw_once(draw: Callable[..., go.Figure]) -> Callable[..., Kept]:
    """Cache the figures that ``draw(key, *options)`` returns, by network, options and language.

    Figures of an upload are kept for its session only.
    """

    def draw_finished(key: NetworkKey, language: str, is_dark: bool, *options: Any) -> Kept:
        figure = _finish(draw(key, *options))
        content = figure.to_dict()  # copied and encoded once, not at each drawing
        figure.to_dict = lambda: content
        return Kept(figure)

    # the cache identifies functions by their names and sources
    draw_finished.__qualname__ = f"{draw.__module__}.{draw.__qualname__}"
    kept = cache(256, private_entries=64, copies=False)(draw_finished)

    @functools.wraps(draw)
    def call(key: NetworkKey, *options: Any) -> Kept:
        return kept(key, language(), is_dark(), *options)

    return call


def _finish(figure: go.Figure) -> go.Figure:
    """Return a figure in the session's language and theme, without the template that Streamlit adds to all figures."""
    return apply_theme(translate(figure.update_layout(template=TEMPLATE, overwrite=True)))


def is_dark() -> bool:
    """Return whether the browser shows the dark theme."""
    return st.context.theme.type == "dark"


def apply_theme(figure: go.Figure) -> go.Figure:
    """Return the figure in the colors of the session's theme; those of data stay."""
    return go.Figure(_darken(figure.to_plotly_json())) if is_dark() else figure


def _darken(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _darken(value) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [_darken(value) for value in part]
    return _DARK.get(part, part) if isinstance(part, str) else part
