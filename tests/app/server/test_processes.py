from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli.main import run
from app.dashboard import processes
from app.dashboard.processes import (
    delete_run,
    first_word,
    last_words,
    rename_run,
    resume_training,
    start_training,
    stop_training,
)
from densenet_core import RunError, load_checkpoint
from densenet_core.training import loop
from densenet_core.training.config import TrainingConfig, training_settings
from densenet_core.training.runs.files import Metric
from densenet_core.training.runs.status import read_summary


def command_of(monkeypatch: pytest.MonkeyPatch, start: Callable[[], object]) -> list[str]:
    """The command-line arguments of the process that would be started."""
    commands: list[list[str]] = []
    monkeypatch.setattr(processes.subprocess, "Popen", lambda command, **_: commands.append(command))
    start()
    return commands[0][3:]


def wait_for(folder: Path, state: str, epoch: int = 0) -> None:
    deadline = time.monotonic() + 480
    while time.monotonic() < deadline:
        if (folder / "config.json").exists():
            summary = read_summary(folder)
            if summary.state == state and summary.epoch >= epoch:
                return
        time.sleep(0.1)
    pytest.fail(f"{folder} did not become {state}: {last_words(folder)}")


@pytest.fixture
def background() -> Iterator[None]:
    """A dashboard in a shell's background: such jobs ignore SIGINT, which children inherit."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_a_training_starts_stops_and_goes_on(background: None, tmp_path: Path) -> None:
    config = TrainingConfig("densenet-7-2", "digits", "demo", epochs=12, batch_size=256, runs_dir=str(tmp_path))
    start_training(config)
    wait_for(config.folder, "running", epoch=1)
    with pytest.raises(RunError, match="is being trained already"):
        start_training(config)
    stop_training(config.folder)
    wait_for(config.folder, "stopped")
    with pytest.raises(RunError, match="no process trains the run 'demo'"):
        stop_training(config.folder)
    deadline = time.monotonic() + 30
    while "Interrupted" not in last_words(config.folder) and time.monotonic() < deadline:
        time.sleep(0.1)  # the lock is given back before the last words are said
    assert "Interrupted" in last_words(config.folder)
    resume_training(config.folder)
    wait_for(config.folder, "finished")
    assert load_checkpoint(config.folder).record["epochs"] == 12
    assert (config.folder / "reuse.parquet").exists()


def test_a_training_that_can_not_begin_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TrainingConfig("densenet-7-2", "cifar10", "none", runs_dir=str(tmp_path), data=str(tmp_path / "nothing"))
    assert run(command_of(monkeypatch, lambda: start_training(config))) == 2
    assert "cifar10 is not under" in capsys.readouterr().err


def test_what_is_no_run_can_not_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run folder"):
        resume_training(tmp_path)
    (tmp_path / "config.json").write_text('{"flavour": 1}')
    with pytest.raises(RunError, match="is damaged: its setting 'arch' is missing or not text"):
        resume_training(tmp_path)
    (tmp_path / "config.json").write_text('{"arch": "densenet-7-2", "dataset": "digits", "flavour": 1}')
    with pytest.raises(RunError, match="can't be resumed: unknown setting 'flavour'"):
        resume_training(tmp_path)


EVERY_SETTING: dict[str, Any] = {  # none as by default, nor as the recipe's
    "recipe": "fast",
    "epochs": 3,
    "seed": 7,
    "augment": True,
    "batch_size": 128,
    "learning_rate": 0.05,
    "schedule": "step",
    "milestones": (0.25, 0.5),
    "initial_weights": "some file",
    "half_size_epochs": 2,
    "label_smoothing": 0.05,
    "momentum": 0.8,
    "weight_decay": 5e-4,
    "drop_rate": 0.1,
    "precision": "bf16",
    "memory_efficient": True,
    "compile": True,
    "channels_last": False,
    "sync_batch_norm": True,
    "validation": True,
    "keep": "lowest_validation",
    "workers": 0,
    "normalize": "cifar10",
    "dataset_title": "--odd [b]title",
    "data": "some folder",
}


def test_every_setting_reaches_the_command_that_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainingConfig("densenet-7-2", "digits", "-x", runs_dir=str(tmp_path), **EVERY_SETTING)
    assert {*EVERY_SETTING, "arch", "dataset", "name", "runs_dir"} == {each.name for each in training_settings()}
    command = command_of(monkeypatch, lambda: start_training(config))
    asked: list[TrainingConfig] = []

    def train_nothing(config: TrainingConfig, *_: object, **__: object) -> Path:
        asked.append(config)
        raise RunError("asked")

    monkeypatch.setattr(loop, "train", train_nothing)
    assert run(command) == 2
    assert asked == [config]


@pytest.mark.slow
def test_a_run_with_every_setting_of_its_own_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {key: EVERY_SETTING[key] for key in ("schedule", "milestones", "label_smoothing", "momentum", "seed")}
    config = TrainingConfig("densenet-7-2", "digits", "demo", epochs=2, runs_dir=str(tmp_path), **own)

    def stop(folder: Path, model: object, metrics: list[Metric]) -> None:
        if metrics[-1].epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(config, show_progress=False, on_epoch=stop)
    assert run(command_of(monkeypatch, lambda: resume_training(config.folder))) == 0
    assert read_summary(config.folder).state == "finished"
    assert load_checkpoint(config.folder).record["recipe"]["momentum"] == 0.8


def child(folder: Path, code: str) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / processes.LOG).open("a") as log:
        return subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log)


@pytest.mark.slow
def test_what_a_training_refuses_is_said(tmp_path: Path) -> None:
    said = "densenet-lens: runs/demo was trained with epochs 3, not 5: give it another name"
    with pytest.raises(RunError, match="the run 'demo' did not start: runs/demo was trained with epochs 3, not 5"):
        first_word(tmp_path / "demo", child(tmp_path / "demo", f"import sys; print({said!r}); sys.exit(2)"))
    with pytest.raises(RunError, match="the run 'silent' did not start: exit code 3"):
        first_word(tmp_path / "silent", child(tmp_path / "silent", "import sys; sys.exit(3)"))
    first_word(tmp_path / "done", child(tmp_path / "done", "print('all is well')"))


def finished_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    config = {"arch": "densenet-7-2", "dataset": "digits", "name": folder.name, "runs_dir": str(folder.parent)}
    (folder / "config.json").write_text(json.dumps(config | {"epochs": 1, "seed": 0}))
    return folder


@pytest.mark.parametrize("process", ["1e999", "9" * 30, str(2**31 - 1), "NaN", "[]", "0"])
def test_a_process_that_can_not_be_is_not_stopped(
    process: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "is_training", lambda folder: True)
    (tmp_path / "owner.json").write_text(f'{{"process": {process}, "host": {json.dumps(platform.node())}}}')
    with pytest.raises(RunError, match=f"the run {tmp_path.name!r} "):
        stop_training(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_place_of_the_log_is_no_wait(tmp_path: Path) -> None:
    config = TrainingConfig("densenet-7-2", "digits", "demo", runs_dir=str(tmp_path))
    config.folder.mkdir()
    os.mkfifo(config.folder / processes.LOG)
    with pytest.raises(RunError, match=r"log\.txt' is not a file: move it away"):
        start_training(config)


def test_a_run_is_renamed_and_deleted(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "one")
    finished_run(tmp_path / "two")
    with pytest.raises(RunError, match="there is a run 'two' already"):
        rename_run(folder, "two")
    with pytest.raises(RunError, match="is not a folder name"):
        rename_run(folder, "../three")
    assert rename_run(folder, "three") == tmp_path / "three"
    assert read_summary(tmp_path / "three").name == "three"
    delete_run(tmp_path / "three")
    assert [path.name for path in tmp_path.iterdir()] == ["two"]


def test_a_run_that_trains_or_is_a_link_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = finished_run(tmp_path / "one")
    (tmp_path / "link").symlink_to(folder)
    for change in (delete_run, lambda path: rename_run(path, "other")):
        with pytest.raises(RunError, match="is a link"):
            change(tmp_path / "link")
    monkeypatch.setattr(processes, "is_training", lambda folder: True)
    for change in (delete_run, lambda path: rename_run(path, "other")):
        with pytest.raises(RunError, match="is being trained: stop it first"):
            change(folder)
    assert folder.is_dir()
