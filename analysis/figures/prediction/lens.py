"""The layer lens as figures: class probabilities of an image by depth, error and loss of a data set by depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure

from analysis.figures.style.heatmap import ticks
from analysis.figures.style.paper import COLORS, COLUMN_WIDTHS, STYLE, plain_text
from analysis.figures.style.paper_figure import PaperFigure
from analysis.figures.style.screen import LEGEND, MUTED, layout, plain
from analysis.figures.style.words import PROBABILITY
from analysis.words import Phrase, phrases

DEPTH_TITLE = Phrase("prediction_figures.depth", "sources that the classifier reads: 0 to s")
TITLES = phrases(
    "lens",
    {"error": "error (%)", "loss": "loss (nats)", "decided": "images decided (%)", "agreement": "agreement (%)"},
)


def image_lens_screen(table: pd.DataFrame, names: Sequence[str], depth: int | None = None, top: int = 5) -> go.Figure:
    """Return the probabilities of the classes of one image by depth; those that are ever largest are drawn.

    Args:
        table: as ``image_lens`` returns it, of one image.
        names: of the classes.
        depth: a source layer to mark.
        top: number of classes, by their largest probability at any depth.
    """
    figure = go.Figure()
    by_class = table.pivot(index="source_layer", columns="class", values="probability")
    for place, number in enumerate(by_class.max().nlargest(top).index):
        own = by_class[number]
        name = plain(names[int(number)])
        line = {"color": COLORS[place % len(COLORS)], "width": 2}
        hover = Phrase(
            "prediction_figures.lens", "<b>{name}</b><br>reads sources 0 to %{x}: %{y:.1%}<extra></extra>", name=name
        )
        figure.add_scatter(x=own.index, y=own, name=name, mode="lines+markers", line=line, hovertemplate=hover)
    if depth is not None:
        figure.add_vline(x=depth, line={"color": MUTED, "dash": "dot"})
    figure.update_layout(layout(height=320))
    figure.update_layout(showlegend=True, legend=LEGEND)
    figure.update_xaxes(title=DEPTH_TITLE, tickvals=ticks(int(by_class.index.max())))
    return figure.update_yaxes(title=PROBABILITY, range=[0, 1.02])


def lens_figure(tables: Mapping[str, pd.DataFrame], columns: int = 2) -> Figure:
    """Return error, loss and what is decided by depth, a line for each network (its untrained null, for example).

    Args:
        tables: as ``lens_by_depth`` returns them, by the names to show.
        columns: width of the figure in columns of a paper: 1 (3.25 inches) or 2 (6.875 inches).
    """
    shown = ("error", "loss", "decided")
    with mpl.rc_context(fname=STYLE):
        width = COLUMN_WIDTHS[columns]
        figure = PaperFigure(figsize=(width, 2.3 if columns == 2 else 5.4), layout="constrained")
        axes = figure.subplots(*((1, 3) if columns == 2 else (3, 1)))
        for ax, measure in zip(axes, shown, strict=True):
            for color, (name, table) in zip(COLORS, tables.items(), strict=False):
                ax.plot(table["source_layer"], table[measure], color=color, linewidth=1, label=plain_text(name))
            ax.set(xlabel="last source read", ylabel=TITLES[measure])
            ax.set_ylim(bottom=0)
            ax.grid(linewidth=0.3, color="#cccccc")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, fontsize=7, loc="outside lower center", ncols=2)
    return figure


def lens_screen(table: pd.DataFrame, measure: str = "error") -> go.Figure:
    """Return a measure of ``lens_by_depth`` by depth, for the screen: error, loss, decided or agreement."""
    hover = Phrase(
        "prediction_figures.depth_hover",
        "<b>sources 0 to %{x}</b><br>{measure}: %{y:.2f}<extra></extra>",
        measure=TITLES[measure],
    )
    line = go.Scatter(
        x=table["source_layer"], y=table[measure], mode="lines+markers", line={"color": COLORS[1]}, hovertemplate=hover
    )
    figure = go.Figure(line, layout(height=320))
    figure.update_xaxes(title=DEPTH_TITLE, tickvals=ticks(int(table["source_layer"].max())))
    return figure.update_yaxes(title=TITLES[measure], rangemode="tozero")


def probes_screen(table: pd.DataFrame, x_title: str, y_title: str, block_title: str) -> go.Figure:
    """Return the test error of linear probes after each layer, a line for each block.

    Args:
        table: as ``linear_probes`` returns it.
        x_title, y_title: of the axes.
        block_title: the word before a block's number in the legend.
    """
    figure = go.Figure(layout=layout(height=300))
    for color, (block, rows) in zip(COLORS[1:], table.groupby("block"), strict=False):
        hover = f"<b>{block_title} {block}, %{{x}}</b>: %{{y:.2f}} %<extra></extra>"
        line = {"color": color, "width": 2}
        name = f"{block_title} {block}"
        figure.add_scatter(
            x=rows["source_layer"],
            y=rows["test_error"],
            name=name,
            mode="lines+markers",
            line=line,
            hovertemplate=hover,
        )
    figure.update_layout(showlegend=True, legend=LEGEND)
    figure.update_xaxes(title=x_title, tickvals=ticks(int(table["source_layer"].max())))
    return figure.update_yaxes(title=y_title, rangemode="tozero")
