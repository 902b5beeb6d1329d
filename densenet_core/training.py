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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from torch.nn import functional as F

from densenet_core import runs
from densenet_core.data import DataSplits, load_splits
from densenet_core.errors import RunError
from densenet_core.evaluation import check_fit, evaluate
from densenet_core.hardware import device, hardware
from densenet_core.images import Images
from densenet_core.models import Network, build_model, spec_from_name
from densenet_core.recipes import TrainingConfig
from densenet_core.resume import claim_folder, keep_diverged, resume, save
from densenet_core.run_status import locked
from densenet_core.runs import Metric

OnEpoch = Callable[[Path, int, Network], object]


def train(config: TrainingConfig, show_progress: bool = True, on_epoch: OnEpoch | None = None) -> Path:
    """Trains a network into the run folder ``runs_dir/name`` and returns that folder.

    Called again with the same configuration it goes on after the last finished epoch, and returns at once
    where all epochs are done.

    Args:
        on_epoch: called after every epoch with the run folder, the epoch's number and the network.

    Raises:
        RunError: the folder holds a run of another configuration, another process trains it, it is not writable, or
            the loss is not finite.
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
    folder = claim_folder(config)
    with locked(folder):
        torch.manual_seed(config.seed)
        model = build_model(spec, config.memory_efficient)
        model.to(device()).to(memory_format=torch.channels_last)
        _train(config, splits, model, folder, show_progress, on_epoch)
    return folder


def _train(
    config: TrainingConfig,
    splits: DataSplits,
    model: Network,
    folder: Path,
    show_progress: bool,
    on_epoch: OnEpoch | None,
) -> None:
    """All epochs that are still to come."""
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )
    metrics = resume(folder, model, optimizer)
    first_epoch = metrics[-1].epoch + 1 if metrics else 1
    steps = math.ceil(len(splits.train) / config.batch_size)
    forward: Any = torch.compile(model) if config.compile else model
    with _progress_bar(show_progress) as progress:
        task = progress.add_task(config.name, total=config.epochs * steps, completed=(first_epoch - 1) * steps)
        for epoch in range(first_epoch, config.epochs + 1):
            train_metric = train_epoch(forward, optimizer, splits.train, config, epoch, lambda: progress.advance(task))
            metrics += [train_metric, *_evaluations(model, splits, epoch)]
            if on_epoch is not None:
                on_epoch(folder, epoch, model)
            save(folder, model, optimizer, metrics, _record(config, splits, metrics))
            progress.update(task, description=f"{config.name}: test error {metrics[-1].error:.2f} %")


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
        RunError: the loss is NaN or infinite; the last finished epoch's files are as they were, and the state in
            which it happened is in diverged.ckpt.
    """
    place = next(model.parameters()).device
    steps = math.ceil(len(images) / config.batch_size)
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
    torch.manual_seed(config.seed * 1_000_003 + epoch)  # dropout
    model.train()
    total_loss, total_norm, wrong, waited = 0.0, 0.0, 0, 0.0
    start = asked = time.perf_counter()
    for step, (batch, labels) in enumerate(images.batches(config.batch_size, generator)):
        waited += time.perf_counter() - asked
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate_at(epoch, step / steps)
        batch = batch.to(place, memory_format=torch.channels_last)
        labels = labels.to(place)
        with torch.autocast(place.type, torch.bfloat16, enabled=config.precision == "bf16"):
            scores = model(batch)
        loss = F.cross_entropy(scores.float(), labels, label_smoothing=config.label_smoothing)
        value = loss.item()
        if not math.isfinite(value):
            keep_diverged(config.folder, model, optimizer, epoch, step + 1)
            raise RunError(
                f"the loss is {value} at epoch {epoch}, step {step + 1}: try a learning_rate below "
                f"{config.learning_rate}; {config.folder / runs.DIVERGED} holds the state in which it happened"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        total_norm += float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None]))
        optimizer.step()
        total_loss += value * len(labels)
        wrong += int((scores.argmax(1) != labels).sum())
        on_step()
        asked = time.perf_counter()
    seconds, n = time.perf_counter() - start, len(images)
    return Metric(
        epoch,
        "train",
        total_loss / n,
        100 * wrong / n,
        seconds,
        learning_rate=config.learning_rate_at(epoch),
        grad_norm=total_norm / steps,
        images_per_s=n / seconds,
        wait_share=waited / seconds,
    )


def _evaluations(model: nn.Module, splits: DataSplits, epoch: int) -> Iterator[Metric]:
    for split, images in (("validation", splits.validation), ("test", splits.test)):
        if images is not None:
            start = time.perf_counter()
            result = evaluate(model, images)
            yield Metric(epoch, split, result.loss, result.top1_error, time.perf_counter() - start)


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
