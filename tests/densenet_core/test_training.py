from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from densenet_core import load_checkpoint, training
from densenet_core.errors import RunError
from densenet_core.runs import find_runs, read_metrics
from densenet_core.training import TrainingConfig, train


@pytest.fixture
def config(tmp_path: Path) -> TrainingConfig:
    return TrainingConfig("densenet-7-2", "digits", "demo", epochs=3, runs_dir=str(tmp_path), drop_rate=0.1)


def numbers(folder: Path) -> list[tuple[int, str, float, float]]:
    """metrics.csv without the seconds, which no two runs share."""
    return [(m.epoch, m.split, m.loss, m.error) for m in read_metrics(folder / "metrics.csv")]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder).state_dict


def assert_same_run(a: Path, b: Path) -> None:
    assert numbers(a) == numbers(b)
    for key, tensor in weights(a).items():
        assert torch.equal(tensor, weights(b)[key]), key


def test_it_learns_and_leaves_a_run_folder(config: TrainingConfig) -> None:
    folder = train(replace(config, arch="densenet-10-6", epochs=6, drop_rate=0.0), show_progress=False)
    assert {path.name for path in folder.iterdir()} == {"config.json", "metrics.csv", "model.safetensors", "last.ckpt"}
    metrics = read_metrics(folder / "metrics.csv")
    assert [(m.epoch, m.split) for m in metrics[:2]] == [(1, "train"), (1, "test")]
    assert metrics[-1].error < 20  # ten classes: chance is 90 %
    record = load_checkpoint(folder).record
    assert record["test_error"] == metrics[-1].error
    assert (record["dataset"], record["seed"], record["epochs"]) == ("Digits (8x8)", 0, 6)
    assert find_runs(folder.parent) == [folder]


def test_the_papers_schedule() -> None:
    config = TrainingConfig("densenet-40-12", "cifar10", "x")
    rates = {epoch: config.learning_rate_at(epoch) for epoch in (1, 150, 151, 225, 226, 300)}
    assert rates == pytest.approx({1: 0.1, 150: 0.1, 151: 0.01, 225: 0.01, 226: 0.001, 300: 0.001})
    assert (config.batch_size, config.momentum, config.weight_decay) == (64, 0.9, 1e-4)


def test_the_recorded_test_error_is_that_of_the_saved_weights(config: TrainingConfig) -> None:
    from densenet_core.data import load_splits
    from densenet_core.evaluation import evaluate

    found = load_checkpoint(train(config, show_progress=False))
    model = found.to_model()
    test = load_splits("digits").test
    wrong = sum(
        int((model(images.contiguous()).argmax(1) != labels).sum()) for images, labels in test.batches(1)
    )  # one by one
    assert found.record["test_error"] == pytest.approx(100 * wrong / 355)
    assert evaluate(model, test).top1_error == pytest.approx(100 * wrong / 355)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(config: TrainingConfig) -> None:
    first = train(config, show_progress=False)
    again = train(replace(config, name="again"), show_progress=False)
    other = train(replace(config, name="other", seed=1), show_progress=False)
    assert_same_run(first, again)
    assert numbers(first) != numbers(other)


@pytest.mark.parametrize("step", ["train_epoch", "_evaluations", "_save", "write_metrics", "save_checkpoint"])
def test_interrupted_anywhere_it_ends_with_the_same_numbers(
    step: str, config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = train(replace(config, name="unbroken"), show_progress=False)
    owner = training.runs if step == "write_metrics" else training
    original, calls = getattr(owner, step), 0

    def interrupted(*args: object) -> object:
        nonlocal calls
        calls += 1
        result = original(*args)
        if calls == 2:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(owner, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config, show_progress=False)
    monkeypatch.undo()
    assert_same_run(train(config, show_progress=False), unbroken)


def test_killed_it_goes_on_to_the_same_numbers(config: TrainingConfig) -> None:
    long = replace(config, epochs=30)
    unbroken = train(replace(long, name="unbroken"), show_progress=False)
    command = [sys.executable, "-m", "app", "train", "--arch", long.arch, "--epochs", "30", "--name", "killed"]
    command += ["--drop-rate", "0.1", "--runs", long.runs_dir]
    same_sums = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=same_sums)
    folder = Path(long.runs_dir) / "killed"
    deadline = time.monotonic() + 120
    while not (folder / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert (folder / "last.ckpt").exists(), errors
    assert numbers(folder)[-1][0] < 30
    assert subprocess.run(command, stdout=subprocess.DEVNULL, env=same_sums).returncode == 0
    assert_same_run(folder, unbroken)


def test_a_finished_run_returns_at_once(config: TrainingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = train(config, show_progress=False)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    train(config, show_progress=False)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_another_configuration_is_refused(config: TrainingConfig) -> None:
    train(replace(config, epochs=1), show_progress=False)
    with pytest.raises(RunError, match="run 'demo' was started with epochs 1, not 2"):
        train(replace(config, epochs=2), show_progress=False)


def test_an_infinite_loss_stops_the_run_and_keeps_the_last_epoch(
    config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = training.F.cross_entropy
    monkeypatch.setattr(training.F, "cross_entropy", lambda *a, **k: original(*a, **k) * float("nan"))
    with pytest.raises(RunError, match=r"loss is nan at epoch 1, step 1: try a learning_rate below 0\.1"):
        train(config, show_progress=False)


def test_a_damaged_run_folder_says_so(config: TrainingConfig) -> None:
    folder = train(replace(config, epochs=1), show_progress=False)
    copy = shutil.copytree(folder, folder.with_name("copy"))
    (copy / "last.ckpt").write_bytes(b"cut")
    (copy / "config.json").write_text(json.dumps(json.loads((copy / "config.json").read_text()) | {"name": "copy"}))
    with pytest.raises(RunError, match=r"last\.ckpt' is damaged"):
        train(replace(config, epochs=1, name="copy"), show_progress=False)
    (folder / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config\.json' is damaged"):
        train(replace(config, epochs=1), show_progress=False)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "../x", "name '../x' is no folder name"),
        ("epochs", 0, "epochs 0 must be a whole number, 1 or more"),
        ("learning_rate", 0.0, "learning_rate 0.0 must be a number above 0"),
        ("precision", "fp8", "precision 'fp8' is neither"),
    ],
)
def test_a_wrong_setting_is_named(field: str, value: object, message: str, config: TrainingConfig) -> None:
    with pytest.raises(RunError, match=message):
        replace(config, **{field: value})


def test_a_file_in_the_way_of_the_run_folder(config: TrainingConfig, tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("in the way")
    with pytest.raises(RunError, match="can't write the run folder"):
        train(config, show_progress=False)
