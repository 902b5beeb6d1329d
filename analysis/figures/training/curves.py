"""The paper's Figure 4, right: training loss and test error over the epochs, for paper and for the screen."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from analysis.figures.style.paper import COLORS, COLUMN_WIDTHS, STYLE, plain_text
from analysis.figures.style.paper_figure import PaperFigure
from analysis.figures.style.screen import LEGEND, epoch_axis, layout, log_axis, plain
from analysis.figures.style.words import EPOCH, TEST_ERROR
from analysis.words import Phrase

TRAINING_LOSS = Phrase("figures.training_loss", "training loss (nats)")
SMOOTHING = 0.6  # the weight of the epochs before in each value of a smoothed curve


def training_curves_figure(curves: pd.DataFrame, columns: int = 1, log: bool = False, smooth: bool = False) -> Figure:
    """Return the paper's Figure 4, right: training loss (dashed, right axis) and test error (left axis) per epoch.

    Args:
        curves: columns network, epoch, split (train or test), loss (nats), error (percent): ``training_curves``.
        log: a logarithmic axis for the error; the loss always has one.
        smooth: draw running means (``smooth_curves``).

    Raises:
        ValueError: there is no network, or there are more than six.
    """
    networks = list(dict.fromkeys(curves["network"]))
    if not 1 <= len(networks) <= len(COLORS):
        raise ValueError(f"curves of 1 to {len(COLORS)} networks can be drawn, not of {len(networks)}")
    curves = smooth_curves(curves) if smooth else curves
    with mpl.rc_context(fname=STYLE):
        figure = PaperFigure(figsize=(COLUMN_WIDTHS[columns], 2.4), layout="constrained")
        ax = figure.subplots()
        right = ax.twinx()
        for network, color in zip(networks, COLORS, strict=False):
            own = curves[curves["network"] == network]
            test, train = own[own["split"] == "test"], own[own["split"] == "train"]
            ax.plot(test["epoch"], test["error"], color=color, linewidth=1, label=f"test error: {plain_text(network)}")
            label = f"training loss: {plain_text(network)}"
            right.plot(train["epoch"], train["loss"], "--", color=color, linewidth=0.8, label=label)
        ax.set(xlabel=EPOCH, ylabel=TEST_ERROR, yscale="log" if log else "linear")
        right.set(ylabel=TRAINING_LOSS, yscale="log")
        lines = [*ax.get_lines(), *right.get_lines()]
        ax.legend(lines, [str(line.get_label()) for line in lines], frameon=False, fontsize=6)
        ax.grid(linewidth=0.3, color="#cccccc")
    return figure


def smooth_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the curves with running means of loss and error.

    Each is the exponentially weighted mean of the epochs so far, in which each epoch counts ``SMOOTHING`` times as
    much as the next one.

    >>> rows = {"network": "a", "split": "test", "epoch": [1, 2], "loss": [1.0, 0.0], "error": [50.0, 34.0]}
    >>> smooth_curves(pd.DataFrame(rows))["error"].tolist()
    [50.0, 40.0]
    """
    groups = curves.groupby(["network", "split"], sort=False)
    means = {
        name: groups[name].transform(lambda values: values.ewm(alpha=1 - SMOOTHING).mean())
        for name in ("loss", "error")
    }
    return curves.assign(**means)


def training_curves_screen(curves: pd.DataFrame, log: bool = False, smooth: bool = False) -> go.Figure:
    """Test error (lines, left axis) and training loss (dashed, right axis) over the epochs: Figure 4, right.

    Args:
        curves: as returned by ``training_curves``.
        log, smooth: as in ``training_curves_figure``.
    """
    curves = smooth_curves(curves) if smooth else curves
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
    figure.update_xaxes(epoch_axis(curves["epoch"]))
    figure.update_yaxes(title=TEST_ERROR, secondary_y=False)
    if log:
        figure.update_yaxes(secondary_y=False, **log_axis(curves.loc[curves["split"] == "test", "error"]))
    loss_axis = log_axis(curves.loc[curves["split"] == "train", "loss"]) | {"showgrid": False}
    return figure.update_yaxes(title=TRAINING_LOSS, secondary_y=True, **loss_axis)


def _line_name(network: str, is_loss: bool) -> Phrase:
    if is_loss:
        return Phrase("figures.run_training_loss", "{network}: training loss", network=network)
    return Phrase("figures.run_test_error", "{network}: test error", network=network)
