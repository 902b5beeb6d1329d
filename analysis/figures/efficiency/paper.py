"""Error against cost for paper: the paper's Figure 3, and Figure 4's middle with one panel per data set."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.figures.efficiency.scales import needs_log_error
from analysis.figures.style.families import FamilyStyle, family_styles
from analysis.figures.style.paper import COLUMN_WIDTHS, STYLE, plain_text
from analysis.figures.style.paper_figure import PaperFigure
from analysis.figures.style.provenance import provenance
from analysis.figures.style.words import AXIS_TITLES, ERROR_TITLES
from analysis.results.efficiency import count
from analysis.results.results import mean_over_seeds

LINE_STYLES = ("-", "--", ":", "-.")  # of the sources of results


def efficiency_figure(
    results: pd.DataFrame, costs: Sequence[str] = ("params", "flops"), log: bool = False, label_points: bool = True
) -> Figure:
    """Return the paper's Figure 3: error against parameters and against FLOPs, one line per family, each point named.

    Args:
        results: rows of one data set and one kind of error, as in ``analysis.results.results``; where a network has a
            row per seed, the mean is drawn with its standard deviation.
        costs: params, mult_adds, flops (2 x mult_adds, the paper's) or activation_bytes, one panel each.
        log: a logarithmic cost axis. The error axis is logarithmic where a few errors are much larger than most.

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
        figure = PaperFigure(figsize=(width, 2.6), layout=ConstrainedLayoutEngine(rect=(0, 0.04, 1, 0.96)))
        for ax, cost in zip(figure.subplots(1, len(costs), sharey=True, squeeze=False)[0], costs, strict=True):
            _draw_families(ax, table, cost, log, label_points, is_published_hollow=table["origin"].nunique() > 1)
            ax.set_ylabel(ERROR_TITLES[results["error_kind"].iloc[0]])
            if needs_log_error(table["error"]):
                ax.set_yscale("log")
                ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                ax.yaxis.set_minor_formatter(NullFormatter())
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
        figure = PaperFigure(figsize=(COLUMN_WIDTHS[columns], 2.9 * rows), layout=layout_engine)
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
    """Write names beside the points: below on the left for the family with the least errors, else above on the right.

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
