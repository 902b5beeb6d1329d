"""Error against cost on the screen."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.efficiency.scales import needs_log_error
from analysis.figures.style.families import FamilyStyle, family_styles
from analysis.figures.style.point_names import place_names
from analysis.figures.style.screen import LEGEND, MUTED, layout, log_ticks, plain
from analysis.figures.style.words import ERROR_TITLES
from analysis.results.efficiency import count, pareto_front
from analysis.words import Phrase, phrases

SCREEN_AXIS_TITLES = phrases(
    "cost_axes",
    {
        "params": "parameters",
        "mult_adds": "mult_adds (FLOPs are twice as many)",
        "activation_bytes": "activations kept in training, one image (bytes)",
        "images_per_s": "images per second (RTX 3090, mixed precision, as timm measured it)",
        "forward_ms": "time of a forward pass of one image, measured on this machine (ms)",
    },
)
MAX_NAMED = 16  # points whose names are written beside them
_HOVER = Phrase(
    "figures.result_hover",
    "<b>%{customdata[0]}</b><br>error %{y:.2f} %%{customdata[1]}<br>%{customdata[2]} parameters, "
    "%{customdata[3]} mult_adds<br>%{customdata[4]}<extra></extra>",
)


def efficiency_screen(results: pd.DataFrame, cost: str = "params", log: bool = True, pareto: bool = True) -> go.Figure:
    """Draw error against cost: one color per family, published results hollow, measured ones filled.

    Bars are one standard deviation over seeds. Where a few errors are much larger than most, the error axis is
    logarithmic.

    Args:
        results: rows of one kind of error (``analysis.results.results``), seeds already averaged.
        cost: the column across.
        log: a logarithmic cost axis.
        pareto: draw the Pareto front of all rows.
    """
    table = results.dropna(subset=[cost, "error"])
    styles = family_styles(table["family"])
    figure = go.Figure()
    if pareto and len(table):
        figure.add_trace(_front(table, cost))
    table = table.assign(name=_names(table))
    places = _name_places(table, cost, log)
    for family, rows in table.groupby("family", sort=False):
        for origin, points in rows.groupby("origin"):
            figure.add_trace(_points(points, str(origin), cost, styles[str(family)], places))
    figure.update_layout(layout(height=460))
    figure.update_layout(showlegend=True, legend=LEGEND | {"itemsizing": "constant"}, hovermode="closest")
    return _set_axes(figure, table, cost, log)


def _front(table: pd.DataFrame, cost: str) -> go.Scatter:
    """Return the line of the Pareto front."""
    front = table[pareto_front(table, cost)].sort_values(cost)
    return go.Scatter(
        x=front[cost],
        y=front["error"],
        mode="lines",
        line={"color": MUTED, "width": 1, "dash": "dot"},
        name=Phrase("figures.pareto_front", "Pareto front"),
        hoverinfo="skip",
    )


def _set_axes(figure: go.Figure, table: pd.DataFrame, cost: str, log: bool) -> go.Figure:
    """Set titles, scales and ticks of both axes, and return the figure."""
    axis = {"zeroline": False}
    scale = {"type": "log" if log else "linear", "exponentformat": "SI"}
    figure.update_xaxes(axis | scale | {"title": SCREEN_AXIS_TITLES.get(cost, cost)})
    if log and len(table):
        ticks = log_ticks(table[cost].min(), table[cost].max())
        figure.update_xaxes(tickvals=ticks, ticktext=[count(tick) for tick in ticks])
    kinds = table["error_kind"].unique()
    title = ERROR_TITLES[kinds[0]] if len(kinds) == 1 else Phrase("figures.error", "error (%)")
    figure.update_yaxes(axis | {"title": title})
    if needs_log_error(table["error"]):
        ticks = log_ticks(table["error"].min(), table["error"].max())
        figure.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    return figure


def _name_places(table: pd.DataFrame, cost: str, log: bool) -> dict[Any, str | None]:
    """Return where the names of points are written, by the table's index; empty for too many points."""
    if not 0 < len(table) <= MAX_NAMED:
        return {}
    ordered = table.sort_values("error")  # the best ones choose first
    across = [math.log10(value) if log else value for value in ordered[cost]]
    front = [i for i, is_on in enumerate(pareto_front(ordered, cost)) if is_on]
    front.sort(key=across.__getitem__)
    upward = ordered["error"].map(math.log10) if needs_log_error(ordered["error"]) else ordered["error"]
    places = place_names(across, list(upward), list(map(str, ordered["name"])), front)
    return dict(zip(ordered.index, places, strict=True))


def _names(table: pd.DataFrame) -> pd.Series:
    """Return the networks' names, with their epochs where one data set has a network trained for several lengths."""
    measured = table[(table["origin"] == "measured") & table["epochs"].notna()]
    several = measured.groupby("model")["epochs"].nunique()
    is_open = table.index.isin(measured.index) & table["model"].isin(several.index[several > 1])
    named = [
        Phrase("figures.after_epochs", "{model}, {epochs:.0f} epochs", model=plain(model), epochs=epochs)
        for model, epochs in zip(table["model"], table["epochs"], strict=True)
    ]
    return pd.Series(named, table.index, dtype=object).where(is_open, table["model"].map(plain))


def _points(
    points: pd.DataFrame, origin: str, cost: str, style: FamilyStyle, places: dict[Any, str | None]
) -> go.Scatter:
    """Return the points of one family and origin.

    Args:
        places: of the names that are written, by the table's index.
    """
    spread = points["spread"].fillna(0)
    seeds = [_of_seeds(s, n) if n > 1 else "" for s, n in zip(spread, points["seeds"], strict=True)]
    notes = points["source"].map(plain) + points["note"].map(lambda n: f"<br>{plain(n)}" if isinstance(n, str) else "")
    names = points["name"]
    shown = [names, seeds, points["params"].map(_count), points["mult_adds"].map(_count), notes]
    is_measured, family = origin == "measured", plain(points["family"].iloc[0])
    return go.Scatter(
        x=points[cost],
        y=points["error"],
        error_y={"array": spread, "visible": is_measured and bool((spread > 0).any()), "thickness": 1, "width": 3},
        mode="markers+text" if places else "markers",
        text=[name if places.get(row) else "" for row, name in names.items()],
        textposition=[places.get(row) or "top right" for row in points.index],
        cliponaxis=False,
        textfont={"size": 11, "color": MUTED},
        name=_legend_name(family, is_measured),
        marker={
            "color": style.color if is_measured else "white",
            "symbol": style.symbol,
            "size": 10,
            "line": {"color": style.color, "width": 2},
        },
        customdata=list(zip(*shown, strict=True)),
        hovertemplate=_HOVER,
    )


def _of_seeds(spread: float, number: float) -> Phrase:
    return Phrase(
        "figures.of_seeds", " ± {spread:.2f} (mean ± SD, n = {number:.0f} seeds)", spread=spread, number=number
    )


def _legend_name(family: str, is_measured: bool) -> Phrase:
    if is_measured:
        return Phrase("figures.family_measured", "{family}, measured", family=family)
    return Phrase("figures.family_published", "{family}, published", family=family)


def _count(value: float) -> str:
    return "unknown" if pd.isna(value) else count(value)
