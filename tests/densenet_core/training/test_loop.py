from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from densenet_core import load_checkpoint
from densenet_core.errors import CheckpointError, RunError
from densenet_core.training import loop
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from densenet_core.training.runs import saving
from densenet_core.training.runs.files import find_runs, read_metrics
from densenet_core.training.runs.status import read_summary
from tests.densenet_core.training.trainings import assert_same_run
from tests.processes import command

pytestmark = pytest.mark.slow


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
        ("milestones", (0.5, "x"), "milestones .* must be up to 1000 numbers, 0 or more"),
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


def test_half_size_epochs_leave_epochs_at_full_size(config: TrainingConfig) -> None:
    with pytest.raises(RunError, match="half_size_epochs 3 must be below epochs 3"):
        replace(config, half_size_epochs=3)


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


def test_a_file_in_the_way_of_the_run_folder(config: TrainingConfig, tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("in the way")
    with pytest.raises(RunError, match="can't write the run folder"):
        train(config, show_progress=False)
