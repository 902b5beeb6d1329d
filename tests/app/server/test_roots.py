"""No path of a page leaves the served folders, whatever a browser sends."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.proto.Common_pb2 import StringArray
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Multiselect, Selectbox

from app.dashboard.roots import (
    data_path,
    distinct_names,
    is_served,
    list_files,
    list_served_runs,
    resolve_served,
    served_folders,
    training_folders,
)
from app.dashboard.views.training.new_run import FIRST_SETTINGS, MORE_SETTINGS
from app.dashboard.widgets.network_origins import START
from densenet_core import Checkpoint, CheckpointError, save_checkpoint
from densenet_core.training.config import PLACE_FIELDS, training_settings
from densenet_core.training.runs.files import CONFIG
from tests.app.pages.pages import choose, page, shown

OUTSIDE = "outside the folders that this server serves"


@pytest.fixture
def folders(tmp_path: Path, small_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """runs/ with one honest run and links of every kind that lead to outside/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["streamlit"])
    for place in ("runs/demo", "outside/secret"):
        save_checkpoint(small_checkpoint, tmp_path / place / "model.safetensors")
        config = {"arch": "densenet-7-2", "dataset": "digits", "seed": 0, "epochs": 1}
        (tmp_path / place / CONFIG).write_text(json.dumps(config))
    outside, runs = tmp_path / "outside", tmp_path / "runs"
    (runs / "link").symlink_to(outside / "secret")
    (runs / "file.safetensors").symlink_to(outside / "secret" / "model.safetensors")
    (runs / "circle").symlink_to(runs / "circle")
    (runs / "half").mkdir()
    for name in ("model.safetensors", CONFIG):
        (runs / "half" / name).symlink_to(outside / "secret" / name)
    (runs / "inner.safetensors").symlink_to(runs / "demo" / "model.safetensors")
    return [Path("runs")]


ESCAPES = (
    "../outside/secret/model.safetensors",
    "runs/../outside/secret",
    "runs/demo/../../outside/secret",
    "runs/link",
    "runs/link/model.safetensors",
    "runs/file.safetensors",
    "runs/half",
    "runs/half/model.safetensors",
    "runs/circle",
    "{tmp}/outside/secret/model.safetensors",
    "/etc/passwd",
    "/etc/no_such_file",
    "/proc/self/environ",
    "~/.bashrc",
    "~root/.bashrc",
    "~no_such_user/x",
    "runs/demo\0/../../outside/secret",
    "runs/" + "a" * 5000,
    "runs\\..\\outside",
    "C:\\Windows\\win.ini",
    "\\\\server\\share\\net.safetensors",
    "//server/share/net.safetensors",
    "file:///etc/passwd",
    "",
    ".",
)


@pytest.mark.parametrize("text", ESCAPES)
def test_what_leads_out_is_refused_with_one_and_the_same_sentence(
    text: str, folders: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=OUTSIDE):
        resolve_served(text.format(tmp=tmp_path), folders)


def test_what_is_inside_is_found(folders: list[Path], tmp_path: Path) -> None:
    weights = tmp_path / "runs" / "demo" / "model.safetensors"
    for text in ("runs/demo/model.safetensors", "runs/./demo/../demo/model.safetensors", str(weights)):
        assert resolve_served(text, folders) == weights
    assert resolve_served("runs/inner.safetensors", folders) == weights
    with pytest.raises(CheckpointError, match="there is no 'runs/none'"):
        resolve_served("runs/none", folders)


def test_the_disk_is_not_asked_about_what_is_outside(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def heard(real: Callable[..., object]) -> Callable[..., object]:
        return lambda path=".", *rest, **options: (asked.append(str(path)), real(path, *rest, **options))[1]

    for name in ("stat", "lstat", "scandir", "readlink", "listdir"):
        monkeypatch.setattr(os, name, heard(getattr(os, name)))
    with pytest.raises(CheckpointError, match=OUTSIDE):
        resolve_served("/etc/ssh/sshd_config", folders)
    assert not [path for path in asked if path.startswith("/etc")]


def test_lists_leave_out_what_leads_out(folders: list[Path]) -> None:
    (Path("runs") / "new\nline.safetensors").write_bytes(b"x")
    assert [run.name for run in list_served_runs(folders)] == ["demo"]
    assert [run.name for run in training_folders()] == ["demo"]
    assert list_files(folders) == ["runs/demo/model.safetensors", "runs/inner.safetensors"]


def test_lists_of_a_folder_with_very_many_entries_end(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of millions is looked at in part; what lies above comes before what lies below."""
    for number in range(30):
        (below := Path("runs") / f"a{number:02}").mkdir()
        (below / "deep.safetensors").write_bytes(b"x")
        (Path("runs") / f"{number:02}.safetensors").write_bytes(b"x")
    monkeypatch.setattr("app.dashboard.roots.MAX_EXAMINED", 40)
    scanned: list[str] = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (scanned.append(str(path)), real(path))[1])
    found = [Path(name) for name in list_files(folders)]
    assert len([path for path in found if path.parent.name == "runs"]) > 5
    assert len(found) <= 40
    assert len([path for path in scanned if Path(path).name.startswith("a")]) < 30


def test_a_served_folder_may_itself_be_a_link(folders: list[Path], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(tmp_path / "outside")
    linked = [Path("elsewhere")]
    assert [run.name for run in list_served_runs(linked)] == ["secret"]
    assert resolve_served("elsewhere/secret", linked) == tmp_path / "outside" / "secret"
    assert not is_served(tmp_path / "runs" / "demo", linked)


def test_the_folders_are_those_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path("more") in served_folders(["--root", "more"])
    monkeypatch.setattr(sys, "argv", ["streamlit"])
    assert len(served_folders()) == 2


@pytest.mark.parametrize("text", ["data/..", "data/../outside", "/", "~", "../data"])
def test_a_data_folder_outside_is_refused(text: str, folders: list[Path]) -> None:
    with pytest.raises(CheckpointError, match=OUTSIDE):
        data_path(text)


def test_data_folders_inside(folders: list[Path], tmp_path: Path) -> None:
    assert data_path("data") == data_path("./data/") == Path("data")
    assert data_path("runs/demo") == tmp_path / "runs" / "demo"


@pytest.fixture
def app(folders: list[Path]) -> AppTest:
    return AppTest.from_file(str(Path(__file__).parents[3] / "app" / "main.py"), default_timeout=240)


FORGED = ("../outside/secret", "link", "/etc")


def forge(monkeypatch: pytest.MonkeyPatch, key: str, text: str) -> None:
    """Lets the browser send, for one list, a text that is not in it."""
    honest = Selectbox._widget_state.fget  # type: ignore[attr-defined]

    def sent(box: Selectbox[object]) -> WidgetState:
        return WidgetState(id=box.id, string_value=text) if box.key == key else honest(box)

    monkeypatch.setattr(Selectbox, "_widget_state", property(sent))


@pytest.mark.parametrize("text", FORGED)
@pytest.mark.parametrize("key", ["origin", "run", "measure"])
def test_a_forged_choice_is_not_taken(key: str, text: str, app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    before = choose(app, "run").selectbox(key=key).value
    forge(monkeypatch, key, text)
    app.run()
    assert not app.exception
    monkeypatch.undo()
    assert app.selectbox(key=key).value in (before, "zoo")  # the default


@pytest.mark.parametrize("text", FORGED)
@pytest.mark.parametrize(("name", "key"), [("training", "training_run"), ("claims", "zoo_name")])
def test_a_forged_choice_on_other_pages_is_not_taken(
    name: str, key: str, text: str, app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page(app, name)
    before = app.selectbox(key=key).value
    forge(monkeypatch, key, text)
    app.run()
    assert not app.exception
    assert app.selectbox(key=key).value in (before, START)


@pytest.mark.parametrize("text", FORGED)
def test_forged_runs_are_not_compared(text: str, app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page(app, "claims")
    app.query_params["resnets"] = [text]  # by the address
    honest = Multiselect._widget_state.fget  # type: ignore[attr-defined]

    def sent(box: Multiselect[object]) -> WidgetState:  # and by the browser
        forged = StringArray(data=[text])
        return WidgetState(id=box.id, string_array_value=forged) if box.key == "resnets" else honest(box)

    monkeypatch.setattr(Multiselect, "_widget_state", property(sent))
    app.run()
    assert not app.exception
    monkeypatch.undo()
    assert app.multiselect(key="resnets").value == []


def start(app: AppTest) -> None:
    next(button for button in app.button if button.label == "Start").click().run()


@pytest.mark.parametrize("name", ["../x", "a/b", "/tmp/x", "..", ".hidden", "a\0b", "a\nb", "link"])
def test_a_new_run_stays_in_its_folder(name: str, app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr("app.dashboard.views.training.new_run.start_training", started.append)
    monkeypatch.setattr("app.dashboard.views.training.new_run.first_word", lambda folder, process: None)
    app = page(app, "training")
    app.text_input(key="new_name").set_value(name)
    start(app)
    assert not app.exception
    assert not started
    assert app.error[0].value.startswith("Name ")


def test_the_form_of_a_new_run_opens_no_files(app: AppTest) -> None:
    paths = {"initial_weights", *PLACE_FIELDS}
    assert paths & {each.name for each in training_settings()} == paths
    assert not paths & {*FIRST_SETTINGS, *MORE_SETTINGS}


def test_names_are_whole_paths_where_several_share_them() -> None:
    runs = [Path("a/lr0.1"), Path("a/lr0.05"), Path("b/lr0.1"), Path("zoo/net.safetensors")]
    assert list(distinct_names(runs).values()) == ["a/lr0.1", "lr0.05", "b/lr0.1", "net"]


def test_a_new_run_of_an_unknown_network_is_not_started(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr("app.dashboard.views.training.new_run.start_training", started.append)
    monkeypatch.setattr("app.dashboard.views.training.new_run.first_word", lambda folder, process: None)
    app = page(app, "training")
    app.text_input(key="new_name").set_value("fine")
    forge(monkeypatch, "new_arch", "densenet-41-12")
    start(app)
    assert not app.exception
    assert not started
    assert "Depth 41" in app.error[0].value.replace("\\", "")


def test_a_damaged_run_does_not_take_the_training_page_down(app: AppTest) -> None:
    for number, text in enumerate(("{", "[]", '{"arch": 3}', '{"epochs": "many", "arch": "a", "dataset": "b"}')):
        folder = Path("runs") / f"odd{number}"
        folder.mkdir()
        (folder / CONFIG).write_text(text)
    app = page(app, "training")
    assert not app.exception
    assert len(app.warning) == 4
    assert app.selectbox(key="training_run").options == ["demo"]
    assert "epoch 0 of 1" in shown(app) or app.get("progress")
