"""The paper's Figures 3 and 4 for any results: error against cost, and training curves, with seaborn."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter

from analysis.efficiency import count
from analysis.figures.families import family_styles
from analysis.figures.paper import COLUMN_WIDTHS, STYLE
from analysis.results import mean_over_seeds

COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # of networks, in their order
AXIS_TITLES = {
    "params": "number of parameters",
    "mult_adds": "mult_adds",
    "flops": "FLOPs (2 x mult_adds)",
    "activation_bytes": "activation memory in training (bytes)",
}
ERROR_TITLES = {
    "test": "test error (%)",
    "top1_single_crop": "top-1 validation error (%)",
    "top5_single_crop": "top-5 validation error (%)",
    "top1_10_crop": "top-1 validation error, 10-crop (%)",
    "top5_10_crop": "top-5 validation error, 10-crop (%)",
}


def efficiency_figure(
    results: pd.DataFrame, costs: Sequence[str] = ("params", "flops"), log: bool = False, label_points: bool = True
) -> Figure:
    """The paper's Figure 3: error against parameters and against FLOPs, a line a family, each point named.

    Args:
        results: rows of one data set and one kind of error, as in ``analysis.results``; where a network has a row a
            seed, the mean is drawn with its standard deviation.
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
            _draw_families(ax, table, cost, log, label_points)
            ax.set_ylabel(ERROR_TITLES[results["error_kind"].iloc[0]])
            ax.label_outer(remove_inner_ticks=False)
        figure.text(1, 0, _provenance(results), ha="right", va="bottom", fontsize=5, color="#555555")
    return figure


def _draw_families(ax: Axes, table: pd.DataFrame, cost: str, log: bool, label_points: bool) -> None:
    import seaborn as sns

    styles = family_styles(table["family"])
    sns.lineplot(
        table.dropna(subset=[cost, "error"]),
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
        markersize=4,
        ax=ax,
    )
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
    ax.legend(title=None, frameon=False, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    if label_points:
        _name_points(ax, table, cost)


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


def _provenance(results: pd.DataFrame) -> str:
    """Where the points come from: published and measured are told apart, and seeds counted."""
    parts = []
    if sources := sorted(results.loc[results["origin"] == "published", "source"].unique()):
        parts.append(f"published: {'; '.join(sources)}")
    measured = results[results["origin"] == "measured"]
    if len(measured):
        seeds = measured.groupby("model")["seeds"].sum()
        of = f"{int(seeds.min())}" if seeds.min() == seeds.max() else f"{int(seeds.min())} to {int(seeds.max())}"
        epochs = "/".join(str(int(e)) for e in sorted(measured["epochs"].dropna().unique()))
        parts.append(f"measured: {of} seed(s) each, {epochs} epochs, last epoch; bars: standard deviation")
    return ". ".join([f"Data: {plain(results['dataset'].iloc[0])}", *parts])


def plain(text: object) -> str:
    """Text that others wrote, so that Matplotlib takes no part of it for a formula."""
    return str(text).replace("$", r"\$")


def training_curves_figure(curves: pd.DataFrame, columns: int = 1) -> Figure:
    """The paper's Figure 4, right: training loss (dashed, right axis) and test error (left axis) over the epochs.

    Args:
        curves: columns network, epoch, split (train or test), loss (nats), error (percent): ``training_curves``.

    Raises:
        ValueError: there is no network, or there are more than six.
    """
    networks = list(dict.fromkeys(curves["network"]))
    if not 1 <= len(networks) <= len(COLORS):
        raise ValueError(f"curves of 1 to {len(COLORS)} networks can be drawn, not of {len(networks)}")
    with mpl.rc_context(fname=STYLE):
        figure = Figure(figsize=(COLUMN_WIDTHS[columns], 2.4), layout="constrained")
        ax = figure.subplots()
        right = ax.twinx()
        for network, color in zip(networks, COLORS, strict=False):
            own = curves[curves["network"] == network]
            test, train = own[own["split"] == "test"], own[own["split"] == "train"]
            ax.plot(test["epoch"], test["error"], color=color, linewidth=1, label=f"test error: {plain(network)}")
            label = f"training loss: {plain(network)}"
            right.plot(train["epoch"], train["loss"], "--", color=color, linewidth=0.8, label=label)
        ax.set(xlabel="epoch", ylabel="test error (%)")
        right.set(ylabel="training loss (nats)", yscale="log")
        lines = [*ax.get_lines(), *right.get_lines()]
        ax.legend(lines, [str(line.get_label()) for line in lines], frameon=False, fontsize=6)
        ax.grid(linewidth=0.3, color="#cccccc")
    return figure


def stage_cost_figure(stages: pd.DataFrame) -> Figure:
    """Parameters and mult_adds by stage, a row of panels a network, on common axes.

    Args:
        stages: as ``compare_stages`` gives it.
    """
    networks = list(dict.fromkeys(stages["network"]))
    with mpl.rc_context(fname=STYLE):
        figure = Figure(figsize=(COLUMN_WIDTHS[2], 1.7 * len(networks)), layout="constrained")
        panels = figure.subplots(len(networks), 2, sharex="col", squeeze=False)
        for row, network, color in zip(panels, networks, COLORS, strict=False):
            own = stages[stages["network"] == network]
            for ax, quantity in zip(row, ("params", "mult_adds"), strict=True):
                ax.barh(own["stage"], own[quantity], color=color, height=0.7)
                ax.invert_yaxis()
                ax.set_title(f"{AXIS_TITLES[quantity]}: {plain(network)}")
                ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
                ax.grid(axis="x", linewidth=0.3, color="#cccccc")
                ax.set_axisbelow(True)
    return figure
