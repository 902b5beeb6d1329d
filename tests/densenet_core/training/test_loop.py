from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from densenet_core import load_checkpoint
from densenet_core.errors import CheckpointError, RunError
from densenet_core.networks.network import Network
from densenet_core.training import loop
from densenet_core.training.config import TrainingConfig
from densenet_core.training.evaluation import Evaluation
from densenet_core.training.loop import train
from densenet_core.training.runs import files, saving
from densenet_core.training.runs.files import Metric, find_runs, read_metrics
from densenet_core.training.runs.status import read_summary
from tests.processes import command

pytestmark = pytest.mark.slow


CONFIG = TrainingConfig("densenet-7-2", "digits", "demo", epochs=3, batch_size=256, drop_rate=0.1)


@pytest.fixture
def config(tmp_path: Path) -> TrainingConfig:
    return replace(CONFIG, runs_dir=str(tmp_path))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nobody interrupted."""
    return train(replace(CONFIG, name="unbroken", runs_dir=str(tmp_path_factory.mktemp("runs"))), show_progress=False)


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
    folder = train(replace(config, arch="densenet-10-6", epochs=6, batch_size=64, drop_rate=0.0), show_progress=False)
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "metrics.csv",
        "model.safetensors",
        "last.ckpt",
        "previous.ckpt",
        "summary.json",
        "train.lock",
        "owner.json",
    }
    metrics = read_metrics(folder / "metrics.csv")
    assert [(m.epoch, m.split) for m in metrics[:2]] == [(1, "train"), (1, "test")]
    assert metrics[-1].error < 20  # ten classes: chance is 90 %
    record = load_checkpoint(folder).record
    assert record["test_error"] == metrics[-1].error
    assert (record["dataset"], record["seed"], record["epochs"]) == ("Digits (8x8)", 0, 6)
    assert find_runs(folder.parent) == [folder]


def test_on_the_cpu_freed_memory_is_kept_until_it_ends(config: TrainingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    @contextmanager
    def kept(device_type: str) -> Iterator[None]:
        said.append("kept")
        try:
            yield
        finally:
            said.append("given back")

    monkeypatch.setattr(loop, "keep_freed_memory", kept)
    with pytest.raises(ZeroDivisionError):
        train(config, show_progress=False, on_epoch=lambda folder, model, metrics: said.append(f"epoch {1 // 0}"))
    train(replace(config, name="other", epochs=1), show_progress=False, on_epoch=lambda *_: said.append("epoch"))
    assert said == ["kept", "given back", "kept", "epoch", "given back"]


def test_the_papers_schedule() -> None:
    config = TrainingConfig("densenet-40-12", "cifar10", "x")
    rates = {epoch: config.learning_rate_at(epoch) for epoch in (1, 150, 151, 225, 226, 300)}
    assert rates == pytest.approx({1: 0.1, 150: 0.1, 151: 0.01, 225: 0.01, 226: 0.001, 300: 0.001})
    assert (config.batch_size, config.momentum, config.weight_decay) == (64, 0.9, 1e-4)


def test_the_recorded_test_error_is_that_of_the_saved_weights(config: TrainingConfig) -> None:
    from densenet_core.data.datasets import load_splits
    from densenet_core.training.evaluation import evaluate

    found = load_checkpoint(train(replace(config, augment=True), show_progress=False))
    model, splits = found.to_model(), load_splits("digits")
    test = splits.test
    wrong = sum(
        int((model(images.contiguous()).argmax(1) != labels).sum()) for images, labels in test.batches(1)
    )  # one by one
    assert found.record["test_error"] == pytest.approx(100 * wrong / 355)
    assert evaluate(model, test).top1_error == pytest.approx(100 * wrong / 355)
    # The training loss is a mean over a network that changes, with dropout and augmentation: this one is neither.
    images, labels = next(splits.train.batches(len(splits.train)))
    with torch.inference_mode():
        loss = torch.nn.functional.cross_entropy(model(images.contiguous()), labels).item()
    assert found.record["train_eval_loss"] == pytest.approx(loss, rel=1e-4)
    assert found.record["train_eval_images"] == len(splits.train)
    assert abs(found.record["train_loss"] - loss) > 0.01
    assert [m.split for m in read_metrics(config.folder / "metrics.csv")[-3:]] == ["train", "train_eval", "test"]


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


def test_processes_that_start_one_run_at_the_same_moment_train_it_once(
    config: TrainingConfig, unbroken: Path, tmp_path: Path
) -> None:
    words = ("--arch", "densenet-7-2", "--epochs", 3, "--batch-size", 256, "--drop-rate", 0.1, "--name", "demo")
    children = [command("train", *words, "--runs", config.runs_dir, log=tmp_path / f"log{n}") for n in range(3)]
    said = [child.wait() for child in children]
    codes = [child.process.exitcode for child in children]
    assert 0 in codes and set(codes) <= {0, 2}, said
    for words_of_one in (words_of_one for words_of_one, code in zip(said, codes, strict=True) if code == 2):
        assert re.search("run 'demo' is being trained by (process [0-9]+ on|another process)", words_of_one)
    assert sum(text.count("epoch 3/3") for text in said) == 1
    assert_same_run(config.folder, unbroken)


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


def test_an_infinite_loss_stops_the_run_and_keeps_the_last_epoch(
    config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = F.cross_entropy
    monkeypatch.setattr(F, "cross_entropy", lambda *a, **k: original(*a, **k) * float("nan"))
    with pytest.raises(RunError, match=r"loss is nan at epoch 1, step 1: use a learning_rate below 0\.1; .*diverged"):
        train(config, show_progress=False)
    state = torch.load(config.folder / "diverged.ckpt", weights_only=True)
    assert (state["epoch"], state["step"]) == (1, 1)
    assert read_summary(config.folder).state == "diverged"
    monkeypatch.undo()
    train(config, show_progress=False)  # begins anew
    assert not (config.folder / "diverged.ckpt").exists()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "../x", "name '../x' is not a folder name"),
        ("epochs", 0, "epochs 0 must be an integer, from 1 to 1000000"),
        ("learning_rate", 0.0, "learning_rate 0.0 must be a number above 0"),
        ("precision", "fp8", "precision 'fp8' is not one of fp32, bf16"),
        ("learning_rate", 10**400, "learning_rate with more than 50 digits must be a number above 0"),
        ("drop_rate", float("nan"), "drop_rate nan must be a number, from 0 to 1"),
        ("epochs", True, "epochs True must be an integer, from 1 to 1000000"),
        ("milestones", (0.5, "x"), "milestones .* must be numbers, 0 or more"),
        ("schedule", "cosine", "schedule 'cosine' is not one of step, one_cycle"),
    ],
)
def test_a_wrong_setting_is_named(field: str, value: object, message: str, config: TrainingConfig) -> None:
    with pytest.raises(RunError, match=message):
        replace(config, **{field: value})


def test_a_full_disk_ends_with_a_sentence_and_the_last_epoch_intact(
    config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(replace(config, epochs=3), show_progress=False)
    before = {path.name: path.read_bytes() for path in first.iterdir() if path.suffix in (".ckpt", ".safetensors")}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving.torch, "save", full)
    other = replace(config, name="full")
    with pytest.raises(RunError, match=r"can't write the run folder .*No space left on device"):
        train(other, show_progress=False)
    assert not [path for path in other.folder.iterdir() if path.name.endswith(".tmp")]
    assert {path.name: path.read_bytes() for path in first.iterdir() if path.name in before} == before


def test_what_a_row_of_training_says(unbroken: Path) -> None:
    rows = read_metrics(unbroken / "metrics.csv")
    first, test = rows[0], rows[1]
    assert first.learning_rate == pytest.approx(0.1)
    last = [row for row in rows if row.split == "train"][-1]
    assert last.learning_rate == pytest.approx(0.01)  # the third epoch of three begins at 67 %
    assert first.images_per_s == pytest.approx(1442 / first.seconds)
    assert first.grad_norm is not None and first.grad_norm > 0
    assert first.wait_share is not None and 0 <= first.wait_share < 1
    assert (test.learning_rate, test.grad_norm, test.images_per_s, test.wait_share) == (None,) * 4


def test_the_gradient_norm_is_the_mean_over_the_steps(config: TrainingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    norms = []

    def step(optimizer: torch.optim.SGD) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms.append(sum(float(g.double().square().sum()) for g in gradients) ** 0.5)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    rows = read_metrics(train(replace(config, epochs=1), show_progress=False) / "metrics.csv")
    assert rows[0].grad_norm == pytest.approx(sum(norms) / len(norms), rel=1e-4)


def test_on_epoch_is_called_after_every_epoch(config: TrainingConfig) -> None:
    called: list[tuple[str, int]] = []
    train(
        config,
        show_progress=False,
        on_epoch=lambda folder, model, metrics: called.append((folder.name, metrics[-1].epoch)),
    )
    assert called == [("demo", 1), ("demo", 2), ("demo", 3)]


def test_memory_efficient_training_has_the_same_results(config: TrainingConfig) -> None:
    short = replace(config, epochs=1, batch_size=64)
    plain = train(short, show_progress=False)
    other = train(replace(short, name="efficient", memory_efficient=True), show_progress=False)
    for a, b in zip(read_metrics(plain / "metrics.csv"), read_metrics(other / "metrics.csv"), strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-4)


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


def test_half_size_epochs_leave_epochs_at_full_size(config: TrainingConfig) -> None:
    with pytest.raises(RunError, match="half_size_epochs 3 must be below epochs 3"):
        replace(config, half_size_epochs=3)


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


def test_initial_weights_of_another_network_are_refused_before_anything_is_written(config: TrainingConfig) -> None:
    first = train(replace(config, name="first", epochs=1), show_progress=False)
    for other in ("densenet-10-2", "resnet-8"):
        with pytest.raises(CheckpointError, match="choose the same architecture"):
            train(
                replace(config, name="other", arch=other, drop_rate=0, initial_weights=str(first)), show_progress=False
            )
    with pytest.raises(CheckpointError, match="nowhere"):
        train(replace(config, name="other", initial_weights="nowhere.pth"), show_progress=False)
    assert not (first.parent / "other").exists()


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


def test_a_file_in_the_way_of_the_run_folder(config: TrainingConfig, tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("in the way")
    with pytest.raises(RunError, match="can't write the run folder"):
        train(config, show_progress=False)


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
