"""Figures that the dashboard keeps."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go
import pytest

from analysis.figures.style.screen import GRID, layout
from analysis.figures.style.words import TARGET_LAYER
from app.dashboard import charts
from app.dashboard.charts import Kept, draw_once
from app.dashboard.loading import NetworkKey

FIGURES = Path(__file__).parents[3] / "analysis" / "figures"
drawn: list[tuple[NetworkKey, str]] = []


@draw_once
def bars(key: NetworkKey, color: str) -> go.Figure:
    drawn.append((key, color))
    return go.Figure(go.Bar(y=[1, 2], marker={"color": color}), {"xaxis": {"title": {"text": TARGET_LAYER}}})


@draw_once
def line(key: NetworkKey, color: str) -> go.Figure:
    return go.Figure(go.Scatter(y=[1, 2], line={"color": color}))


THEMES = pytest.mark.parametrize(("theme", "color"), [("light", GRID), ("dark", charts._DARK[GRID])])


@THEMES
def test_a_figure_that_says_nothing_of_its_lines_has_the_themes(
    monkeypatch: pytest.MonkeyPatch, theme: str, color: str
) -> None:
    monkeypatch.setattr(charts, "is_dark", lambda: theme == "dark")
    shown: list[go.Figure] = []
    monkeypatch.setattr(charts.st, "plotly_chart", lambda figure, **_: shown.append(figure))
    charts.show_chart(go.Figure(go.Scatter(y=[0, 1]), layout(height=300)), "shown", can_zoom=True)
    template = shown[0].to_plotly_json()["layout"]["template"]
    assert template.keys() == {"layout"}  # not Streamlit's, which is larger than the figure
    for axis in (template["layout"]["xaxis"], template["layout"]["yaxis"]):
        assert (axis["gridcolor"], axis["zerolinecolor"], axis["fixedrange"]) == (color, color, True)
    assert (shown[0].layout.xaxis.fixedrange, shown[0].layout.yaxis.fixedrange) == (False, False)  # it zooms


def test_no_figure_gives_its_axes_the_colors_of_the_template() -> None:
    for file in FIGURES.rglob("*.py"):
        if file.name != "screen.py" or file.parent.name != "style":
            assert "gridcolor" not in file.read_text(), file


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
