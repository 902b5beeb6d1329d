"""Shared style of the figures on screen: colors of text, font, margins."""

from __future__ import annotations

import html
from typing import Any

INK, MUTED, GRID, ACCENT = "#1f2937", "#6b7280", "#e5e7eb", "#2563eb"
FONT = {"family": "Source Sans, Source Sans Pro, Helvetica, Arial, sans-serif", "color": INK, "size": 13}


def plain(text: object) -> str:
    """Text that others wrote, so that Plotly shows it letter for letter, in a ``hovertemplate`` too."""
    return html.escape(str(text), quote=False).replace("%{", "&#37;{")


def layout(height: int) -> dict[str, Any]:
    """Return a figure's layout: transparent, without a legend, ``height`` pixels high."""
    return {
        "height": height,
        "font": FONT,
        "margin": {"l": 48, "r": 8, "t": 30, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"bgcolor": "white", "font": {"color": INK, "size": 13}},
        "showlegend": False,
    }
