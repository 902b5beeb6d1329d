"""Feature reuse over a training: the epochs to draw, and the observations as curves for the screen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.style.paper import COLORS
from analysis.figures.style.screen import LEGEND, epoch_axis, layout
from analysis.words import Phrase

MAX_FRAMES = 60  # of an animation; more epochs are thinned out evenly


def choose_epochs(tables: pd.DataFrame, most: int = MAX_FRAMES) -> list[int]:
    """Return the epochs to draw: all, or ``most`` evenly spaced ones including the first and the last."""
    epochs = sorted(int(epoch) for epoch in tables["epoch"].unique())
    if len(epochs) <= most:
        return epochs
    return [epochs[i] for i in np.unique(np.linspace(0, len(epochs) - 1, most).round().astype(int))]


def observations_screen(observations: pd.DataFrame, are_named: bool = True) -> go.Figure:
    """Draw the statistics of the paper's observations over the epochs.

    Args:
        observations: as returned by ``observations_over_training``.
        are_named: the legend has the statements; False: their numbers alone.
    """
    figure = go.Figure()
    claims = observations[["claim", "statement"]].drop_duplicates().itertuples(index=False)
    for number, ((claim, statement), color) in enumerate(zip(claims, COLORS, strict=False), start=1):
        own = observations[observations["claim"] == claim]
        named = Phrase("figures.numbered", "{number}. {statement}", number=number, statement=statement)
        name = named if are_named else str(number)
        figure.add_trace(go.Scatter(x=own["epoch"], y=own["value"], name=name, line={"color": color}))
    figure.update_layout(layout(height=420))
    figure.update_layout(showlegend=True, legend=LEGEND, hovermode="x unified")
    figure.update_xaxes(epoch_axis(observations["epoch"]))
    title = Phrase("figures.observation_value", "the observation's statistic")
    return figure.update_yaxes(title=title, rangemode="tozero")
