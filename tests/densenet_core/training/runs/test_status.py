from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app.cli.main import run as run_command
from densenet_core import RunError
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from densenet_core.training.runs import index, status
from densenet_core.training.runs.files import DIVERGED, SUMMARY, Metric
from densenet_core.training.runs.status import RunSummary, list_runs, locked, read_summary, write_summary

pytestmark = pytest.mark.slow


def test_runs_in_every_state(tmp_path: Path) -> None:
    config = {"arch": "densenet-7-2", "dataset": "digits", "epochs": 2, "runs_dir": str(tmp_path)}
    train(TrainingConfig(name="finished", **config), show_progress=False)

    def stop(folder: Path, model: object, metrics: list[Metric]) -> None:
        if metrics[-1].epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TrainingConfig(name="stopped", **config), show_progress=False, on_epoch=stop)
    (tmp_path / "young").mkdir()
    (tmp_path / "young" / "config.json").write_text(json.dumps(config | {"seed": 3}))
    (tmp_path / "no run").mkdir()
    runs = {run.name: run for run in list_runs(tmp_path)[0]}
    assert {name: (run.state, run.epoch) for name, run in runs.items()} == {
        "finished": ("finished", 2),
        "stopped": ("stopped", 1),
        "young": ("stopped", 0),
    }
    stopped = runs["stopped"]
    assert stopped.seconds_per_epoch is not None
    assert stopped.seconds_left == pytest.approx(stopped.seconds_per_epoch)
    assert runs["young"].seconds_left is None
    assert list_runs(tmp_path / "nothing") == ([], [])


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run folder"):
        read_summary(tmp_path)


DAMAGED = {
    "deep": "[" * 100_000,
    "no object": "[]",
    "empty": "{}",
    "huge": '{"arch": "a", "dataset": "d", "seed": 0, "epochs": 1%s}' % ("0" * 400),
    "negative": '{"arch": "a", "dataset": "d", "seed": -1, "epochs": 3}',
    "cut": '{"arch": "a"',
    "no text": "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
}


def damaged_runs(folder: Path) -> None:
    for name, content in DAMAGED.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(content)
    for name, make in (
        ("pipe", os.mkfifo),
        ("folder", os.mkdir),
        ("device", lambda path: os.symlink("/dev/zero", path)),
    ):
        (folder / name).mkdir()
        make(folder / name / "config.json")
    (folder / "linked").mkdir()
    os.symlink("/dev/zero", folder / "linked" / "summary.json")
    os.symlink("circle", folder / "circle")  # no run at all


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_damaged_runs_are_named_and_hide_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = {"arch": "densenet-7-2", "dataset": "digits", "seed": 0, "epochs": 2}
    (tmp_path / "[link=x]b").mkdir()
    (tmp_path / "[link=x]b" / "config.json").write_text(json.dumps(good | {"arch": "a\x1b[2J"}))
    damaged_runs(tmp_path)
    runs, unreadable = list_runs(tmp_path)
    assert [run.name for run in runs] == ["[link=x]b"]
    assert {run.name for run in unreadable} == {*DAMAGED, "pipe", "folder", "device", "linked"}
    assert run_command(["runs", "--runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("can't be read: " in line for line in lines) == len(unreadable)
    assert sum("[link=x]b" in line and r"a\x1b[2J" in line for line in lines) == 1
    assert len(lines) == len(unreadable) + 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_place_of_the_lock_is_no_wait(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"arch": "a", "dataset": "d", "seed": 0, "epochs": 3}')
    os.mkfifo(tmp_path / "train.lock")
    assert read_summary(tmp_path).state == "stopped"


def test_a_folder_that_can_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: object) -> list[str]:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(RunError, match=r"can't read the folder .*: Permission denied"):
        list_runs(tmp_path)


@pytest.mark.parametrize("seconds", ["-5", "NaN", "1e999", '"x"', "true"])
def test_impossible_times_are_not_shown(seconds: str, tmp_path: Path) -> None:
    content = '{"name": "x", "arch": "a", "dataset": "d", "seed": 0, "epochs_planned": 3, "seconds_per_epoch": %s}'
    (tmp_path / "summary.json").write_text(content % seconds)
    (tmp_path / "config.json").write_text('{"arch": "a", "dataset": "d", "seed": 0, "epochs": 3}')
    assert read_summary(tmp_path).seconds_left is None


class Listing:
    """A folder of runs, and the names of the runs whose records the last list has read."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.read = folder, list[str]()
        read = status.read_json_object
        monkeypatch.setattr(index, "MIN_FILES", 2)
        monkeypatch.setattr(status, "read_json_object", lambda file: self.read.append(file.parent.name) or read(file))

    def write(self, **epochs: int) -> None:
        """Write records of runs of nine epochs, by the number of finished ones."""
        for name, epoch in epochs.items():
            (self.folder / name).mkdir(exist_ok=True)
            write_summary(self.folder / name, RunSummary(name, "densenet-7-2", "Digits (8x8)", 0, 9, epoch, 5.0, 1.5))

    def states(self) -> list[tuple[str, int, str]]:
        self.read.clear()
        return [(run.name, run.epoch, run.state) for run in list_runs(self.folder)[0]]


@pytest.fixture
def listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Listing:
    return Listing(tmp_path, monkeypatch)


def test_a_list_reads_only_the_records_that_changed(listing: Listing) -> None:
    listing.write(a=9, b=9, c=9)
    whole = [("a", 9, "finished"), ("b", 9, "finished"), ("c", 9, "finished")]
    assert listing.states() == whole and listing.read == ["a", "b", "c"]
    assert listing.states() == whole and listing.read == []
    listing.write(b=4, d=1)
    (listing.folder / "a" / SUMMARY).unlink()
    changed = [("b", 4, "stopped"), ("c", 9, "finished"), ("d", 1, "stopped")]
    assert listing.states() == changed and listing.read == ["b", "d"]


def test_the_state_of_a_run_is_never_taken_from_the_index(listing: Listing) -> None:
    listing.write(b=4, c=9, d=1)
    listing.states()
    (listing.folder / "b" / DIVERGED).touch()
    with locked(listing.folder / "d"):
        assert listing.states() == [("b", 4, "diverged"), ("c", 9, "finished"), ("d", 1, "running")]
        assert listing.read == []


DAMAGES: dict[str, Callable[[str], str]] = {
    "empty": lambda index: "",
    "cut short": lambda index: index[:1],
    "no object": lambda index: "[]",
    "impossible epoch": lambda index: index.replace('"epoch":4', '"epoch":-4'),
    "other version": lambda index: index.replace('{"version":1', '{"version":0'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_written_again(damage: str, listing: Listing) -> None:
    listing.write(b=4, c=9)
    before, file = listing.states(), listing.folder / index.INDEX
    kept = file.read_text()
    file.write_text(DAMAGES[damage](kept))
    assert file.read_text() != kept
    assert listing.states() == before
    assert listing.read and file.read_text() == kept
