"""Training on a disk that takes no more: one sentence, and nothing is lost that was finished."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from analysis.reuse.emergence import record_reuse, reuse_over_training
from densenet_core import RunError, files, load_checkpoint
from densenet_core.training import loop
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from densenet_core.training.runs.files import METRICS, Metric, read_metrics
from densenet_core.training.runs.state import resume

pytestmark = pytest.mark.slow
EPOCHS = 2


@pytest.fixture(autouse=True)
def epochs_without_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch adds its number to the weights: what is tested is what comes after it."""

    def train_epoch(fabric: object, model: torch.nn.Module, *rest: object) -> Metric:
        epoch = rest[3]
        assert isinstance(epoch, int)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(epoch)
        return Metric(epoch, "train", 1.0 / epoch, 50.0, 1.0)

    monkeypatch.setattr(loop, "train_epoch", train_epoch)
    monkeypatch.setattr(loop, "_evaluations", lambda *given, **_: iter([Metric(given[3], "test", 1.0, 50.0, 1.0)]))


@pytest.fixture
def config(tmp_path: Path) -> TrainingConfig:
    return TrainingConfig("densenet-7-2", "digits", "full", epochs=EPOCHS, batch_size=512, runs_dir=str(tmp_path))


def content(folder: Path) -> tuple[object, ...]:
    weights = {key: tensor.tolist() for key, tensor in load_checkpoint(folder).state_dict.items()}
    return read_metrics(folder / METRICS), weights, reuse_over_training(folder).to_dict("list")


@pytest.fixture
def whole(config: TrainingConfig) -> Path:
    return train(replace(config, name="whole"), show_progress=False, on_epoch=record_reuse)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the kernel refuse what is written beyond ``size`` bytes of a file."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def full_after(calls: int) -> Iterator[None]:
    """Let the disk be full after so many calls that flush or rename a file."""
    left = iter(range(calls))

    def until_full(real: Callable[..., object], *arguments: object) -> object:
        if os.path.isfile(str(arguments[0])) and next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_flush", partial(until_full, files._flush))
        patch.setattr(files.os, "replace", partial(until_full, os.replace))
        yield


def refused(config: TrainingConfig, reason: str) -> bool:
    """Train; return whether it ended with a sentence about the disk, and left no temporary file."""
    try:
        train(config, show_progress=False, on_epoch=record_reuse)
    except (RunError, OSError) as error:
        said = str(error)
        assert (
            reason in said and config.name in said and "\n" not in said and ".tmp" not in said and "enforce" not in said
        )
        assert not list(config.folder.glob(".*.tmp"))
        return True
    return False


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_run_is_refused_in_the_middle_of_every_file_and_ends_as_one_that_was_not(
    config: TrainingConfig, whole: Path
) -> None:
    sizes = sorted({file.stat().st_size for file in whole.iterdir()} - {0})
    for size in sizes:
        with files_of_at_most(size // 2):
            assert refused(config, "File too large"), size
    assert content(train(config, show_progress=False, on_epoch=record_reuse)) == content(whole)


def test_a_disk_that_is_full_after_any_write_loses_nothing(config: TrainingConfig, whole: Path) -> None:
    calls, epochs = 0, [0]
    while True:
        with full_after(calls):
            if not refused(config, "No space left on device"):
                break
        calls += 1
        epochs.append(resume(config.folder).epoch if config.folder.is_dir() else 0)
    assert calls > 10 and epochs == sorted(epochs) and set(epochs) == set(range(EPOCHS))
    assert content(config.folder) == content(whole)
