"""The paper's Figure 4, right: training loss and test error over the epochs, for paper and for the screen."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from analysis.figures.style.paper import COLORS, COLUMN_WIDTHS, STYLE, plain_text
from analysis.figures.style.screen import GRID, LEGEND, layout, log_ticks, plain
from analysis.figures.style.words import EPOCH, TEST_ERROR
from analysis.words import Phrase

TRAINING_LOSS = Phrase("figures.training_loss", "training loss (nats)")


def training_curves_figure(curves: pd.DataFrame, columns: int = 1) -> Figure:
    """Return the paper's Figure 4, right: training loss (dashed, right axis) and test error (left axis) per epoch.

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
            ax.plot(test["epoch"], test["error"], color=color, linewidth=1, label=f"test error: {plain_text(network)}")
            label = f"training loss: {plain_text(network)}"
            right.plot(train["epoch"], train["loss"], "--", color=color, linewidth=0.8, label=label)
        ax.set(xlabel=EPOCH, ylabel=TEST_ERROR)
        right.set(ylabel=TRAINING_LOSS, yscale="log")
        lines = [*ax.get_lines(), *right.get_lines()]
        ax.legend(lines, [str(line.get_label()) for line in lines], frameon=False, fontsize=6)
        ax.grid(linewidth=0.3, color="#cccccc")
    return figure


def training_curves_screen(curves: pd.DataFrame) -> go.Figure:
    """Test error (lines, left axis) and training loss (dashed, right axis) over the epochs: Figure 4, right.

    Args:
        curves: as returned by ``training_curves``.
    """
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    for network, color in zip(dict.fromkeys(curves["network"]), COLORS, strict=False):
        own = curves[curves["network"] == network]
        for split, column, dash, is_right in (("test", "error", None, False), ("train", "loss", "dash", True)):
            rows = own[own["split"] == split]
            name = _line_name(plain(network), is_right)
            line = {"color": color, "width": 1 if is_right else 2, "dash": dash}
            figure.add_trace(go.Scatter(x=rows["epoch"], y=rows[column], name=name, line=line), secondary_y=is_right)
    figure.update_layout(layout(height=380))
    figure.update_layout(showlegend=True, legend=LEGEND, hovermode="x unified")
    figure.update_xaxes(title=EPOCH, gridcolor=GRID, fixedrange=True)
    figure.update_yaxes(title=TEST_ERROR, gridcolor=GRID, fixedrange=True, secondary_y=False)
    losses = curves.loc[(curves["split"] == "train") & (curves["loss"] > 0) & np.isfinite(curves["loss"]), "loss"]
    ticks = log_ticks(losses.min(), losses.max()) if len(losses) else []
    loss_axis = {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks], "showgrid": False}
    return figure.update_yaxes(title=TRAINING_LOSS, fixedrange=True, secondary_y=True, **loss_axis)


def _line_name(network: str, is_loss: bool) -> Phrase:
    if is_loss:
        return Phrase("figures.run_training_loss", "{network}: training loss", network=network)
    return Phrase("figures.run_test_error", "{network}: test error", network=network)
