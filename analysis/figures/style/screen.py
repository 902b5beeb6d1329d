"""Shared style of the figures on screen: colors of text, font, margins."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import Any

from analysis.figures.style.words import EPOCH

INK, MUTED, GRID, ACCENT = "#1f2937", "#6b7280", "#e5e7eb", "#2563eb"
# Above the plot, and growing away from it: on a narrow screen its lines are many.
LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
MAX_EPOCH_TICKS = 12
MAX_LOG_RATIO = 1e4
# Of every axis, where a figure does not say otherwise: Plotly's own lines are white or black on one of the themes.
AXIS = {"gridcolor": GRID, "zerolinecolor": GRID, "fixedrange": True, "separatethousands": True}
TEMPLATE = {"layout": {"xaxis": AXIS, "yaxis": AXIS | {"automargin": True, "title": {"standoff": 8}}}}
FONT = {"family": "Source Sans, Source Sans Pro, Helvetica, Arial, sans-serif", "color": INK, "size": 13}


def plain(text: object) -> str:
    """Escape text, so that Plotly shows it letter for letter, in a ``hovertemplate`` too."""
    return html.escape(str(text), quote=False).replace("%{", "&#37;{")


def layout(height: int) -> dict[str, Any]:
    """Return a layout: transparent, without a legend, ``height`` pixels high; its axes look as ``TEMPLATE`` says."""
    return {
        "template": TEMPLATE,
        "height": height,
        "font": FONT,
        "margin": {"l": 48, "r": 8, "t": 30, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"bgcolor": "white", "font": {"color": INK, "size": 13}},
        "showlegend": False,
    }


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers from ``low`` to ``high`` for a logarithmic axis: the closer the ends, the more in a decade.

    >>> [tick for tick in log_ticks(0.9, 2) if 0.9 <= tick <= 2]
    [1.0, 1.5, 2.0]
    """
    span = math.log10(high / low)
    steps = (1, 1.5, 2, 3, 4, 5, 7) if span < 1 else (1, 2, 5) if span < 3 else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**decade for decade in decades for step in steps]


def epoch_axis(epochs: Iterable[int]) -> dict[str, Any]:
    """Return an axis of epochs, with a tick at each where they are few: Plotly's own would be at 1.5 too."""
    shown = set(epochs)
    ticks = {"dtick": 1} if len(shown) <= MAX_EPOCH_TICKS else {}
    return {"title": EPOCH} | ticks


def log_axis(values: Iterable[float]) -> dict[str, Any]:
    """Return a logarithmic axis for the positive values: round numbers, or powers of 10 where they are far apart.

    >>> log_axis([0.0, 0.9, 2.1])["ticktext"][3:7]
    ['0.3', '0.4', '0.5', '0.7']
    >>> log_axis([1.0, 1e15])
    {'type': 'log', 'nticks': 8, 'exponentformat': 'power'}
    """
    shown = [value for value in values if value > 0 and math.isfinite(value)]
    if not shown or min(shown) == max(shown):
        return {"type": "log"}
    if max(shown) >= MAX_LOG_RATIO * min(shown):
        return {"type": "log", "nticks": 8, "exponentformat": "power"}
    ticks = log_ticks(min(shown), max(shown))
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
