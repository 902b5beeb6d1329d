"""Parameters and mult_adds by stage, for paper and for the screen."""

from __future__ import annotations

from typing import Literal

import matplotlib as mpl
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from plotly.subplots import make_subplots

from analysis.figures.style.paper import COLORS, COLUMN_WIDTHS, STYLE, plain_text
from analysis.figures.style.paper_figure import PaperFigure
from analysis.figures.style.screen import layout, plain
from analysis.figures.style.words import AXIS_TITLES, stage_title
from analysis.results.efficiency import count
from analysis.words import Phrase


def stage_cost_figure(stages: pd.DataFrame) -> Figure:
    """Draw parameters and mult_adds by stage, one row of panels per network, on common axes.

    Args:
        stages: as returned by ``compare_stages``.
    """
    networks = list(dict.fromkeys(stages["network"]))
    with mpl.rc_context(fname=STYLE):
        figure = PaperFigure(figsize=(COLUMN_WIDTHS[2], 1.7 * len(networks)), layout="constrained")
        panels = figure.subplots(len(networks), 2, sharex="col", squeeze=False)
        for row, network, color in zip(panels, networks, COLORS, strict=False):
            own = stages[stages["network"] == network]
            for ax, quantity in zip(row, ("params", "mult_adds"), strict=True):
                ax.barh(own["stage"], own[quantity], color=color, height=0.7)
                ax.invert_yaxis()
                ax.set_title(f"{AXIS_TITLES[quantity]}: {plain_text(network)}")
                ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
                ax.grid(axis="x", linewidth=0.3, color="#cccccc")
                ax.set_axisbelow(True)
    return figure


def stages_screen(stages: pd.DataFrame, quantity: Literal["params", "mult_adds"]) -> go.Figure:
    """Draw parameters or mult_adds by stage, one panel a network, on a common axis.

    Args:
        stages: as returned by ``compare_stages``.
    """
    networks = list(dict.fromkeys(stages["network"]))
    titles = [_title(quantity, name) for name in map(plain, networks)]
    figure = make_subplots(len(networks), 1, subplot_titles=titles, shared_xaxes="columns", vertical_spacing=0.14)
    for row, (name, color) in enumerate(zip(networks, COLORS, strict=False), start=1):
        own = stages[stages["network"] == name]
        bars = go.Bar(
            y=[stage_title(stage) for stage in own["stage"]],
            x=own[quantity],
            orientation="h",
            marker={"color": color},
            hovertemplate="%{y}: %{x:,}<extra></extra>",
        )
        figure.add_trace(bars, row, 1)
    figure.update_layout(layout(height=60 + 210 * len(networks)))
    figure.update_layout(margin_l=90, bargap=0.25)
    figure.update_xaxes(exponentformat="SI", showticklabels=True, nticks=6)
    figure.update_annotations(font={"size": 14})
    return figure.update_yaxes(autorange="reversed", ticklabelstandoff=6)


def _title(quantity: str, network: str) -> str:
    if quantity == "mult_adds":
        return f"mult_adds: {network}"
    return Phrase("figures.result_parameters", "parameters: {network}", network=network)
