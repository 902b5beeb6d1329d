"""Feature reuse over a training, for the screen: an animated heatmap, and curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.figure_5 import feature_reuse_screen
from analysis.figures.style.heatmap import ColorMap, block_matrix
from analysis.figures.style.paper import COLORS
from analysis.figures.style.screen import GRID, LEGEND, layout
from analysis.figures.style.words import EPOCH
from analysis.reuse.scaling import Scaling, scale_measure
from analysis.words import Phrase

MAX_FRAMES = 60  # of an animation; more epochs are thinned out evenly


def choose_epochs(tables: pd.DataFrame, most: int = MAX_FRAMES) -> list[int]:
    """Return the epochs to draw: all, or ``most`` evenly spaced ones including the first and the last."""
    epochs = sorted(int(epoch) for epoch in tables["epoch"].unique())
    if len(epochs) <= most:
        return epochs
    return [epochs[i] for i in np.unique(np.linspace(0, len(epochs) - 1, most).round().astype(int))]


def emergence_screen(
    tables: pd.DataFrame,
    measure: str = "mean_abs_weight",
    scaling: Scaling = "network_max",
    color_map: ColorMap = "viridis",
) -> go.Figure:
    """Return the feature-reuse heatmaps over the epochs, with a slider and a play button.

    Args:
        tables: as returned by ``reuse_over_training``.
        scaling: within each epoch.
    """
    epochs = choose_epochs(tables)
    by_epoch = {epoch: tables[tables["epoch"] == epoch].reset_index(drop=True) for epoch in epochs}
    figure = feature_reuse_screen(by_epoch[epochs[-1]], measure, scaling, color_map)
    places = [i for i, trace in enumerate(figure.data) if trace.type == "heatmap"]
    figure.frames = [
        go.Frame(
            name=str(epoch),
            data=[go.Heatmap(z=matrix) for matrix in _matrices(table, measure, scaling)],
            traces=places,
        )
        for epoch, table in by_epoch.items()
    ]
    figure.update_layout(height=figure.layout.height + 110, margin_b=150, sliders=[_slider(epochs)])
    return figure.update_layout(updatemenus=[_buttons()], clickmode="none")


def _matrices(table: pd.DataFrame, measure: str, scaling: Scaling) -> list[np.ndarray]:
    values = scale_measure(table, measure, scaling)
    return [block_matrix(table, values, int(block)) for block in sorted(table["block"].unique())]


def _slider(epochs: list[int]) -> dict[str, object]:
    jump = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [{"label": str(epoch), "method": "animate", "args": [[str(epoch)], jump]} for epoch in epochs]
    shown = {"prefix": Phrase("figures.epoch_prefix", "epoch "), "font": {"size": 14}}
    return {"active": len(epochs) - 1, "steps": steps, "currentvalue": shown, "x": 0.12, "len": 0.88, "y": -0.12}


def _buttons() -> dict[str, object]:
    play = {"fromcurrent": False, "frame": {"duration": 150, "redraw": True}, "transition": {"duration": 0}}
    pause = {"mode": "immediate", "frame": {"duration": 0, "redraw": False}}
    buttons = [
        {"label": "▶", "method": "animate", "args": [None, play]},
        {"label": "❚❚", "method": "animate", "args": [[None], pause]},
    ]
    return {"type": "buttons", "direction": "left", "buttons": buttons, "x": 0, "y": -0.22, "showactive": False}


def observations_screen(observations: pd.DataFrame) -> go.Figure:
    """Draw the statistics of the paper's observations over the epochs.

    Args:
        observations: as returned by ``observations_over_training``.
    """
    figure = go.Figure()
    claims = observations[["claim", "statement"]].drop_duplicates().itertuples(index=False)
    for number, ((claim, statement), color) in enumerate(zip(claims, COLORS, strict=False), start=1):
        own = observations[observations["claim"] == claim]
        name = Phrase("figures.numbered", "{number}. {statement}", number=number, statement=statement)
        figure.add_trace(go.Scatter(x=own["epoch"], y=own["value"], name=name, line={"color": color}))
    figure.update_layout(layout(height=420))
    figure.update_layout(showlegend=True, legend=LEGEND, hovermode="x unified")
    figure.update_xaxes(title=EPOCH, gridcolor=GRID, fixedrange=True)
    title = Phrase("figures.observation_value", "the observation's number")
    return figure.update_yaxes(title=title, gridcolor=GRID, fixedrange=True, rangemode="tozero")
