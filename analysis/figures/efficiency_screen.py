"""Error against cost, costs by stage, and training curves for the screen, with Plotly."""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.efficiency import count, pareto_front
from analysis.figures.curves import COLORS, ERROR_TITLES
from analysis.figures.families import FamilyStyle, family_styles
from analysis.figures.screen_style import GRID, MUTED, layout, plain

MOST_NAMED = 16  # points with their names beside them
AXIS_TITLES = {
    "params": "parameters",
    "mult_adds": "mult_adds (FLOPs are twice as many)",
    "activation_bytes": "activations kept in training, one image (bytes)",
    "images_per_s": "images per second (RTX 3090, mixed precision, as timm measured it)",
    "forward_ms": "time of a forward pass of one image, measured on this machine (ms)",
}
_HOVER = (
    "<b>%{customdata[0]}</b><br>error %{y:.2f} %%{customdata[1]}<br>%{customdata[2]} parameters, "
    "%{customdata[3]} mult_adds<br>%{customdata[4]}<extra></extra>"
)


def efficiency_screen(
    results: pd.DataFrame,
    cost: str = "params",
    log: bool = True,
    pareto: bool = True,
) -> go.Figure:
    """Error against cost: a colour a family, published results hollow, measured ones filled.

    Args:
        results: rows of one kind of error (``analysis.results``), seeds already averaged.
        cost: the column across.
        log: a logarithmic cost axis.
        pareto: draw the Pareto front of all rows.
    """
    table = results.dropna(subset=[cost, "error"])
    styles = family_styles(table["family"])
    figure = go.Figure()
    if pareto and len(table):
        front = table[pareto_front(table, cost)].sort_values(cost)
        line = {"color": MUTED, "width": 1, "dash": "dot"}
        trace = go.Scatter(x=front[cost], y=front["error"], mode="lines", line=line, name="Pareto front")
        figure.add_trace(trace.update(hoverinfo="skip"))
    for family, rows in table.groupby("family", sort=False):
        for origin, points in rows.groupby("origin"):
            figure.add_trace(
                _points(points, str(origin), cost, styles[str(family)], with_names=len(table) <= MOST_NAMED)
            )
    figure.update_layout(layout(height=460))
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "v", "x": 1.01, "y": 1, "itemsizing": "constant"},
        hovermode="closest",
    )
    axis = {"gridcolor": GRID, "zeroline": False, "fixedrange": True}
    figure.update_xaxes(
        axis | {"title": AXIS_TITLES.get(cost, cost), "type": "log" if log else "linear", "exponentformat": "SI"}
    )
    if log and len(table):
        ticks = _log_ticks(table[cost].min(), table[cost].max())
        figure.update_xaxes(tickvals=ticks, ticktext=[count(tick) for tick in ticks])
    kinds = table["error_kind"].unique()
    title = ERROR_TITLES[kinds[0]] if len(kinds) == 1 else "error (%)"
    return figure.update_yaxes(axis | {"title": title})


def _points(points: pd.DataFrame, origin: str, cost: str, style: FamilyStyle, with_names: bool) -> go.Scatter:
    spread = points["spread"].fillna(0)
    seeds = [f" ± {s:.2f} ({n:.0f} seeds)" if n > 1 else "" for s, n in zip(spread, points["seeds"], strict=True)]
    notes = points["source"].map(plain) + points["note"].map(lambda n: f"<br>{plain(n)}" if isinstance(n, str) else "")
    names = points["model"].map(plain)
    shown = [names, seeds, points["params"].map(_count), points["mult_adds"].map(_count), notes]
    is_measured, family = origin == "measured", plain(points["family"].iloc[0])
    return go.Scatter(
        x=points[cost],
        y=points["error"],
        error_y={"array": spread, "visible": is_measured and bool((spread > 0).any()), "thickness": 1, "width": 3},
        mode="markers+text" if with_names else "markers",
        text=names,
        textposition="top right",
        cliponaxis=False,
        textfont={"size": 11, "color": MUTED},
        name=f"{family}, measured" if is_measured else f"{family}, published",
        marker={
            "color": style.color if is_measured else "white",
            "symbol": style.symbol,
            "size": 10,
            "line": {"color": style.color, "width": 2},
        },
        customdata=list(zip(*shown, strict=True)),
        hovertemplate=_HOVER,
    )


def _count(value: float) -> str:
    return "unknown" if pd.isna(value) else count(value)


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from ``low`` to ``high``: the closer the ends, the more in a decade."""
    span = math.log10(high / low)
    steps = (1, 1.5, 2, 3, 4, 5, 7) if span < 1 else (1, 2, 5) if span < 3 else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**decade for decade in decades for step in steps]


def stages_screen(stages: pd.DataFrame) -> go.Figure:
    """Parameters and mult_adds by stage, a row of panels a network, on common axes.

    Args:
        stages: as ``compare_stages`` gives it.
    """
    networks = list(dict.fromkeys(stages["network"]))
    titles = [title for name in map(plain, networks) for title in (f"parameters: {name}", f"mult_adds: {name}")]
    figure = make_subplots(len(networks), 2, subplot_titles=titles, shared_xaxes="columns", vertical_spacing=0.14)
    for row, (name, color) in enumerate(zip(networks, COLORS, strict=False), start=1):
        own = stages[stages["network"] == name]
        for col, quantity in enumerate(("params", "mult_adds"), start=1):
            bars = go.Bar(
                y=own["stage"],
                x=own[quantity],
                orientation="h",
                marker={"color": color},
                hovertemplate="%{y}: %{x:,}<extra></extra>",
            )
            figure.add_trace(bars, row, col)
    figure.update_layout(layout(height=60 + 210 * len(networks)))
    figure.update_layout(margin_l=90, bargap=0.25)
    figure.update_xaxes(gridcolor=GRID, fixedrange=True, exponentformat="SI", showticklabels=True, nticks=6)
    figure.update_annotations(font={"size": 14})
    return figure.update_yaxes(autorange="reversed", fixedrange=True)


def training_curves_screen(curves: pd.DataFrame) -> go.Figure:
    """Test error (lines, left axis) and training loss (dashed, right axis) over the epochs: Figure 4, right.

    Args:
        curves: as ``training_curves`` gives it.
    """
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    for network, color in zip(dict.fromkeys(curves["network"]), COLORS, strict=False):
        own = curves[curves["network"] == network]
        for split, column, dash, is_right in (("test", "error", None, False), ("train", "loss", "dash", True)):
            rows = own[own["split"] == split]
            name = f"{plain(network)}: training loss" if is_right else f"{plain(network)}: test error"
            line = {"color": color, "width": 1 if is_right else 2, "dash": dash}
            figure.add_trace(go.Scatter(x=rows["epoch"], y=rows[column], name=name, line=line), secondary_y=is_right)
    figure.update_layout(layout(height=380))
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.22}, hovermode="x unified")
    figure.update_xaxes(title="epoch", gridcolor=GRID, fixedrange=True)
    figure.update_yaxes(title="test error (%)", gridcolor=GRID, fixedrange=True, secondary_y=False)
    return figure.update_yaxes(title="training loss (nats)", type="log", fixedrange=True, secondary_y=True)
