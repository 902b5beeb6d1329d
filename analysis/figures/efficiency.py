"""The paper's Figures 3 and 4 (left, middle) for any results: error against cost, for paper and for the screen."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from analysis.figures.style.families import FamilyStyle, family_styles
from analysis.figures.style.paper import COLUMN_WIDTHS, STYLE, plain_text
from analysis.figures.style.point_names import place_names
from analysis.figures.style.provenance import provenance
from analysis.figures.style.screen import GRID, LEGEND, MUTED, layout, log_ticks, plain
from analysis.figures.style.words import AXIS_TITLES, ERROR_TITLES
from analysis.results.efficiency import count, pareto_front
from analysis.results.results import mean_over_seeds
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
LINE_STYLES = ("-", "--", ":", "-.")  # of the sources of results
_HOVER = Phrase(
    "figures.result_hover",
    "<b>%{customdata[0]}</b><br>error %{y:.2f} %%{customdata[1]}<br>%{customdata[2]} parameters, "
    "%{customdata[3]} mult_adds<br>%{customdata[4]}<extra></extra>",
)


def efficiency_figure(
    results: pd.DataFrame, costs: Sequence[str] = ("params", "flops"), log: bool = False, label_points: bool = True
) -> Figure:
    """Return the paper's Figure 3: error against parameters and against FLOPs, one line per family, each point named.

    Args:
        results: rows of one data set and one kind of error, as in ``analysis.results.results``; where a network has a
            row per seed, the mean is drawn with its standard deviation.
        costs: params, mult_adds, flops (2 x mult_adds, the paper's) or activation_bytes, one panel each.
        log: a logarithmic cost axis.

    Raises:
        ValueError: there are no rows, or they mix data sets or kinds of error.
    """
    for column in ("dataset", "error_kind"):
        found = sorted(results[column].unique())
        if len(found) != 1:
            raise ValueError(f"results must be of one {column}: they have {', '.join(found) or 'no rows'}")
    table = mean_over_seeds(results)
    table = table.assign(flops=2 * table["mult_adds"])
    with mpl.rc_context(fname=STYLE):
        width = COLUMN_WIDTHS[min(len(costs), 2)]
        figure = Figure(figsize=(width, 2.6), layout=ConstrainedLayoutEngine(rect=(0, 0.04, 1, 0.96)))
        for ax, cost in zip(figure.subplots(1, len(costs), sharey=True, squeeze=False)[0], costs, strict=True):
            _draw_families(ax, table, cost, log, label_points, is_published_hollow=table["origin"].nunique() > 1)
            ax.set_ylabel(ERROR_TITLES[results["error_kind"].iloc[0]])
            ax.label_outer(remove_inner_ticks=False)
        figure.text(1, 0, provenance(results), ha="right", va="bottom", fontsize=5, color="#555555")
    return figure


def data_set_figure(results: pd.DataFrame, cost: str = "params") -> Figure:
    """Draw test error against cost, one panel per data set: Figure 4's middle with all that is known.

    Points of one family and one source are joined; measured results are filled, published ones hollow.

    Args:
        results: rows of ``analysis.results.results`` with the error kind "test".
        cost: as in ``efficiency_figure``.
    """
    table = mean_over_seeds(results)
    datasets = list(dict.fromkeys(results["dataset"]))
    with mpl.rc_context(fname=STYLE):
        columns, rows = min(len(datasets), 2), math.ceil(len(datasets) / 2)
        sources = [provenance(results[results["dataset"] == dataset]) for dataset in datasets]
        lines = [line for source in sources for line in textwrap.wrap(source, 90 * columns)]
        bottom = (0.01 + 0.03 * len(lines)) / rows
        layout_engine = ConstrainedLayoutEngine(rect=(0, bottom, 1, 1 - bottom))
        figure = Figure(figsize=(COLUMN_WIDTHS[columns], 2.9 * rows), layout=layout_engine)
        panels = [figure.add_subplot(rows, columns, number) for number in range(1, len(datasets) + 1)]
        for ax, dataset in zip(panels, datasets, strict=True):
            own = table[table["dataset"] == dataset]
            _draw_families(ax, own, cost, log=True, label_points=False, is_published_hollow=True)
            ax.set_ylabel(ERROR_TITLES["test"])
            ax.text(0.98, 0.97, plain_text(dataset), transform=ax.transAxes, ha="right", va="top", fontsize=7)
        figure.text(1, 0, "\n".join(lines), ha="right", va="bottom", fontsize=5, color="#555555")
    return figure


def _draw_families(
    ax: Axes, table: pd.DataFrame, cost: str, log: bool, label_points: bool, is_published_hollow: bool
) -> None:
    styles = family_styles(table["family"])
    series = table["source"].where(table["origin"] == "published", "measured")
    names = sorted(series.unique(), key=lambda name: (name != "measured", name))
    has_several = len(styles) < len(table.groupby(["family", series]))  # sources of one family
    dashes = dict(zip(names, itertools.cycle(LINE_STYLES if has_several else "-")))
    for name, line_style in dashes.items():
        own = table[series == name].dropna(subset=[cost, "error"])
        _draw_lines(ax, own, cost, styles, line_style, is_hollow=is_published_hollow and name != "measured")
    for family, style in styles.items():
        own = table[(table["family"] == family) & table["spread"].notna()]
        bars = ax.errorbar(own[cost], own["error"], own["spread"], fmt="none", ecolor=style.color, elinewidth=0.7)
        bars.set_label("_bars")  # not in the legend
    ax.set_xlabel(AXIS_TITLES[cost])
    if log:
        ax.set_xscale("log")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    if log:
        ax.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    ax.grid(linewidth=0.3, color="#cccccc")
    _draw_legend(ax, styles, dashes if has_several else {})
    if label_points:
        _name_points(ax, table, cost)


def _draw_legend(ax: Axes, styles: dict[str, FamilyStyle], dashes: dict[str, str]) -> None:
    """Draw the families by color and marker, and the sources by the style of their lines, above the axes."""
    families = {
        family: {"color": style.color, "marker": style.marker, "markeredgecolor": "white"}
        for family, style in styles.items()
    }
    sources = {plain_text(name): {"color": "#555555", "linestyle": dash} for name, dash in dashes.items()}
    looks: dict[str, Any] = families | sources
    handles = [Line2D([], [], linewidth=1, markersize=4, label=name, **look) for name, look in looks.items()]
    ax.legend(handles=handles, frameon=False, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)


def _draw_lines(
    ax: Axes, table: pd.DataFrame, cost: str, styles: dict[str, FamilyStyle], line_style: str, is_hollow: bool
) -> None:
    """Draw the points of one source, a line per family."""
    import seaborn as sns

    before = len(ax.get_lines())
    sns.lineplot(
        table,
        x=cost,
        y="error",
        hue="family",
        hue_order=list(styles),
        style="family",
        style_order=list(styles),
        palette={family: style.color for family, style in styles.items()},
        markers={family: style.marker for family, style in styles.items()},
        dashes=False,
        estimator=None,
        linewidth=1,
        linestyle=line_style,
        markersize=4,
        legend=False,
        ax=ax,
    )
    for line in ax.get_lines()[before:] if is_hollow else ():
        line.set(markerfacecolor="white", markeredgecolor=line.get_color())


def _name_points(ax: Axes, table: pd.DataFrame, cost: str) -> None:
    """Names beside the points: below on the left for the family with the least errors, above on the right else.

    The lines fall from left to right, so both places are free of a family's own line.
    """
    means = table.groupby(["family", "model", cost])["error"].mean().reset_index()
    lowest = means["family"].iloc[int(means["error"].argmin())]
    for family, model, x, y in means.itertuples(index=False):
        is_below = family == lowest
        ax.annotate(
            str(model),
            (x, y),
            (-3, -3) if is_below else (3, 3),
            textcoords="offset points",
            ha="right" if is_below else "left",
            va="top" if is_below else "bottom",
            fontsize=5.5,
        )
    ax.margins(x=0.25, y=0.12)


def efficiency_screen(
    results: pd.DataFrame,
    cost: str = "params",
    log: bool = True,
    pareto: bool = True,
) -> go.Figure:
    """Error against cost: one color per family, published results hollow, measured ones filled.

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
        front = table[pareto_front(table, cost)].sort_values(cost)
        line = {"color": MUTED, "width": 1, "dash": "dot"}
        trace = go.Scatter(
            x=front[cost],
            y=front["error"],
            mode="lines",
            line=line,
            name=Phrase("figures.pareto_front", "Pareto front"),
        )
        figure.add_trace(trace.update(hoverinfo="skip"))
    places = _name_places(table, cost, log)
    for family, rows in table.groupby("family", sort=False):
        for origin, points in rows.groupby("origin"):
            figure.add_trace(_points(points, str(origin), cost, styles[str(family)], places))
    figure.update_layout(layout(height=460))
    figure.update_layout(
        showlegend=True,
        legend=LEGEND | {"itemsizing": "constant"},
        hovermode="closest",
    )
    axis = {"gridcolor": GRID, "zeroline": False, "fixedrange": True}
    figure.update_xaxes(
        axis | {"title": SCREEN_AXIS_TITLES.get(cost, cost), "type": "log" if log else "linear", "exponentformat": "SI"}
    )
    if log and len(table):
        ticks = log_ticks(table[cost].min(), table[cost].max())
        figure.update_xaxes(tickvals=ticks, ticktext=[count(tick) for tick in ticks])
    kinds = table["error_kind"].unique()
    title = ERROR_TITLES[kinds[0]] if len(kinds) == 1 else Phrase("figures.error", "error (%)")
    return figure.update_yaxes(axis | {"title": title})


def _name_places(table: pd.DataFrame, cost: str, log: bool) -> dict[Any, str | None]:
    """Return where the names of points are written, by the table's index; empty for too many points."""
    if not 0 < len(table) <= MAX_NAMED:
        return {}
    ordered = table.sort_values("error")  # the best ones choose first
    across = [math.log10(value) if log else value for value in ordered[cost]]
    front = [i for i, is_on in enumerate(pareto_front(ordered, cost)) if is_on]
    front.sort(key=across.__getitem__)
    places = place_names(across, list(ordered["error"]), list(map(str, ordered["model"])), front)
    return dict(zip(ordered.index, places, strict=True))


def _points(
    points: pd.DataFrame, origin: str, cost: str, style: FamilyStyle, places: dict[Any, str | None]
) -> go.Scatter:
    """Return the points of one family and origin.

    Args:
        places: of the names that are written, by the table's index.
    """
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


def _legend_name(family: str, is_measured: bool) -> Phrase:
    if is_measured:
        return Phrase("figures.family_measured", "{family}, measured", family=family)
    return Phrase("figures.family_published", "{family}, published", family=family)


def _count(value: float) -> str:
    return "unknown" if pd.isna(value) else count(value)
