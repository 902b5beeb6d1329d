"""Names of runs, classes, images and data sets that others chose show as text on every page: nothing runs or links."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from PIL import Image
from streamlit.testing.v1 import AppTest

from analysis.reuse.emergence import record_reuse
from app.dashboard.pages import PAGES
from densenet_core import Checkpoint, DenseNetSpec, save_checkpoint
from densenet_core.training.runs.files import CONFIG, METRICS, WEIGHTS, Metric, write_metrics
from tests.app.pages.odd.test_addresses import opened
from tests.conftest import trained_like

pytestmark = pytest.mark.slow
ALIVE = (
    "<img src=x onerror=alert(1)> <a href='x'>y [z](javascript:alert(1)) $x$ %{x} :red[w]"  # as text, it is harmless
)
CLASSES = tuple(f"{number} {ALIVE}" for number in range(2))  # / is not in it: they are names of folders
# Fields of Streamlit's messages that its frontend shows as Markdown; in other fields, text is text.
MARKDOWN = {"body", "label", "help", "caption", "captions", "content"}
LIVE_MARKDOWN = re.compile(r"(?<!\\)(<img|<a |\[z\]\(|\$x\$|:red\[)")
LIVE_PLOTLY = re.compile(r"<img|<a |%\{x\} :red")


def make_folder(folder: Path) -> Path:
    """Fill a folder with a run and a data set whose names are all hostile; return the run."""
    spec = DenseNetSpec((2, 2), 2, 4, num_classes=2)
    recipe = {"dataset": "folder", "normalize": "none", "arch": ALIVE}
    about = {"dataset": ALIVE, "class_names": list(CLASSES), "epochs": 2, "test_error": 50.0, "seed": 0, "name": ALIVE}
    run, model = folder / "runs" / ALIVE, trained_like(spec)
    save_checkpoint(Checkpoint(spec, model.state_dict(), about | {"arch": ALIVE, "recipe": recipe}), run / WEIGHTS)
    rows = [Metric(epoch, split, 1.0 / epoch, 50.0, 1.0) for epoch in (1, 2) for split in ("train", "test")]
    write_metrics(run / METRICS, rows)
    (run / CONFIG).write_text(json.dumps(recipe | {"seed": 0, "epochs": 2, "name": ALIVE}))
    for epoch in (1, 2):
        record_reuse(run, model, rows[: 2 * epoch])
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        place = folder / "data" / CLASSES[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number} {ALIVE}.png")
    return run


def texts(message: Message, name: str = "") -> Iterator[tuple[str, str]]:
    """All texts in a message with the names of their fields."""
    for field, value in message.ListFields():
        for part in value if field.is_repeated and not isinstance(value, dict) else [value]:
            if isinstance(part, Message):
                yield from texts(part, field.name)
            elif isinstance(part, str):
                yield field.name, part


def strings(content: object) -> Iterator[str]:
    """All strings in a figure's JSON."""
    if isinstance(content, dict | list):
        for part in content.values() if isinstance(content, dict) else content:
            yield from strings(part)
    elif isinstance(content, str):
        yield content


def elements(block: Any) -> Iterator[Any]:
    for child in block.children.values():
        yield from elements(child) if getattr(child, "children", None) else [child]
        if getattr(child, "children", None) and getattr(child, "proto", None) is not None:
            yield child


def alive(found: AppTest) -> list[str]:
    """What a browser would take for more than text."""
    wrong: list[str] = []
    for element in (each for part in (found.main, found.sidebar) for each in elements(part)):
        if element.type == "plotly_chart":
            wrong += [text for text in strings(json.loads(element.proto.spec)) if LIVE_PLOTLY.search(text)]
        elif isinstance(element.proto, Message):
            wrong += [
                f"{element.type}.{name}: {text}"
                for name, text in texts(element.proto)
                if (name in MARKDOWN or (name == "options" and element.type in ("radio", "button_group")))
                and LIVE_MARKDOWN.search(text)
            ]
    return wrong


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("served"))


@pytest.mark.parametrize("page", [page for page in PAGES if page != "notes"])  # about no network
def test_names_show_as_text(page: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parents[1])
    monkeypatch.setattr("sys.argv", ["streamlit"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = opened(page, network=f"run:runs/{ALIVE}", images_number="10")
    assert not found.exception
    assert alive(found) == []
    if page != "efficiency":
        assert "onerror" in str([getattr(element, "proto", "") for element in elements(found.main)])


def test_what_is_alive_is_found() -> None:
    page = (
        "import streamlit as st, plotly.graph_objects as go\n"
        f"st.write({ALIVE!r}); st.text_input({ALIVE!r}, key='a'); st.selectbox('x', [{ALIVE!r}], help={ALIVE!r})\n"
        f"st.radio('x', [{ALIVE!r}]); st.plotly_chart(go.Figure(layout={{'title': {{'text': {ALIVE!r}}}}}))\n"
        f"with st.expander({ALIVE!r}): st.error({ALIVE!r})\n"
    )
    assert len(alive(AppTest.from_string(page).run(timeout=30))) == 7
