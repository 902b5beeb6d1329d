"""Training a network by the paper's recipe (section 4.2), resumable at every epoch.

Nothing of an epoch depends on the one before but the weights and the optimizer's state: order, augmentation and
dropout are drawn from the seed and the epoch's number. So a run that was killed and goes on ends with the same
numbers as one that was not.
"""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from torch.nn import functional as F

from densenet_core import runs
from densenet_core.checkpoint import Checkpoint, save_checkpoint
from densenet_core.data import DataSplits, Images, Normalization, load_splits
from densenet_core.errors import RunError
from densenet_core.evaluation import check_fit, evaluate
from densenet_core.files import write_whole
from densenet_core.hardware import device, hardware
from densenet_core.models import Network, build_model, spec_from_name
from densenet_core.runs import Metric


@dataclass(frozen=True)
class TrainingConfig:
    """One training run. The defaults are the paper's for CIFAR (section 4.2)."""

    arch: str  # a name of ``create_model``
    dataset: str  # a name of ``data.DATASET_NAMES``
    name: str  # the run folder's
    epochs: int = 300
    seed: int = 0
    augment: bool = False  # the paper's "+": mirror and shift
    validation: bool = False  # hold the paper's validation images out of the training set
    batch_size: int = 64
    learning_rate: float = 0.1  # divided by 10 at 50 % and at 75 % of the epochs
    momentum: float = 0.9  # Nesterov's, without dampening
    weight_decay: float = 1e-4  # on every parameter, as in the authors' code
    drop_rate: float = 0.0  # the paper: 0.2 without augmentation
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16: autocast
    normalize: Normalization | None = None  # for the data set "folder"
    dataset_title: str | None = None  # what the record calls the data set, where its own name would mislead
    data: str = "data"  # where the data sets lie
    runs_dir: str = "runs"

    def __post_init__(self) -> None:
        if not self.name or Path(self.name).name != self.name or self.name.startswith("."):
            raise RunError(f"name {self.name!r} is no folder name: give one without '/' that does not begin with '.'")
        for field in ("epochs", "batch_size"):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise RunError(f"{field} {value!r} must be a whole number, 1 or more")
        if not isinstance(self.learning_rate, int | float) or not self.learning_rate > 0:
            raise RunError(f"learning_rate {self.learning_rate!r} must be a number above 0")
        if self.precision not in ("fp32", "bf16"):
            raise RunError(f"precision {self.precision!r} is neither 'fp32' nor 'bf16'")

    @property
    def folder(self) -> Path:
        return Path(self.runs_dir) / self.name

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate of an epoch (1-based): divided by 10 once half of the epochs are done, and at 75 %."""
        done = (epoch - 1) / self.epochs
        return self.learning_rate * (0.01 if done >= 0.75 else 0.1 if done >= 0.5 else 1.0)


def train(config: TrainingConfig, show_progress: bool = True) -> Path:
    """Trains a network into the run folder ``runs_dir/name`` and returns that folder.

    Called again with the same configuration it goes on after the last finished epoch, and returns at once
    where all epochs are done.

    Raises:
        RunError: the folder holds a run of another configuration, is not writable, or the loss is not finite.
        DataError: the data set is not there or does not fit the network.
        ValueError: ``arch`` is not known.
    """
    splits = load_splits(
        config.dataset,
        config.data,
        augment=config.augment,
        validation=config.validation,
        normalize=config.normalize,
        title=config.dataset_title,
    )
    spec = spec_from_name(config.arch, len(splits.train.class_names), splits.train.num_channels, config.drop_rate)
    check_fit(spec, splits.test)
    folder = _claim_folder(config)
    torch.manual_seed(config.seed)
    model = build_model(spec)
    model.to(device()).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )
    metrics = _resume(folder, model, optimizer)
    first_epoch = metrics[-1].epoch + 1 if metrics else 1
    steps = math.ceil(len(splits.train) / config.batch_size)
    with _progress_bar(show_progress) as progress:
        task = progress.add_task(config.name, total=config.epochs * steps, completed=(first_epoch - 1) * steps)
        for epoch in range(first_epoch, config.epochs + 1):
            train_metric = train_epoch(model, optimizer, splits.train, config, epoch, lambda: progress.advance(task))
            metrics += [train_metric, *_evaluations(model, splits, epoch)]
            _save(folder, model, optimizer, metrics, _record(config, splits, metrics))
            progress.update(task, description=f"{config.name}: test error {metrics[-1].error:.2f} %")
    return folder


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Images,
    config: TrainingConfig,
    epoch: int,
    on_step: Any = lambda: None,
) -> Metric:
    """One pass over the training images; the error is that of the training forward passes.

    Raises:
        RunError: the loss is NaN or infinite; the last finished epoch's files are as they were.
    """
    start = time.perf_counter()
    place = next(model.parameters()).device
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate_at(epoch)
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
    torch.manual_seed(config.seed * 1_000_003 + epoch)  # dropout
    model.train()
    total_loss, wrong = 0.0, 0
    for step, (batch, labels) in enumerate(images.batches(config.batch_size, generator), start=1):
        batch = batch.to(place, memory_format=torch.channels_last)
        labels = labels.to(place)
        with torch.autocast(place.type, torch.bfloat16, enabled=config.precision == "bf16"):
            scores = model(batch)
        loss = F.cross_entropy(scores.float(), labels)
        value = loss.item()
        if not math.isfinite(value):
            raise RunError(
                f"the loss is {value} at epoch {epoch}, step {step}: try a learning_rate below {config.learning_rate}; "
                f"{config.folder} holds the state after epoch {epoch - 1}"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total_loss += value * len(labels)
        wrong += int((scores.argmax(1) != labels).sum())
        on_step()
    n = len(images)
    return Metric(epoch, "train", total_loss / n, 100 * wrong / n, time.perf_counter() - start)


def _evaluations(model: nn.Module, splits: DataSplits, epoch: int) -> Iterator[Metric]:
    for split, images in (("validation", splits.validation), ("test", splits.test)):
        if images is not None:
            start = time.perf_counter()
            result = evaluate(model, images)
            yield Metric(epoch, split, result.loss, result.top1_error, time.perf_counter() - start)


def _claim_folder(config: TrainingConfig) -> Path:
    """Makes the run folder, or checks that the run in it is this one."""
    folder, asked = config.folder, asdict(config)
    where = ("data", "runs_dir")  # may differ: the same run on another machine
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / runs.CONFIG).exists():
            runs.write_config(folder, asked)
    except OSError as error:
        raise RunError(f"can't write the run folder {str(folder)!r}: {error.strerror}") from None
    found = runs.read_config(folder)
    differing = sorted(key for key in asked if key not in where and found.get(key) != asked[key])
    if differing:
        key = differing[0]
        raise RunError(
            f"the run {config.name!r} was started with {key} {found.get(key)!r}, not {asked[key]!r}: "
            "ask for the same to resume it, or give another name"
        )
    return folder


def _resume(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Metric]:
    """Puts the last finished epoch's state back; the metrics up to it."""
    if not (folder / runs.LAST).exists():
        return []
    try:
        state = torch.load(folder / runs.LAST, map_location=device(), weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except Exception as error:  # torch's readers raise many kinds on damaged files
        file = str(folder / runs.LAST)
        raise RunError(f"{file!r} is damaged ({error}): delete the run folder to start anew") from None
    # A kill between the two files leaves metrics of an epoch that last.ckpt does not have.
    return [metric for metric in runs.read_metrics(folder / runs.METRICS) if metric.epoch <= state["epoch"]]


def _save(
    folder: Path, model: Network, optimizer: torch.optim.Optimizer, metrics: list[Metric], record: dict[str, Any]
) -> None:
    """Writes the epoch; last.ckpt comes last, for it says what is finished."""
    weights = {key: tensor.detach().cpu() for key, tensor in model.state_dict().items()}
    state = {"epoch": metrics[-1].epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    try:
        runs.write_metrics(folder / runs.METRICS, metrics)
        save_checkpoint(Checkpoint(model.spec, weights, record), folder / runs.WEIGHTS)
        write_whole(folder / runs.LAST, lambda file: torch.save(state, file))
    except (OSError, RuntimeError) as error:  # torch.save tells of a full disk by a RuntimeError
        raise RunError(f"can't write the run folder {str(folder)!r}: {error}") from None


def _record(config: TrainingConfig, splits: DataSplits, metrics: list[Metric]) -> dict[str, Any]:
    """Where a result comes from. Errors are those of the last epoch, never of the best."""
    last = {metric.split: metric for metric in metrics if metric.epoch == metrics[-1].epoch}
    recipe = {key: value for key, value in asdict(config).items() if key not in ("name", "data", "runs_dir")}
    return {
        "name": config.name,
        "arch": config.arch,
        "dataset": splits.title + ("+" if config.augment else ""),
        "train_images": len(splits.train),
        "test_images": len(splits.test),
        "image_size": splits.train.image_size,
        "seed": config.seed,
        "epochs": last["test"].epoch,
        "epochs_planned": config.epochs,
        "train_loss": last["train"].loss,
        "test_loss": last["test"].loss,
        "test_error": last["test"].error,
        "validation_error": last["validation"].error if "validation" in last else None,
        "seconds": round(sum(metric.seconds for metric in metrics), 1),
        "hardware": hardware(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "recipe": json.loads(json.dumps(recipe)),
    }


@contextmanager
def _progress_bar(show: bool) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"))
    with Progress(*columns, TimeRemainingColumn(), disable=not show) as progress:
        yield progress
