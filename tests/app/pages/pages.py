"""What tests of pages share: how a page is drawn, and what it shows."""

from __future__ import annotations

import json
from pathlib import Path

from streamlit.testing.v1 import AppTest

MAIN = str(Path(__file__).parents[3] / "app" / "main.py")
DIGITS = "densenet-40-12-digits"  # whose images are at hand everywhere
FEW = 30  # images


def shown(app: AppTest) -> str:
    """All text of the page."""
    parts = [*app.title, *app.subheader, *app.markdown, *app.caption, *app.info, *app.error]
    return "\n".join([*(str(part.value) for part in parts), *(expander.label for expander in app.expander)])


def heatmap_cells(app: AppTest) -> list[list[object]]:
    """The numbers of all cells, of one chart after the other: each block has its own."""
    figures = [json.loads(chart.proto.spec)["data"] for chart in app.get("plotly_chart")]
    heatmaps = [data for data in figures if any(trace["type"] == "heatmap" for trace in data)]
    return [row for data in heatmaps for trace in data if trace["type"] == "scatter" for row in trace["customdata"]]


def choose(app: AppTest, origin: str) -> AppTest:
    """Draw the page with networks from there, at once: the first page's own choice is not drawn before."""
    return choose_all(app, origin=origin).run()


def upload(app: AppTest, name: str, content: bytes) -> AppTest:
    choose(app, "upload")
    app.file_uploader(key="upload").upload(name, content)
    return app.run()


def page(app: AppTest, name: str, **choices: object) -> AppTest:
    """Run a page other than the first by itself, with these values of its widgets."""
    found = AppTest.from_string(
        f"import streamlit as st\nfrom app.dashboard.views import {name}\n{name}.show()\n", default_timeout=240
    )
    return choose_all(found, zoo_name=DIGITS, images_number=FEW, **choices).run()


def choose_all(app: AppTest, **choices: object) -> AppTest:
    """Set the values of widgets, by their keys, before the page is drawn."""
    for key, value in choices.items():
        app.session_state[key] = value
    return app


def points(app: AppTest) -> int:
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    return sum(len(trace["customdata"]) for trace in figure["data"] if "customdata" in trace)
