"""What others wrote into a file shows as text wherever a page shows it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from analysis.figures import figure_bytes
from analysis.figures.style.screen import plain
from analysis.figures.training.curves import training_curves_figure, training_curves_screen
from app.text import format_value, literal, one_line
from densenet_core import Checkpoint, save_checkpoint
from tests.app.pages.pages import MAIN, page, upload

pytestmark = pytest.mark.slow
HOSTILE = {
    "html": "<img src=x onerror=alert(1)>",
    "link": "[a](javascript:alert(1))",
    "formula": "$x^2$ and $$",
    "icon": ":material/home: :streamlit: :smile: :red[x]",
    "template": "%{x} <b>bold</b> <a href='https://evil.example'>y</a> &lt;i&gt;",
    "lines": "one\n\n# two\n    three\n| a | b |\n|---|---|\n",
}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["streamlit"])
    return AppTest.from_file(MAIN, default_timeout=240)


def hostile_record(text: str) -> dict[str, Any]:
    known = {"arch": "densenet-7-2", "epochs_planned": 3, "image_size": 8, "seed": 0, "hardware": text, "name": text}
    return known | {"dataset": text, "epochs": 3, "test_error": 12.5}


def strings(content: object) -> list[str]:
    """All strings in a figure's JSON."""
    if isinstance(content, dict):
        return [text for value in content.values() for text in strings(value)]
    if isinstance(content, list):
        return [text for value in content for text in strings(value)]
    return [content] if isinstance(content, str) else []


@pytest.mark.parametrize("what", HOSTILE)
def test_markdown_gets_it_escaped(what: str, app: AppTest, small_checkpoint: Checkpoint, tmp_path: Path) -> None:
    hostile = replace(small_checkpoint, record=hostile_record(HOSTILE[what]))
    save_checkpoint(hostile, tmp_path / "net.safetensors")
    upload(app, HOSTILE[what], (tmp_path / "net.safetensors").read_bytes())
    assert not app.exception
    assert not app.error
    texts = [str(part.value) for part in (*app.caption, *app.markdown, *app.subheader, *app.info)]
    assert any(literal(HOSTILE[what]) in text for text in texts)
    assert not any(HOSTILE[what] in text for text in texts)


@pytest.mark.parametrize("what", HOSTILE)
def test_the_names_of_tensors_are_escaped(what: str, app: AppTest, tmp_path: Path) -> None:
    import torch

    torch.save({HOSTILE[what]: torch.zeros(3)}, tmp_path / "net.pth")
    upload(app, "net.pth", (tmp_path / "net.pth").read_bytes())
    assert not app.exception
    assert HOSTILE[what] not in app.error[0].value
    assert "no DenseNet or ResNet" in app.error[0].value


@pytest.mark.parametrize("what", HOSTILE)
def test_tables_and_figures_get_it_escaped(what: str, app: AppTest, small_checkpoint: Checkpoint) -> None:
    text = HOSTILE[what].replace("/", "∕").strip()
    for name in (text, "other"):
        record = hostile_record(text if name == text else "x")
        save_checkpoint(replace(small_checkpoint, record=record), Path("runs") / name / "model.safetensors")
        (Path("runs") / name / "metrics.csv").write_text(
            "epoch,split,loss,error,seconds\n1,train,1,50,1\n1,test,1,50,1\n"
        )
    app = page(app, "comparison")
    for side in "ab":
        app.selectbox(key=f"origin{side}").select("Runs")
    app.run()
    app.selectbox(key="runb").select(Path("runs") / "other").run()
    assert not app.exception
    cells = app.table[0].value
    is_listed = text.isprintable()  # a name of several lines is not
    assert (literal(text) in cells.columns) is is_listed
    if is_listed:
        assert literal(text) in app.toggle(key="mix").label
        app.toggle(key="mix").set_value(True).run()
    for chart in app.get("plotly_chart"):
        for string in strings(json.loads(chart.proto.spec)):
            assert "<img" not in string
            assert "<a " not in string
            assert "%{x} <b>bold" not in string


def test_plotly_gets_it_escaped() -> None:
    curves = pd.DataFrame({"network": "<a href='https://evil.example'>x</a>", "epoch": [1], "split": "test"})
    figure = training_curves_screen(curves.assign(loss=1.0, error=50.0, seconds=1.0))
    assert "<a " not in json.dumps(json.loads(figure.to_json())["data"])
    assert plain("<b> & %{x}") == "&lt;b&gt; &amp; &#37;{x}"


def test_matplotlib_takes_no_formula() -> None:
    rows = {"network": "$\\frac{$", "epoch": [1, 1], "split": ["test", "train"], "loss": 1.0, "error": 50.0}
    assert figure_bytes(training_curves_figure(pd.DataFrame(rows)), "pdf").startswith(b"%PDF")


def test_what_can_not_be_seen_is_marked() -> None:
    assert one_line("a\u202eb\0c\ud800d") == "a\ufffdb\ufffdc\ufffdd"
    assert one_line("  a\n\n b\tc ") == "a b c"
    assert len(format_value("x" * 10**6, "{}")) < 250


def test_a_file_above_the_limit_is_refused_with_a_clear_word(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    real = streamlit.get_option
    monkeypatch.setattr(streamlit, "get_option", lambda key: 1 if key == "server.maxUploadSize" else real(key))
    upload(app, "net.pth", bytes(2**20 + 1))
    assert not app.exception
    said = app.error[0].value.replace("\\", "")
    assert "net.pth: the file has 1,048,577 bytes, and uploads are limited to 1 MB: put it into a served folder" in said


def test_an_upload_leaves_nothing_on_disk(
    app: AppTest, small_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(small_checkpoint, tmp_path / "net.safetensors")
    content = (tmp_path / "net.safetensors").read_bytes()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    before = sorted(tmp_path.rglob("*"))
    upload(app, "../../escape.safetensors", content)
    assert not app.exception
    assert not app.error
    assert sorted(tmp_path.rglob("*")) == before


def test_times_of_another_network_of_the_same_name_are_not_taken() -> None:
    from app.dashboard.jobs.session import the_queue
    from app.dashboard.jobs.task import Task
    from densenet_core import DenseNetSpec

    small, large = DenseNetSpec((1, 1), 2, 4), DenseNetSpec((6, 6), 24, 48)
    tasks = [Task("latency", None, (("net",), (spec,), 32, 3, False)) for spec in (small, large)]
    times = [the_queue().submit(task, None, "", "").result["forward_ms"].iloc[0] for task in tasks]
    assert not np.isclose(times[0], times[1], rtol=1e-6)
