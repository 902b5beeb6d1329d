"""A run that was interrupted, or is finished, and is started again."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from densenet_core import load_checkpoint
from densenet_core.errors import RunError
from densenet_core.networks.network import Network
from densenet_core.training import loop
from densenet_core.training.config import TrainingConfig
from densenet_core.training.evaluation import Evaluation
from densenet_core.training.loop import train
from densenet_core.training.runs import files, saving
from densenet_core.training.runs.files import Metric
from densenet_core.training.runs.status import read_summary
from tests.densenet_core.training.trainings import assert_same_run, numbers, weights
from tests.processes import command

pytestmark = pytest.mark.slow


def test_runs_depend_on_the_seed_only(config: TrainingConfig, unbroken: Path) -> None:
    again = train(replace(config, name="again"), show_progress=False)
    other = train(replace(config, name="other", seed=1), show_progress=False)
    assert_same_run(unbroken, again)
    assert numbers(unbroken) != numbers(other)


@pytest.mark.parametrize(
    "step", ["train_epoch", "_evaluations", "save", "write_metrics", "save_checkpoint", "write_summary"]
)
def test_interrupted_anywhere_it_ends_with_the_same_numbers(
    step: str, config: TrainingConfig, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = {"write_metrics": files, "save_checkpoint": saving, "write_summary": saving}
    owner = owners.get(step, loop)
    original, calls = getattr(owner, step), 0

    def interrupted(*args: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        result = original(*args, **options)
        if calls == 2:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(owner, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config, show_progress=False)
    monkeypatch.undo()
    assert_same_run(train(config, show_progress=False), unbroken)


def test_two_processes_never_write_one_run(config: TrainingConfig, tmp_path: Path) -> None:
    words = ("--arch", "densenet-7-2", "--epochs", 200, "--drop-rate", 0.1, "--runs", config.runs_dir)
    process = command("train", "--name", "shared", *words, log=tmp_path / "log").process
    try:
        folder = Path(config.runs_dir) / "shared"
        deadline = time.monotonic() + 60
        while not (folder / "last.ckpt").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(RunError, match=f"run 'shared' is being trained by process {process.pid} on "):
            train(replace(config, epochs=200, name="shared"), show_progress=False)
        assert read_summary(folder).state == "running"
    finally:
        process.kill()
        process.join()
    assert read_summary(folder).state == "stopped"


def test_a_finished_run_returns_at_once(config: TrainingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = train(config, show_progress=False)
    files = [path for path in folder.iterdir() if path.name not in ("owner.json", "train.lock")]
    before = [path.stat().st_mtime_ns for path in files]
    with monkeypatch.context() as patched:
        patched.setattr(loop, "launch", None)  # neither Fabric nor the data set is needed
        patched.setattr(loop, "load_splits", None)
        train(config, show_progress=False)
        assert [path.stat().st_mtime_ns for path in files] == before
        with pytest.raises(RunError, match="run 'demo' was started with seed 0, not 1"):
            train(replace(config, seed=1), show_progress=False)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1])
    train(config, show_progress=False)  # the weights are damaged: it trains nothing, and restores them
    assert (folder / "model.safetensors").read_bytes() == whole


def test_a_finished_run_without_its_state_is_left_alone_and_an_unfinished_one_is_not_replaced(
    config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train(config, show_progress=False)
    for name in (files.LAST, files.PREVIOUS):  # deleted to save space
        (folder / name).unlink()
    kept = {name: (folder / name).read_bytes() for name in (files.WEIGHTS, files.METRICS)}
    train(config, show_progress=False)
    assert {name: (folder / name).read_bytes() for name in kept} == kept

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    other = replace(config, name="other")
    with pytest.raises(KeyboardInterrupt):
        train(other, show_progress=False, on_epoch=lambda folder, model, rows: rows[-1].epoch == 3 and stop())
    for name in (files.LAST, files.PREVIOUS):
        (other.folder / name).unlink(missing_ok=True)
    kept = {name: (other.folder / name).read_bytes() for name in (files.WEIGHTS, files.METRICS)}
    with pytest.raises(RunError, match=r"weights of \d epochs .* but no last.ckpt .* --initial-weights"):
        train(other, show_progress=False)
    assert {name: (other.folder / name).read_bytes() for name in kept} == kept


def test_another_configuration_is_refused(config: TrainingConfig) -> None:
    train(replace(config, epochs=1), show_progress=False)
    with pytest.raises(RunError, match="run 'demo' was started with epochs 1, not 2"):
        train(replace(config, epochs=2), show_progress=False)


def test_first_epochs_at_half_size_say_so_and_resume(config: TrainingConfig) -> None:
    config = replace(config, arch="resnet-8", drop_rate=0.0, half_size_epochs=2)
    sizes: list[int] = []

    def stop_after_one(folder: Path, *_: object) -> None:
        sizes.append(1)
        if len(sizes) == 2:
            raise KeyboardInterrupt

    whole = train(replace(config, name="whole"), show_progress=False)
    with pytest.raises(KeyboardInterrupt):
        train(config, show_progress=False, on_epoch=stop_after_one)
    assert load_checkpoint(config.folder).record["image_size"] == 4
    assert_same_run(train(config, show_progress=False), whole)
    record = load_checkpoint(whole).record
    assert (record["image_size"], record["recipe"]["half_size_epochs"]) == (8, 2)
    plain = train(replace(config, name="plain", half_size_epochs=0), show_progress=False)
    assert numbers(plain)[0] != numbers(whole)[0]


def test_a_training_starts_from_given_weights_and_resumes_without_their_file(config: TrainingConfig) -> None:
    first = train(replace(config, name="first", epochs=1), show_progress=False)
    given = first.parent / "given.safetensors"
    given.write_bytes((first / "model.safetensors").read_bytes())
    tiny = replace(config, initial_weights=str(given), epochs=2, learning_rate=1e-12, weight_decay=0.0)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny, show_progress=False, on_epoch=lambda folder, model, metrics: len(metrics) > 2 and stop())
    given.unlink()
    folder = train(tiny, show_progress=False)
    trained = {key: value for key, value in weights(folder).items() if "running" not in key and "num" not in key}
    for key, tensor in trained.items():
        torch.testing.assert_close(tensor, weights(first)[key], rtol=0, atol=1e-6)
    record, before = load_checkpoint(folder).record, load_checkpoint(first).record
    assert record["recipe"]["initial_weights"] == "given.safetensors"
    start = record["started_from"]
    assert (start["file"], start["epochs"], start["test_error"]) == ("given.safetensors", 1, before["test_error"])


def test_a_run_of_an_older_version_goes_on(config: TrainingConfig) -> None:
    folder = train(replace(config, epochs=1), show_progress=False)
    old = json.loads((folder / "config.json").read_text())
    for newer in (
        "recipe",
        "milestones",
        "schedule",
        "label_smoothing",
        "memory_efficient",
        "compile",
        "half_size_epochs",
        "keep",
    ):
        del old[newer]
    (folder / "config.json").write_text(json.dumps(old))
    train(replace(config, epochs=1), show_progress=False)


def test_the_network_of_the_lowest_validation_error_is_kept_and_resuming_changes_nothing(
    config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle are copies made after every epoch; the errors are given, so that the second epoch is the best."""
    config = replace(config, keep="lowest_validation", epochs=4, batch_size=512)
    copies: list[dict[str, torch.Tensor]] = []

    def copy(folder: Path, model: Network, metrics: list[Metric]) -> None:
        copies.append({key: value.clone() for key, value in model.state_dict().items()})

    _give_errors(monkeypatch, validation=[50.0, 30.0, 40.0, 35.0])
    folder = train(config, show_progress=False, on_epoch=copy)
    record = load_checkpoint(folder).record
    assert (record["kept_epoch"], record["epochs"], record["validation_error"], record["test_error"]) == (2, 4, 30, 31)
    assert record["train_images"] < 1400  # validation images are held out
    assert all(torch.equal(weights(folder)[key], value) for key, value in copies[1].items())
    last = torch.load(folder / "last.ckpt", weights_only=True)["model"]
    assert all(torch.equal(last[key], value) for key, value in copies[3].items())

    again = replace(config, name="again")
    _give_errors(monkeypatch, validation=[50.0, 30.0, 40.0, 35.0])
    with pytest.raises(KeyboardInterrupt):
        train(again, show_progress=False, on_epoch=lambda *state: _interrupt(state[2], epoch=4))
    (again.folder / "model.safetensors").unlink()
    _give_errors(monkeypatch, validation=[35.0])
    train(again, show_progress=False)
    assert all(torch.equal(weights(again.folder)[key], value) for key, value in copies[1].items())
    assert load_checkpoint(again.folder).record["test_error"] == 31


def _give_errors(monkeypatch: pytest.MonkeyPatch, validation: list[float]) -> None:
    """Of the epochs that come; the test error is 1 more than the validation error."""
    errors = iter([error for each in validation[:-1] for error in (each, each + 1)] + [0.0, validation[-1], 99.0])
    monkeypatch.setattr(loop, "evaluate", lambda *_, **__: Evaluation(1.0, next(errors), 0.0, 100))


def _interrupt(metrics: list[Metric], epoch: int) -> None:
    if metrics[-1].epoch == epoch:
        raise KeyboardInterrupt
