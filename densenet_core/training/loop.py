"""Train a network by the paper's recipe (section 4.2), resumable after every epoch.

An epoch depends on the one before only through the weights and the optimizer's state: order, augmentation and dropout
are drawn from the seed and the epoch's number. So a run that was killed and resumed ends with the same numbers as one
that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from densenet_core.checkpoints.transfer import load_weights_into
from densenet_core.data.batching import batch_sizes
from densenet_core.data.datasets import DataSplits, load_splits
from densenet_core.data.half_size import half_size
from densenet_core.data.images import Images, sample_evenly
from densenet_core.errors import RunError
from densenet_core.networks.build import build_model
from densenet_core.networks.names import spec_from_name
from densenet_core.networks.network import Network
from densenet_core.networks.relatives.deeply_supervised import compute_loss
from densenet_core.networks.spec import Spec
from densenet_core.training.config import TrainingConfig
from densenet_core.training.distributed import (
    all_reduce,
    average_running_statistics,
    explain_lost_process,
    is_launched_with_others,
    launch,
    on_first,
    shard_of,
    synchronize_batch_norm,
)
from densenet_core.training.evaluation import check_fit, evaluate
from densenet_core.training.malloc import keep_freed_memory
from densenet_core.training.progress import ProgressStyle, display
from densenet_core.training.record import MAX_TRAIN_EVAL, describe_start, kept_epoch, make_record
from densenet_core.training.runs import files
from densenet_core.training.runs.claim import claim_folder, make_folder
from densenet_core.training.runs.files import Metric
from densenet_core.training.runs.finished import is_finished
from densenet_core.training.runs.saving import Finished, check_folder, keep_diverged, save
from densenet_core.training.runs.state import has_state, load_state, restore_weights, resume
from densenet_core.training.runs.status import locked

if TYPE_CHECKING:
    from lightning_fabric import Fabric

OnEpoch = Callable[[Path, Network, list[Metric]], object]
OnStep = Callable[[], object]


class NotFiniteError(RunError):
    """The loss of a training step is NaN or infinite."""

    def __init__(self, value: float, epoch: int, step: int, learning_rate: float, place: str = "") -> None:
        super().__init__(
            f"the loss is {value} at epoch {epoch}, step {step}: use a learning_rate below {learning_rate}{place}"
        )
        self.value, self.epoch, self.step, self.learning_rate, self.place = value, epoch, step, learning_rate, place

    def __reduce__(self) -> tuple[Any, ...]:  # Ray and other processes get it pickled
        return type(self), (self.value, self.epoch, self.step, self.learning_rate, self.place)


def train(
    config: TrainingConfig,
    show_progress: ProgressStyle | bool = True,
    on_epoch: OnEpoch | None = None,
    patience_s: float = 0.0,
) -> Path:
    """Train a network into the run folder ``runs_dir/name`` and return that folder.

    Called again with the same configuration, it resumes after the last finished epoch, and returns at once where all
    epochs are finished. Under torchrun or SLURM the processes share every batch of ``batch_size`` images; only rank 0
    writes.

    Args:
        show_progress: on standard error: a bar on a terminal, a line per epoch elsewhere; or one of
            ``ProgressStyle``.
        on_epoch: called after every epoch with the run folder, the network and all rows of metrics so far.
        patience_s: how long to wait for another process that trains this run.

    Raises:
        RunError: the folder holds a run with other settings, another process trains it, it can't be written, the loss
            is not finite, or another process of this training ended.
        DataError: the data set is missing or does not fit the network.
        CheckpointError: ``initial_weights`` can't be read, or are another network's.
        ValueError: ``arch`` is unknown.
    """
    if not is_launched_with_others() and is_finished(config, patience_s):
        return config.folder
    fabric = launch(config.precision)
    with ExitStack() as held, explain_lost_process(fabric, config.folder):
        splits = load_splits(
            config.dataset,
            config.data,
            augment=config.augment,
            validation=config.has_validation,
            normalize=config.normalize,
            title=config.dataset_title,
        ).to(fabric.device, config.workers)
        spec = spec_from_name(config.arch, len(splits.train.class_names), splits.train.num_channels, config.drop_rate)
        check_fit(spec, (half_size(splits) if config.half_size_epochs else splits).test)
        if config.batch_size < 2 * fabric.world_size:
            raise RunError(f"batch_size {config.batch_size} is too small for {fabric.world_size} processes: two each")
        model, start = _new_network(config, spec)
        folder = on_first(fabric, lambda: make_folder(config))
        on_first(fabric, lambda: held.enter_context(locked(folder, patience_s)))
        on_first(fabric, lambda: claim_folder(config))
        held.enter_context(keep_freed_memory(fabric.device.type))
        _train(fabric, config, splits, model.to(fabric.device), start, show_progress, on_epoch)
    return folder


def _new_network(config: TrainingConfig, spec: Spec) -> tuple[Network, dict[str, Any] | None]:
    """Return the network before its first step, and what is known of its weights where they are not random."""
    torch.manual_seed(config.seed)
    model, start = build_model(spec, config.memory_efficient), None
    if config.initial_weights is not None and not has_state(config.folder):
        start = describe_start(config.initial_weights, load_weights_into(model, config.initial_weights).record)
    if config.sync_batch_norm:
        synchronize_batch_norm(model)
    return model.to(memory_format=_memory_format(config)), start


def _train(
    fabric: Fabric,
    config: TrainingConfig,
    splits: DataSplits,
    model: Network,
    start: dict[str, Any] | None,
    show_progress: ProgressStyle | bool,
    on_epoch: OnEpoch | None,
) -> None:
    """Train the epochs that remain."""
    folder, optimizer = config.folder, make_optimizer(model, config)
    finished = on_first(fabric, lambda: resume(folder))
    if not finished.epoch:
        finished = replace(finished, start=start)
    load_state(folder, finished.state, model, optimizer)
    on_first(fabric, lambda: restore_weights(folder, finished.state, model))
    metrics = finished.metrics
    compiled: Any = torch.compile(model) if config.compile else model
    forward, wrapped = fabric.setup(compiled, optimizer)
    steps = len(batch_sizes(len(splits.train), config.batch_size, shard_of(fabric)))
    style = show_progress if fabric.is_global_zero else False
    with display(style, config, finished.epoch + 1, steps, len(splits.train)) as shown:
        for epoch in range(finished.epoch + 1, config.epochs + 1):
            sized = half_size(splits) if epoch <= config.half_size_epochs else splits
            try:
                metrics.append(train_epoch(fabric, forward, wrapped, sized.train, config, epoch, shown.step))
            except NotFiniteError as error:
                on_first(fabric, partial(keep_diverged, folder, model, optimizer, error.epoch, error.step))
                place = f"; {folder / files.DIVERGED} holds the state at which it happened"
                raise NotFiniteError(error.value, error.epoch, error.step, error.learning_rate, place) from error
            average_running_statistics(fabric, model)
            metrics += _evaluations(fabric, model, sized, epoch, is_last=epoch == config.epochs)
            on_first(fabric, partial(_keep_epoch, config, sized, model, optimizer, metrics, finished, on_epoch))
            shown.epoch(metrics)


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.SGD:
    """Return the paper's optimizer: SGD with Nesterov momentum and weight decay."""
    return torch.optim.SGD(
        model.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )


def train_epoch(
    fabric: Fabric,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Images,
    config: TrainingConfig,
    epoch: int,
    on_step: OnStep = lambda: None,
) -> Metric:
    """Train for one epoch; the error is measured in the training forward passes.

    Args:
        model, optimizer: as ``fabric.setup`` returns them.

    Raises:
        NotFiniteError: the loss is NaN or infinite; the step was not taken.
    """
    shard, seed = shard_of(fabric), config.seed * 1_000_003 + epoch
    sizes = batch_sizes(len(images), config.batch_size, shard)
    batches = images.batches(config.batch_size, torch.Generator().manual_seed(seed), shard)
    torch.manual_seed(seed + shard.rank * 1_000_000_007)  # dropout
    model.train()
    total, waited = torch.zeros(3, dtype=torch.float64), 0.0  # loss x images, gradient norm, wrong
    start = asked = time.perf_counter()
    for step, (size, (batch, labels)) in enumerate(zip(sizes, batches, strict=True)):
        waited += time.perf_counter() - asked
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate_at(epoch, step / len(sizes))
        loss, wrong = _forward(fabric, model, batch, labels, size, config, epoch)
        value = all_reduce(fabric, loss.detach(), "mean").item()
        if not math.isfinite(value):
            raise NotFiniteError(value, epoch, step + 1, config.learning_rate)
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(loss)
        norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        optimizer.step()
        total += torch.tensor([value * size, float(norm), wrong], dtype=torch.float64)
        on_step()
        asked = time.perf_counter()
    seconds = time.perf_counter() - start
    total[2] = all_reduce(fabric, total[2], "sum")
    loss_sum, norm_sum, num_wrong = total.tolist()
    return Metric(
        epoch,
        "train",
        loss_sum / len(images),
        100 * num_wrong / len(images),
        seconds,
        learning_rate=config.learning_rate_at(epoch),
        grad_norm=norm_sum / len(sizes),
        images_per_s=len(images) / seconds,
        wait_share=waited / seconds,
    )


def _forward(
    fabric: Fabric, model: nn.Module, batch: Tensor, labels: Tensor, size: int, config: TrainingConfig, epoch: int
) -> tuple[Tensor, int]:
    """Return the loss and the number of errors; the processes' mean of the losses is that over all ``size`` images."""
    labels = labels.to(fabric.device, non_blocking=True)
    outputs = model(batch.to(fabric.device, memory_format=_memory_format(config), non_blocking=True))
    loss, scores = compute_loss(outputs, labels, (epoch - 1) / config.epochs, config.label_smoothing)
    return loss * (len(labels) * fabric.world_size / size), int((scores.argmax(1) != labels).sum())


def _memory_format(config: TrainingConfig) -> torch.memory_format:
    return torch.channels_last if config.channels_last else torch.contiguous_format


def _evaluations(fabric: Fabric, model: nn.Module, splits: DataSplits, epoch: int, is_last: bool) -> Iterator[Metric]:
    train = sample_evenly(splits.train, MAX_TRAIN_EVAL) if is_last else None
    for split, images in (("train_eval", train), ("validation", splits.validation), ("test", splits.test)):
        if images is not None:
            start = time.perf_counter()
            result = evaluate(model, images, fabric=fabric)
            yield Metric(epoch, split, result.loss, result.top1_error, time.perf_counter() - start)


def _keep_epoch(
    config: TrainingConfig,
    splits: DataSplits,
    model: Network,
    optimizer: torch.optim.Optimizer,
    metrics: list[Metric],
    finished: Finished,
    on_epoch: OnEpoch | None,
) -> None:
    """Call ``on_epoch``, then save the state.

    A run that is killed between the two trains the epoch again and calls ``on_epoch`` again, so that what it writes
    lacks no epoch. If it fails, the state is saved all the same: the epoch is not lost.
    """
    check_folder(config.folder)
    failure: Exception | None = None
    try:
        if on_epoch is not None:
            on_epoch(config.folder, model, metrics)
    except Exception as error:
        failure = error
    record = make_record(config, splits, metrics, finished.sessions, finished.start)
    if config.keep != "last" and kept_epoch(config, metrics) == metrics[-1].epoch:
        finished.kept.update({key: value.detach().cpu().clone() for key, value in model.state_dict().items()})
    save(config, model, optimizer, metrics, record, finished)
    if failure is not None:
        raise failure
