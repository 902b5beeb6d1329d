"""A figure of the screen as one for paper: bars, lines, points and heatmaps of a Plotly figure, drawn by Matplotlib.

Figures that papers need have a function of their own; this is for the small ones, which exist for the screen first.
"""

from __future__ import annotations

import base64
import re
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.figures.style.paper import COLUMN_WIDTHS, STYLE

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PIXELS_PER_INCH = 150
LETTERS_PER_INCH = 20  # of the legend
LEGEND_LINE, LEGEND_SIGN = 0.13, 0.5  # inches: a line's height, and the width of what is before its words
DASHES = {"dash": "--", "dot": ":", "dashdot": "-.", None: "-", "solid": "-"}
MARKERS = {"circle": "o", "square": "s", "diamond": "D", "cross": "P", "x": "X", "triangle-up": "^"}


def paper_figure(screen: go.Figure) -> Figure:
    """Return the figure with its axes, titles and legend, without what answers to the mouse.

    >>> import plotly.graph_objects as go
    >>> figure = paper_figure(go.Figure(go.Bar(x=[1, 2], y=[3, 4]), {"xaxis": {"title": {"text": "layer"}}}))
    >>> figure.axes[0].get_xlabel()
    'layer'
    """
    import matplotlib as mpl

    from analysis.figures.style.paper_figure import PaperFigure

    content = _decoded(screen.to_plotly_json())
    layout = content["layout"]
    with mpl.rc_context(fname=STYLE):
        height = max(float(layout.get("height") or 300) / PIXELS_PER_INCH, 2.0)
        is_wide = len({trace.get("xaxis") for trace in content["data"]}) > 1
        figure = PaperFigure(figsize=(COLUMN_WIDTHS[2 if is_wide else 1], height), layout="constrained")
        axes = _axes(figure, content)
        for trace in content["data"]:
            _DRAW.get(trace.get("type", "scatter"), _line)(axes[trace.get("xaxis") or "x"], trace)
        _finish(axes, layout)
        _show_legend(figure, axes)
    return figure


def _decoded(part: Any) -> Any:
    """Return Plotly's JSON with its base64 as arrays, by which it encodes those of NumPy and pandas."""
    if isinstance(part, list | tuple):
        return [_decoded(value) for value in part]
    if not isinstance(part, dict):
        return part
    if "bdata" not in part:
        return {name: _decoded(value) for name, value in part.items()}
    array = np.frombuffer(base64.b64decode(part["bdata"]), dtype=part["dtype"])
    return array.reshape([int(size) for size in part["shape"].split(",")]) if "shape" in part else array


def _axes(figure: Figure, content: dict[str, Any]) -> dict[str, Axes]:
    """Return axes by the names of their x axes, side by side."""
    names = list(dict.fromkeys(trace.get("xaxis") or "x" for trace in content["data"])) or ["x"]
    return dict(zip(names, np.atleast_1d(figure.subplots(1, len(names))), strict=True))


def _finish(axes: dict[str, Axes], layout: dict[str, Any]) -> None:
    for name, ax in axes.items():
        number = name.removeprefix("x")
        for which, own in (("x", layout.get(f"xaxis{number}", {})), ("y", layout.get(f"yaxis{number}", {}))):
            getattr(ax, f"set_{which}label")(_plain((own.get("title") or {}).get("text") or ""))
            if own.get("type") == "log":
                getattr(ax, f"set_{which}scale")("log")
            if own.get("autorange") == "reversed":
                getattr(ax, f"invert_{which}axis")()
            if own.get("tickvals") is not None and own.get("ticktext") is not None:
                getattr(ax, f"set_{which}ticks")(list(own["tickvals"]), [_plain(str(text)) for text in own["ticktext"]])


def _show_legend(figure: Figure, axes: dict[str, Axes]) -> None:
    """Draw the legend below the axes, each label once; long labels go over several lines, and the figure grows."""
    handles: dict[str, Artist] = {}
    for ax in axes.values():
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    if len(handles) < 2:
        return
    width = int((figure.get_figwidth() - LEGEND_SIGN) * LETTERS_PER_INCH)
    columns = 1 if any(len(label) > width / 2 for label in handles) else 2
    labels = [textwrap.fill(label, width) for label in handles]
    lines = sum(label.count("\n") + 1 for label in labels) / columns
    figure.set_figheight(figure.get_figheight() + lines * LEGEND_LINE)
    figure.legend(list(handles.values()), labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=7)


def _line(ax: Axes, trace: dict[str, Any]) -> None:
    mode, line, marker = trace.get("mode") or "lines", trace.get("line") or {}, trace.get("marker") or {}
    if ("lines" not in mode and "markers" not in mode) or marker.get("opacity") == 0:  # text, or what only hovers
        return
    color = _one(line.get("color")) or _one(marker.get("color"))
    ax.plot(
        _values(trace, "x"),
        _values(trace, "y"),
        linestyle=DASHES.get(line.get("dash"), "-") if "lines" in mode else "",
        marker=MARKERS.get(str(_one(marker.get("symbol")) or "circle"), "o") if "markers" in mode else "",
        color=_color(color),
        label=_label(trace),
    )


def _bars(ax: Axes, trace: dict[str, Any]) -> None:
    colors = (trace.get("marker") or {}).get("color")
    colors = [_color(one) for one in colors] if isinstance(colors, list | tuple | np.ndarray) else _color(colors)
    draw = ax.barh if trace.get("orientation") == "h" else ax.bar
    places, lengths = ("y", "x") if trace.get("orientation") == "h" else ("x", "y")
    size = {"height" if places == "y" else "width": trace["width"]} if trace.get("width") is not None else {}
    base = trace.get("base")
    start = {} if base is None else {"left" if places == "y" else "bottom": base}
    draw(_values(trace, places), _values(trace, lengths), color=colors, label=_label(trace), **size, **start)


def _heatmap(ax: Axes, trace: dict[str, Any]) -> None:
    values = np.asarray(trace["z"], dtype=float)
    x, y = (
        np.arange(number) if trace.get(axis) is None else np.asarray(trace[axis])
        for axis, number in (("x", values.shape[1]), ("y", values.shape[0]))
    )
    ax.pcolormesh(x, y, values, cmap="viridis", shading="nearest", edgecolors="face", linewidth=0.1)
    ax.set_aspect("equal")


_DRAW = {"bar": _bars, "heatmap": _heatmap, "scatter": _line}


def _values(trace: dict[str, Any], which: str) -> list[Any]:
    values = trace.get(which)
    return [] if values is None else [_plain(value) if isinstance(value, str) else value for value in values]


def _label(trace: dict[str, Any]) -> str | None:
    return None if trace.get("showlegend") is False or not trace.get("name") else _plain(str(trace["name"]))


def _one(value: Any) -> Any:
    return value if isinstance(value, str) else None


def _color(value: Any) -> Any:
    """Return Matplotlib's color for one of Plotly's."""
    if not isinstance(value, str):
        return None
    found = re.fullmatch(r"rgba?\(([^)]*)\)", value)
    if found is None:
        return value
    parts = [float(part) for part in found[1].split(",")]
    return (*(part / 255 for part in parts[:3]), *parts[3:])


def _plain(text: str) -> str:
    """Return words without Plotly's tags."""
    return re.sub(r"<[^>]*>", " ", text).strip()
