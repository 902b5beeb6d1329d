"""What happens to a run whose files are damaged, moved or deleted."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from densenet_core import RunError, load_checkpoint
from densenet_core.training import loop
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from densenet_core.training.runs.claim import recover_config
from densenet_core.training.runs.files import CONFIG, LAST, METRICS, PREVIOUS, REUSE, WEIGHTS, read_metrics
from densenet_core.training.runs.status import read_summary
from tests.densenet_core.training.runs.damage import (
    METRICS_DAMAGE,
    assert_same_end,
    cut,
    flip_a_byte,
    go_back,
)
from tests.processes import command

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("damage", [flip_a_byte, cut, Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_damaged_state_costs_an_epoch(
    damage: Callable[[Path], object],
    config: TrainingConfig,
    finished: TrainingConfig,
    caplog: pytest.LogCaptureFixture,
) -> None:
    damage(config.folder / LAST)
    train(config, show_progress=False)
    assert "resuming from previous.ckpt (epoch 2)" in caplog.text
    assert_same_end(config, finished)


def test_a_whole_state_is_never_replaced_by_a_damaged_one(config: TrainingConfig, finished: TrainingConfig) -> None:
    flip_a_byte(config.folder / LAST)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, show_progress=False, on_epoch=stop)
    cut(config.folder / METRICS)
    train(config, show_progress=False)
    assert_same_end(config, finished)


def test_where_no_state_is_whole_the_sentence_names_both(config: TrainingConfig) -> None:
    flip_a_byte(config.folder / LAST)
    cut(config.folder / PREVIOUS)
    with pytest.raises(RunError, match=r"can't be read \(last\.ckpt: the checksum of .* does not match; previous") as e:
        train(config, show_progress=False)
    assert "restore the file from a backup, or start a new run with another name" in str(e.value)
    assert "delete" not in str(e.value)


@pytest.mark.parametrize("damage", METRICS_DAMAGE)
def test_damaged_metrics_are_rebuilt(
    damage: str, config: TrainingConfig, finished: TrainingConfig, caplog: pytest.LogCaptureFixture
) -> None:
    METRICS_DAMAGE[damage](config.folder / METRICS)
    train(config, show_progress=False)
    assert "rebuilt from last.ckpt" in caplog.text
    assert (config.folder / METRICS).read_bytes() == (finished.folder / METRICS).read_bytes()


@pytest.mark.parametrize(
    "content",
    [None, b"{", b"[" * 100_000, b"[]", b"{}", b'{"epochs": 4}', b'{"arch": null}', b"\xff\xfe", b"x" * 2**21],
)
def test_a_damaged_config_is_restored(
    content: bytes | None, config: TrainingConfig, finished: TrainingConfig, caplog: pytest.LogCaptureFixture
) -> None:
    path = config.folder / CONFIG
    path.unlink() if content is None else path.write_bytes(content)
    recover_config(config.folder)
    assert "config.json was damaged, incomplete or missing: restored" in caplog.text
    assert json.loads(path.read_text()) == json.loads((finished.folder / CONFIG).read_text())
    with pytest.raises(RunError, match="was started with epochs 3, not 4"):
        train(replace(config, epochs=4), show_progress=False)


def test_settings_that_config_json_lacks_are_those_of_the_state(config: TrainingConfig) -> None:
    (config.folder / CONFIG).write_text('{"arch": "densenet-7-2", "dataset": "digits"}')
    train(config, show_progress=False)
    assert recover_config(config.folder)["batch_size"] == 512


@pytest.mark.parametrize("move", [shutil.copytree, os.rename])
def test_a_run_that_was_renamed_or_copied_resumes(
    move: Callable[[Path, Path], object], config: TrainingConfig, finished: TrainingConfig
) -> None:
    go_back(config.folder)
    move(config.folder, config.folder.with_name("same"))
    renamed = replace(config, name="same")
    train(renamed, show_progress=False)
    assert_same_end(renamed, finished)
    assert load_checkpoint(renamed.folder).record["name"] == "same"


@pytest.mark.parametrize("name", [CONFIG, METRICS, WEIGHTS, LAST, REUSE])
def test_a_folder_in_the_place_of_a_file_is_named_before_anything_is_trained(
    name: str, config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config.folder / name).unlink(missing_ok=True)
    (config.folder / name).mkdir()
    monkeypatch.setattr(loop, "train_epoch", lambda *_: pytest.fail("trained"))
    with pytest.raises(RunError, match=rf"demo/{name}' is a folder in the place of a file: move it away") as e:
        train(config, show_progress=False)
    assert ".tmp" not in str(e.value)


def test_the_state_is_kept_where_what_is_called_after_the_epoch_fails(
    config: TrainingConfig, finished: TrainingConfig
) -> None:
    go_back(config.folder)

    def fail(*_: object) -> None:
        raise OSError("no table today")

    with pytest.raises(OSError, match="no table today"):
        train(config, show_progress=False, on_epoch=fail)
    train(config, show_progress=False, on_epoch=lambda *_: pytest.fail("the last epoch was trained again"))
    assert_same_end(config, finished)


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_damaged_weights_are_rebuilt(
    damage: Callable[[Path], object], config: TrainingConfig, finished: TrainingConfig
) -> None:
    damage(config.folder / WEIGHTS)
    train(config, show_progress=False)
    assert_same_end(config, finished)
    assert load_checkpoint(config.folder).record == load_checkpoint(finished.folder).record


def test_what_killed_writers_left_is_removed(config: TrainingConfig) -> None:
    (config.folder / ".last.ckpt.123.tmp").write_bytes(b"half")
    (config.folder / "notes.tmp").write_text("somebody's own")
    train(config, show_progress=False)
    assert {path.name for path in config.folder.glob("*.tmp")} | {
        path.name for path in config.folder.glob(".*.tmp")
    } == {"notes.tmp"}


def test_a_folder_deleted_during_the_training_is_named(config: TrainingConfig) -> None:
    go_back(config.folder)
    with pytest.raises(RunError, match=r"demo' was deleted during the training: run the same command again"):
        train(config, show_progress=False, on_epoch=lambda folder, *_: shutil.rmtree(folder))
    assert not config.folder.exists()


def test_another_torch_or_number_of_threads_is_said_once_and_recorded(
    config: TrainingConfig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_back(config.folder)
    state = torch.load(config.folder / LAST, weights_only=True)
    state["sessions"] = [{"first_epoch": 1, "torch": "1.0", "threads": 64}]
    torch.save(state, config.folder / LAST)
    train(config, show_progress=False)
    train(config, show_progress=False)
    threads = torch.get_num_threads()
    said = f"resuming with torch {torch.__version__} instead of 1.0, threads {threads} instead of 64: from epoch 3 on"
    assert caplog.text.count(said) == 1
    now = {"first_epoch": 3, "torch": str(torch.__version__), "threads": threads}
    assert load_checkpoint(config.folder).record["sessions"] == [*state["sessions"], now]
    caplog.clear()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    train(config, show_progress=False)
    assert not caplog.text  # nothing is resumed


def test_a_clock_that_goes_backwards_leaves_times_sane(config: TrainingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    go_back(config.folder)
    start = time.time()
    clock = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: start - 1000 * next(clock))
    train(config, show_progress="lines")
    assert all(row.seconds > 0 for row in read_metrics(config.folder / METRICS))
    left = read_summary(config.folder).seconds_left
    assert left is not None
    assert left >= 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_place_of_a_file_is_no_wait(config: TrainingConfig) -> None:
    for name in (CONFIG, METRICS):
        (config.folder / name).unlink()
        os.mkfifo(config.folder / name)
    train(config, show_progress=False)
    assert json.loads((config.folder / CONFIG).read_text())["name"] == "demo"


def test_progress_lines_say_speed_and_time_left(config: TrainingConfig, capsys: pytest.CaptureFixture[str]) -> None:
    go_back(config.folder)
    train(config, show_progress="lines")
    line: Any = capsys.readouterr().err.strip()
    assert line.startswith("demo: epoch 3/3, train loss ")
    assert " images/s, 0 s left" in line


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to handle")
def test_sigterm_ends_as_an_interrupt_does(tmp_path: Path) -> None:
    words = ("--arch=densenet-7-2", "--epochs=500", "--batch-size=512", "--name=demo", f"--runs={tmp_path}")
    child = command("train", *words, log=tmp_path / "log")
    deadline = time.monotonic() + 120
    while not (tmp_path / "demo" / LAST).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.process.terminate()
    said = child.wait(60)
    assert child.process.exitcode == 143
    assert said.splitlines()[-1].startswith("densenet-lens: Terminated. Run the same command again to resume")
    assert read_summary(tmp_path / "demo").state == "stopped"
    assert not list((tmp_path / "demo").glob(".*.tmp"))
