"""A path that was checked may be another file when it is opened: links put in between lead nowhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from analysis import connection_weights
from analysis.results.results import measured_results
from analysis.reuse.emergence import reuse_over_training
from app.dashboard import loading
from app.dashboard.keys import file_key
from app.dashboard.processes import LOG, last_words
from app.dashboard.roots import in_served_folders, resolve_served
from densenet_core import Checkpoint, files, save_checkpoint
from densenet_core.data.datasets import load_test_images
from densenet_core.data.folders import ClassFolders
from densenet_core.training.runs.files import CONFIG, METRICS, REUSE, read_config, read_metrics
from tests.app.pages.pages import choose, page

RUN = Path("runs/demo")
READERS: dict[str, Callable[[], object]] = {
    "a network": lambda: loading.load(file_key(resolve_served(str(RUN), [Path("runs")]))).record["place"],
    "a header": lambda: measured_results([RUN], include_zoo=False).attrs["skipped"],
    "settings": lambda: read_config(RUN)["arch"],
    "metrics": lambda: read_metrics(RUN / METRICS)[0].loss,
    "a log": lambda: last_words(RUN),
    "tables": lambda: reuse_over_training(RUN)["epoch"].unique(),
    "images": lambda: load_test_images("folder", RUN / "images").class_names,
    "class folders": lambda: ClassFolders(str(RUN / "images")).classes,
}
pytestmark = pytest.mark.skipif(not files._HAS_DIR_FD, reason="this system opens files by path alone")


def write_run(folder: Path, checkpoint: Checkpoint, place: str) -> None:
    """Every file that pages open by a served path, each saying where it lies."""
    save_checkpoint(Checkpoint(checkpoint.spec, checkpoint.weights, {"place": place}), folder / "model.safetensors")
    config = {"arch": place, "dataset": "digits", "seed": 0, "epochs": 1}
    (folder / CONFIG).write_text(json.dumps(config))
    (folder / METRICS).write_text(f"epoch,split,loss,error,seconds\n1,test,{len(place)},5,1\n")
    (folder / LOG).write_text(place)
    connection_weights(checkpoint).assign(epoch=len(place)).to_parquet(folder / REUSE)
    (folder / "images" / place).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "images" / place / "a.png")


@pytest.fixture
def runs(tmp_path: Path, small_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> Path:
    """runs/demo, and outside/secret, to which it is not to lead."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["streamlit"])
    write_run(tmp_path / "runs" / "demo", small_checkpoint, "inside")
    write_run(tmp_path / "outside" / "secret", small_checkpoint, "out")
    return tmp_path


def read(reader: Callable[[], object]) -> str:
    """What a reader returns, or its refusal."""
    with in_served_folders():
        try:
            return str(reader())
        except (ValueError, OSError) as error:
            return str(error)


def swap_when_opened(monkeypatch: pytest.MonkeyPatch, swap: Callable[[], None]) -> list[bool]:
    """Swap something after the check of the next path, right before it is opened."""
    real, done = files._open_without_links, list[bool]()

    def open_late(root: Path, parts: tuple[str, ...], flags: int) -> int:
        if not done:
            done.append(True)
            swap()
        return real(root, parts, flags)

    monkeypatch.setattr(files, "_open_without_links", open_late)
    return done


@pytest.mark.parametrize("name", READERS)
def test_a_folder_that_becomes_a_link_leads_nowhere(name: str, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    st.cache_resource.clear()
    inside = read(READERS[name])
    if name not in ("a header", "metrics", "tables"):
        assert "inside" in inside

    def swap() -> None:
        (runs / "runs" / "demo").rename(runs / "runs" / "before")
        (runs / "runs" / "demo").symlink_to(runs / "outside" / "secret")

    st.cache_resource.clear()
    done = swap_when_opened(monkeypatch, swap)
    found = read(READERS[name])
    assert done
    assert found == "" if name == "a log" else "leads out of the folders" in found
    assert "out" not in found.replace("out of the folders", "")


@pytest.mark.parametrize("file", ["model.safetensors", CONFIG, METRICS, REUSE, "images/inside/a.png"])
def test_a_file_that_becomes_a_link_leads_nowhere(file: str, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def swap() -> None:
        (RUN / file).unlink()
        (RUN / file).symlink_to(runs / "outside" / "secret" / file.replace("inside", "out"))

    swap_when_opened(monkeypatch, swap)
    with in_served_folders(), pytest.raises(PermissionError, match="leads out of the folders"):
        files.open_file(RUN / file)


def test_links_that_stay_inside_are_followed(runs: Path) -> None:
    (runs / "runs" / "same").symlink_to(runs / "runs" / "demo")
    (RUN / "images" / "other").symlink_to(runs / "runs" / "demo" / "images" / "inside")
    with in_served_folders():
        files.open_file(Path("runs/same") / CONFIG).close()
        assert load_test_images("folder", Path("runs/same/images")).class_names == ("inside", "other")
        (RUN / "images" / "other").unlink()
        (RUN / "images" / "other").symlink_to(runs / "outside" / "secret" / "images" / "out")
        with pytest.raises(ValueError, match="leads out of the folders"):
            load_test_images("folder", Path("runs/same/images"))
    assert len(load_test_images("folder", Path("runs/same/images"))) == 2  # nobody else is limited


@pytest.fixture(scope="module")
def opened() -> list[str]:
    """The paths that this process opens for reading; a file that is opened by its folder's descriptor has none."""
    paths: list[str] = []

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | os.PathLike) and not int(str(arguments[2])) & os.O_WRONLY:
            paths.append(os.path.realpath(arguments[0]))

    sys.addaudithook(hear)
    return paths


def test_pages_open_no_file_of_a_served_folder_by_its_path(runs: Path, opened: list[str]) -> None:
    app = AppTest.from_file(str(Path(__file__).parents[3] / "app" / "main.py"), default_timeout=240)
    opened.clear()
    assert str(choose(app, "run").selectbox(key="run").value) == str(RUN)
    for name in ("training", "efficiency"):
        assert not page(app, name, origin="run").exception
    within = runs / "runs"
    assert {path for path in opened if Path(path).is_relative_to(within) and Path(path).is_file()} == set()
    assert str(within) in opened  # its files were opened from here
