"""Figures that the dashboard keeps."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest

from analysis.figures.style.words import TARGET_LAYER
from app.dashboard import charts
from app.dashboard.charts import Kept, draw_once
from app.dashboard.loading import NetworkKey

drawn: list[tuple[NetworkKey, str]] = []


@draw_once
def bars(key: NetworkKey, color: str) -> go.Figure:
    drawn.append((key, color))
    return go.Figure(go.Bar(y=[1, 2], marker={"color": color}), {"xaxis": {"title": {"text": TARGET_LAYER}}})


@draw_once
def line(key: NetworkKey, color: str) -> go.Figure:
    return go.Figure(go.Scatter(y=[1, 2], line={"color": color}))


def title(kept: Kept) -> str:
    return str(kept.figure.to_dict()["layout"]["xaxis"]["title"]["text"])


def test_figures_are_kept_by_network_options_and_language(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn.clear()
    first, changed = NetworkKey("file", "a", (1, 1)), NetworkKey("file", "a", (2, 1))
    english = bars(first, "red")
    assert bars(first, "red").figure is english.figure
    assert len(drawn) == 1
    bars(changed, "red")
    bars(first, "blue")
    assert drawn[1:] == [(changed, "red"), (first, "blue")]
    monkeypatch.setattr("app.dashboard.language.language", lambda: "ko")
    monkeypatch.setattr(charts, "language", lambda: "ko")
    assert title(english) == "target layer ℓ"
    assert title(bars(first, "red")) == "도착 층 ℓ"


def test_two_drawings_of_the_same_options_are_two() -> None:
    key = NetworkKey("file", "b", (1, 1))
    assert bars(key, "red").figure.data[0].type == "bar"
    assert line(key, "red").figure.data[0].type == "scatter"


def test_a_kept_figure_is_encoded_once() -> None:
    figure = bars(NetworkKey("file", "c", (1, 1)), "red").figure
    assert figure.to_dict() is figure.to_dict()
