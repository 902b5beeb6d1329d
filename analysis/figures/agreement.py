"""Two measures of feature reuse against each other, connection by connection: for the screen and for paper."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure

from analysis.figures.style.paper import COLORS, COLUMN_WIDTHS, STYLE
from analysis.figures.style.paper_figure import PaperFigure
from analysis.figures.style.screen import GRID, LEGEND, layout
from analysis.reuse.agreement import agreement
from analysis.reuse.measures import measure_title
from analysis.words import Phrase


def agreement_figure(table: pd.DataFrame, first: str, second: str, kind: str | None = "dense_layer") -> Figure:
    """Return a figure with a point per connection: its ranks by two measures (0: least, 1: largest), colored by block.

    Raises:
        ValueError: as ``agreement``.
    """
    found = agreement(table, first, second, kind)
    rows = _rank(table, first, second, kind)
    with mpl.rc_context(fname=STYLE):
        figure = PaperFigure(figsize=(COLUMN_WIDTHS[1], 3.0), layout="constrained")
        ax = figure.subplots()
        for color, (block, own) in zip(_colors(rows), rows.groupby("block"), strict=True):
            ax.scatter(own["x"], own["y"], s=9, color=color, linewidths=0, alpha=0.75, label=_block(block))
        ax.plot((0, 1), (0, 1), color="#999999", linewidth=0.6, zorder=0)
        ax.set_xlabel(_axis_title(first))
        ax.set_ylabel(_axis_title(second))
        ax.set_aspect("equal")
        ax.set_title(f"Spearman {found.spearman:.2f} [{found.low:.2f}, {found.high:.2f}]", fontsize=8)
        figure.legend(frameon=False, fontsize=7, loc="outside lower center", ncols=4, handletextpad=0.1)
    return figure


def agreement_screen(table: pd.DataFrame, first: str, second: str, kind: str | None = "dense_layer") -> go.Figure:
    """Return the same figure for the screen, with each connection's numbers on hover."""
    rows = _rank(table, first, second, kind)
    figure = go.Figure(go.Scatter(x=(0, 1), y=(0, 1), mode="lines", line={"color": GRID}, showlegend=False))
    figure.update_traces(hoverinfo="skip")
    for color, (block, own) in zip(_colors(rows), rows.groupby("block"), strict=True):
        custom = own[["block", "source_layer", "target_layer", first, second]].to_numpy()
        figure.add_trace(
            go.Scatter(
                x=own["x"],
                y=own["y"],
                mode="markers",
                name=_block(block),
                marker={"color": color, "size": 8, "opacity": 0.75},
                customdata=custom,
                hovertemplate=_hover(first, second),
            )
        )
    figure.update_layout(layout(height=480))
    figure.update_layout(showlegend=True, legend=LEGEND)
    axis = {"range": (-0.03, 1.03), "zeroline": False}
    largest = Phrase("figures.rank_from_largest", "rank by {measure} (1 = largest)", measure=measure_title(first))
    figure.update_xaxes(axis | {"title": largest})
    return figure.update_yaxes(axis | {"title": _axis_title(second)})


def _axis_title(measure: str) -> Phrase:
    return Phrase("figures.rank", "rank by {measure}", measure=measure_title(measure))


def _block(number: object) -> Phrase:
    return Phrase("figures.block_lower", "block {number}", number=number)


def _hover(first: str, second: str) -> Phrase:
    return Phrase(
        "figures.agreement_hover",
        "<b>block %{customdata[0]}: source %{customdata[1]} → target %{customdata[2]}</b><br>"
        "{first}: %{customdata[3]:.4g}<br>{second}: %{customdata[4]:.4g}<extra></extra>",
        first=measure_title(first),
        second=measure_title(second),
    )


def _rank(table: pd.DataFrame, first: str, second: str, kind: str | None) -> pd.DataFrame:
    rows = table if kind is None else table[table["target_kind"] == kind]
    ranks = {axis: (rows[name].rank() - 1) / max(1, len(rows) - 1) for axis, name in (("x", first), ("y", second))}
    return rows.assign(**ranks)


def _colors(rows: pd.DataFrame) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(rows["block"].nunique())]
