"""Whatever page a test of this folder draws, each of its figures, pictures and tables can be taken home."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from densenet_core import Checkpoint, create_model, save_checkpoint
from tests.app.pages.pages import MAIN

NEEDS = {  # what is drawn -> the labels of the buttons of which it needs one
    "plotly_chart": {"PDF", "GIF"},
    "dataframe": {"CSV"},
    "table": {"CSV"},
    "image": {"PNG"},
}


def without_download(app: AppTest) -> list[str]:
    """Return what a page draws without such a button behind it, before the next heading."""
    missing: list[str] = []
    waiting: list[str] = []
    for element in _elements(app.main):
        if _is_heading(element):
            missing, waiting = missing + waiting, []
        elif element.type in NEEDS:
            waiting.append(element.type)
        elif element.type == "download_button":
            waiting = [kind for kind in waiting if element.label not in NEEDS[kind]]
    return missing + waiting


def _elements(block: Any) -> Iterator[Any]:
    for child in block.children.values():
        yield child
        if hasattr(child, "children"):
            yield from _elements(child)


def _is_heading(element: Any) -> bool:
    if element.type in ("title", "header", "subheader", "divider"):
        return True
    return element.type == "markdown" and (element.value or "").startswith("#")


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["streamlit"])
    return AppTest.from_file(MAIN, default_timeout=240)


@pytest.fixture
def small_run(tmp_path: Path) -> Path:
    """The folder of a run of a small network for the digits, the only one where ``app`` is drawn."""
    model = create_model("densenet-bc-16-4", in_channels=1)
    record = {"dataset": "Digits (8x8)", "recipe": {"dataset": "digits"}}
    folder = tmp_path / "runs" / "r"
    save_checkpoint(Checkpoint(model.spec, model.state_dict(), record), folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture(autouse=True)
def everything_can_be_taken_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at every page after it is drawn."""
    run = AppTest.run

    def look(app: AppTest, *args: Any, **kwargs: Any) -> AppTest:
        found = run(app, *args, **kwargs)
        assert not without_download(found), "drawn without a download"
        return found

    monkeypatch.setattr(AppTest, "run", look)
