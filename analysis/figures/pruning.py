"""Error against what is left after pruning, one curve per measure and random pruning: for screen and paper."""

from __future__ import annotations

import math

import matplotlib as mpl
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from analysis.figures.style.paper import COLORS, COLUMN_WIDTHS, STYLE
from analysis.figures.style.paper_figure import PaperFigure
from analysis.figures.style.screen import LEGEND, MUTED, layout
from analysis.figures.style.words import TEST_ERROR
from analysis.results.efficiency import count
from analysis.reuse.baselines import ORDER_TITLES
from analysis.reuse.pruning import RANDOM
from analysis.words import Phrase, phrases

MAX_NAME = 26  # characters of a name in the legend that has two columns in one column of a paper
LEGEND_ROW = 0.15  # inches
RANDOM_TITLE = Phrase("figures.random", "random (mean over seeds)")
X_TITLES = phrases(
    "pruning_axes", {"params": "parameters left", "mult_adds": "mult_adds left", "keep": "share of the budget left"}
)


def pruning_figure(curves: pd.DataFrame, x: str = "params", columns: int = 1) -> Figure:
    """Test error against what is left; random pruning is the mean over its seeds, with their range.

    Args:
        curves: as returned by ``pruning_curves``.
        x: params, mult_adds or keep.
        columns: width of the figure in columns of a paper.

    Raises:
        ValueError: ``x`` is unknown.
    """
    lines = list(_lines(curves, x))
    ncols = 2 if columns > 1 or all(len(name) <= MAX_NAME for name, _, _ in lines) else 1
    with mpl.rc_context(fname=STYLE):
        height = 2.0 + LEGEND_ROW * math.ceil(len(lines) / ncols)
        figure = PaperFigure(figsize=(COLUMN_WIDTHS[columns], height), layout="constrained")
        ax = figure.subplots()
        for name, color, own in lines:
            dashes = "--" if name.startswith(RANDOM_TITLE) else "-"
            ax.plot(own[x], own["error"], dashes, color=color, linewidth=1, marker="o", markersize=2.5, label=name)
            if name.startswith(RANDOM_TITLE):
                ax.fill_between(own[x], own["least"], own["most"], color=color, alpha=0.15, linewidth=0)
        ax.set_xlabel(X_TITLES[x])
        ax.set_ylabel(TEST_ERROR)
        if x != "keep":
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
        ax.grid(linewidth=0.3, color="#cccccc")
        ax.set_ylim(bottom=0)
        figure.legend(frameon=False, fontsize=7, loc="outside lower center", ncols=ncols)
    return figure


def pruning_screen(curves: pd.DataFrame, x: str = "params") -> go.Figure:
    """Return the same figure for the screen."""
    figure = go.Figure()
    for name, color, own in _lines(curves, x):
        figure.add_trace(
            go.Scatter(
                x=own[x],
                y=own["error"],
                name=name,
                mode="lines+markers",
                line={"color": color, "width": 2, "dash": "dash" if name.startswith(RANDOM_TITLE) else "solid"},
                customdata=own[["keep", "params", "mult_adds", "least", "most"]].to_numpy(),
                hovertemplate=Phrase(
                    "figures.pruning_hover",
                    "<b>{name}</b><br>%{customdata[0]:.0%} left: %{customdata[1]:,.0f} parameters, "
                    "%{customdata[2]:,.0f} mult_adds<br>error %{y:.2f} % (%{customdata[3]:.2f} to %{customdata[4]:.2f})"
                    "<extra></extra>",
                    name=name,
                ),
            )
        )
    figure.update_layout(layout(height=460))
    figure.update_layout(showlegend=True, legend=LEGEND)
    figure.update_xaxes(title=X_TITLES[x], exponentformat="SI")
    return figure.update_yaxes(title=TEST_ERROR, rangemode="tozero")


def _lines(curves: pd.DataFrame, x: str) -> list[tuple[str, str, pd.DataFrame]]:
    """Name, color, and mean, minimum and maximum over the seeds."""
    if x not in X_TITLES:
        raise ValueError(f"x {x!r} is unknown: choose from {', '.join(X_TITLES)}")
    lines = []
    repairs = curves["repair"] if "repair" in curves else pd.Series("none", index=curves.index)
    for place, ((measure, repair), own) in enumerate(curves.groupby(["measure", repairs], sort=False)):
        means = own.groupby("keep", sort=False).agg(
            params=("params", "mean"),
            mult_adds=("mult_adds", "mean"),
            error=("error", "mean"),
            least=("error", "min"),
            most=("error", "max"),
        )
        color = MUTED if measure == RANDOM else COLORS[place % len(COLORS)]
        lines.append((_name(str(measure), str(repair)), color, means.reset_index()))
    return lines


def _name(measure: str, repair: str) -> str:
    title = RANDOM_TITLE if measure == RANDOM else ORDER_TITLES.get(measure, measure)
    if repair == "mean":
        return Phrase("figures.repaired_means", "{measure}, means in place of cuts", measure=title)
    if repair == "norms":
        return Phrase("figures.repaired_norms", "{measure}, norms estimated again", measure=title)
    return title
