"""The gradient that reaches each layer, and the path lengths by which it arrives, a curve per network."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure

from analysis.figures.style.paper import COLORS, COLUMN_WIDTHS, STYLE
from analysis.figures.style.paper_figure import PaperFigure
from analysis.figures.style.screen import LEGEND, layout, log_axis, plain
from analysis.words import Phrase, phrases

QUANTITIES = phrases(
    "gradient_quantities",
    {
        "output_gradient": "gradient by the layer's output (L2 norm)",
        "weight_gradient": "gradient by the layer's weights (L2 norm)",
    },
)
POSITION = Phrase("figures.relative_depth", "layer (0: first, 1: last)")
PATH_LENGTH = Phrase("figures.path_length", "layers with weights on the path")
GRADIENT_SHARE = Phrase("figures.gradient_share", "share of the gradient by the image")


def network_title(network: object) -> str:
    """Return a network's name in the tables of ``analysis.claims.gradient_flow``, for the screen: a phrase."""
    name = plain(network)
    if (own := name.removesuffix(", untrained")) != name:
        return Phrase("figures.untrained", "{network}, untrained", network=own)
    if (own := name.removesuffix(", this network")) != name:
        return Phrase("figures.this_network", "{network}, this network", network=own)
    return name


def gradient_flow_figure(flow: pd.DataFrame, quantity: str = "output_gradient", columns: int = 1) -> Figure:
    """Draw a logarithmic curve per network, from its first layer to its last.

    Args:
        flow: as returned by ``gradient_flow``.
        quantity: output_gradient or weight_gradient.
        columns: width of the figure in columns of a paper.

    Raises:
        ValueError: the quantity is unknown.
    """
    _check(quantity)
    with mpl.rc_context(fname=STYLE):
        figure = PaperFigure(figsize=(COLUMN_WIDTHS[columns], 2.4), layout="constrained")
        ax = figure.subplots()
        for color, (network, own) in zip(COLORS, flow.groupby("network", sort=False), strict=False):
            ax.plot(own["position"], own[quantity], color=color, linewidth=1, label=str(network))
        ax.set_yscale("log")
        ax.set_xlabel(POSITION)
        ax.set_ylabel(QUANTITIES[quantity])
        ax.grid(linewidth=0.3, color="#cccccc")
        figure.legend(frameon=False, fontsize=7, loc="outside lower center", ncols=2)
    return figure


def gradient_flow_screen(flow: pd.DataFrame, quantity: str = "output_gradient") -> go.Figure:
    """Return the same for the screen, each layer named on hover."""
    _check(quantity)
    figure = _figure(height=440)
    for color, (network, own) in zip(COLORS, flow.groupby("network", sort=False), strict=False):
        title = network_title(network)
        hover = Phrase(
            "figures.gradient_hover",
            "<b>{network}</b><br>layer %{customdata[0]}: %{customdata[1]}<br>%{y:.3g}<extra></extra>",
            network=title,
        )
        curve = _curve(title, color, own["position"], own[quantity], hover)
        figure.add_trace(curve.update(customdata=own[["layer", "name"]].to_numpy()))
    figure.update_xaxes(title=POSITION, zeroline=False)
    return figure.update_yaxes(title=QUANTITIES[quantity], **log_axis(flow[quantity]))


def path_lengths_screen(counts: dict[str, pd.DataFrame]) -> go.Figure:
    """Draw how many paths of each length lead from the image to the scores, a line per network.

    Args:
        counts: by network, as returned by ``path_counts``.
    """
    figure = _figure(height=340)
    for color, (network, own) in zip(COLORS, counts.items(), strict=False):
        hover = Phrase(
            "figures.paths_hover",
            "<b>{network}</b><br>%{customdata} paths of %{x} layers<extra></extra>",
            network=plain(network),
        )
        numbers = [float(number) for number in own["num_paths"]]
        words = [f"{number:,}" if number < 10**15 else f"{float(number):.3g}" for number in own["num_paths"]]
        figure.add_trace(_curve(plain(network), color, own["length"], numbers, hover).update(customdata=words))
    figure.update_xaxes(title=PATH_LENGTH, rangemode="tozero")
    numbers = [float(number) for own in counts.values() for number in own["num_paths"]]
    return figure.update_yaxes(title=Phrase("figures.num_paths", "number of paths"), **log_axis(numbers))


def path_shares_figure(gradients: pd.DataFrame, columns: int = 1) -> Figure:
    """Draw the share of the gradient that arrives by paths of each length, a curve per network.

    Args:
        gradients: as returned by ``path_gradients``.
        columns: width of the figure in columns of a paper.
    """
    with mpl.rc_context(fname=STYLE):
        figure = PaperFigure(figsize=(COLUMN_WIDTHS[columns], 2.4), layout="constrained")
        ax = figure.subplots()
        for color, (network, own) in zip(COLORS, gradients.groupby("network", sort=False), strict=False):
            ax.plot(own["length"], own["share"], color=color, linewidth=1, marker=".", markersize=3, label=str(network))
        ax.set_xlabel(PATH_LENGTH)
        ax.set_ylabel(GRADIENT_SHARE)
        ax.grid(linewidth=0.3, color="#cccccc")
        figure.legend(frameon=False, fontsize=7, loc="outside lower center", ncols=2)
    return figure


def path_shares_screen(gradients: pd.DataFrame) -> go.Figure:
    """Return the same figure for the screen."""
    figure = _figure(height=340)
    for color, (network, own) in zip(COLORS, gradients.groupby("network", sort=False), strict=False):
        title = network_title(network)
        hover = Phrase("figures.share_hover", "<b>{network}</b><br>%{x}: %{y:.1%}<extra></extra>", network=title)
        figure.add_trace(_curve(title, color, own["length"], own["share"], hover))
    figure.update_xaxes(title=PATH_LENGTH, rangemode="tozero")
    return figure.update_yaxes(title=GRADIENT_SHARE, rangemode="tozero")


def _figure(height: int) -> go.Figure:
    """Return a figure without curves, with their legend above it."""
    return go.Figure(layout=layout(height) | {"showlegend": True, "legend": LEGEND})


def _curve(name: str, color: str, x: pd.Series, y: Any, hover: Phrase) -> go.Scatter:
    look = {"mode": "lines+markers", "line": {"color": color, "width": 2}, "marker": {"size": 5}}
    return go.Scatter(x=x, y=y, name=name, hovertemplate=hover, **look)


def _check(quantity: str) -> None:
    if quantity not in QUANTITIES:
        raise ValueError(f"quantity {quantity!r} is unknown: choose {' or '.join(QUANTITIES)}")
