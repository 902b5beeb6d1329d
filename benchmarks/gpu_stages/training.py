"""Train a network on CIFAR-10 (JPEG), augmented, for as many epochs as fit before the stage ends.

bf16, channels_last; images and augmentation on the GPU; forward and backward pass as one CUDA graph. The schedule is
the paper's (section 4.2): rate 0.1, divided by 10 after 50 and 75 % of the epochs, whose number is known from the time
of the first ones. The run folder has the weights, metrics.csv and the feature-reuse table of every epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.reuse.emergence import record_reuse
from densenet_core import Checkpoint, save_checkpoint
from densenet_core.data.datasets import DataSplits
from densenet_core.data.images import TensorImages, sample_evenly
from densenet_core.hardware import device
from densenet_core.networks.build import build_model
from densenet_core.networks.names import spec_from_name
from densenet_core.training.config import TrainingConfig, recipe_config
from densenet_core.training.evaluation import evaluate
from densenet_core.training.record import MAX_TRAIN_EVAL, make_record
from densenet_core.training.runs.files import METRICS, WEIGHTS, Metric, write_metrics
from gpu_stages.images import TITLE, read_archive
from gpu_stages.stage import Options, Results, run_stage, wait

ABOUT = "Training on CIFAR-10 (JPEG), augmented: seconds per epoch, errors"
WARM_UP = 3  # steps before a capture
FIRST = 2  # epochs that are timed before the number of epochs is chosen
MAX_EPOCHS = 300  # the paper's
RESERVE_S = 15.0  # for the last evaluation and the files
EVERY = 5  # epochs from one evaluation to the next
CHUNK = 128  # batches that are augmented together

Step = Callable[[Tensor, Tensor], Tensor]  # images, labels -> loss; leaves the gradients


def run(options: Options, results: Results) -> None:
    """Decode the images, train, and keep everything after each evaluation."""
    start = time.perf_counter()
    splits = read_archive(options.archive).to(device())
    results.add(what="images decoded", seconds=time.perf_counter() - start, images=len(splits.train))
    name = f"{options.arch}-cifar10-jpeg-seed{options.seed}"
    config = recipe_config(
        "cifar",
        options.arch,
        "folder",
        name,
        seed=options.seed,
        augment=True,
        epochs=MAX_EPOCHS,
        batch_size=8 if options.tiny else 64,
        precision="bf16",
        normalize="cifar10",
        dataset_title=TITLE,
        runs_dir=str(options.out),
    )
    train(config, splits, options, results)


def train(config: TrainingConfig, splits: DataSplits, options: Options, results: Results) -> None:
    """Train until the chosen number of epochs is done, or the time is."""
    torch.backends.cudnn.benchmark = True
    config.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    model = build_model(spec_from_name(config.arch, len(splits.train.class_names), 3))
    model = model.to(device(), memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        model.parameters(), config.learning_rate, config.momentum, weight_decay=config.weight_decay, nesterov=True
    )
    step, way = make_step(model, config.batch_size, splits.train)
    results.add(what="step", way=way)
    metrics: list[Metric] = []
    start, slowest, epoch = time.time(), 0.0, 0
    while epoch < config.epochs:
        epoch += 1
        metrics.append(train_epoch(optimizer, step, splits.train, config, epoch))
        record_reuse(config.folder, model, metrics)
        slowest = max(slowest, metrics[-1].seconds) if epoch > 1 else 0.0  # the first one warms up
        if epoch == FIRST:
            config = replace(config, epochs=epochs_that_fit(options, time.time() - start, slowest))
            results.add(what="epochs", planned=config.epochs, images_per_s=metrics[-1].images_per_s)
        is_last = epoch >= config.epochs or options.left < RESERVE_S + slowest
        if is_last or epoch % EVERY == 0:
            keep(model, config, splits, metrics, epoch, is_last, results)
        if is_last:
            return


def epochs_that_fit(options: Options, spent: float, seconds: float) -> int:
    """Return how many epochs fit in the time, those that are done among them."""
    if options.tiny:
        return FIRST + 1
    per_epoch = 1.05 * seconds + 0.5  # evaluations and tables
    return max(FIRST + 1, min(MAX_EPOCHS, FIRST + int((options.left - RESERVE_S) / per_epoch)))


def make_step(model: nn.Module, batch_size: int, images: TensorImages) -> tuple[Step, str]:
    """Return one forward and backward pass, and how it runs: as a CUDA graph, or kernel by kernel without a GPU."""

    def eager(batch: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(batch.device.type, torch.bfloat16, cache_enabled=False):
            loss = F.cross_entropy(model(batch).float(), labels)
        model.zero_grad(set_to_none=True)
        loss.backward()
        return loss.detach()

    if not torch.cuda.is_available():
        return eager, "eager"
    try:
        return capture_graph(model, eager, next(images.batches(batch_size))), "CUDA graph"
    except RuntimeError as error:
        return eager, f"eager (no CUDA graph: {error})"


def capture_graph(model: nn.Module, eager: Step, sample: tuple[Tensor, Tensor]) -> Step:
    """Return the step as one CUDA graph; the network is left as it was."""
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    batch, labels = sample[0].to(memory_format=torch.channels_last), sample[1].clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            eager(batch, labels)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    model.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        loss = eager(batch, labels)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():  # running statistics moved in the warm-up
            tensor.copy_(state[key])

    def replay(images: Tensor, classes: Tensor) -> Tensor:
        batch.copy_(images)
        labels.copy_(classes)
        graph.replay()
        return loss

    return replay


def train_epoch(
    optimizer: torch.optim.Optimizer,
    step: Step,
    images: TensorImages,
    config: TrainingConfig,
    epoch: int,
) -> Metric:
    """Pass over the training images once, without those that fill no batch; the error is not known from a graph."""
    start = time.perf_counter()
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate_at(epoch)
    total, steps = torch.zeros((), device=images.pixels.device), 0
    for batch, labels in whole_batches(images, config, epoch):
        total += step(batch, labels)
        optimizer.step()
        steps += 1
    loss = float(total) / steps  # waits for the GPU
    wait()
    seconds = time.perf_counter() - start
    if not math.isfinite(loss):
        raise RuntimeError(f"the loss is {loss} in epoch {epoch}")
    speed = steps * config.batch_size / seconds
    return Metric(epoch, "train", loss, math.nan, seconds, config.learning_rate_at(epoch), images_per_s=speed)


def whole_batches(images: TensorImages, config: TrainingConfig, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield an epoch in random order, augmented many batches at a time."""
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
    for chunk, labels in images.batches(config.batch_size * CHUNK, generator):
        chunk = chunk.to(memory_format=torch.channels_last)
        for batch, own in zip(chunk.split(config.batch_size), labels.split(config.batch_size), strict=True):
            if len(own) == config.batch_size:
                yield batch, own


def keep(
    model: nn.Module,
    config: TrainingConfig,
    splits: DataSplits,
    metrics: list[Metric],
    epoch: int,
    is_last: bool,
    results: Results,
) -> None:
    """Evaluate, and write the run folder."""
    parts = {"train_eval": sample_evenly(splits.train, MAX_TRAIN_EVAL)} if is_last else {}
    for split, images in (parts | {"test": splits.test}).items():
        start = time.perf_counter()
        found = evaluate(model, images, 1000)
        metrics.append(Metric(epoch, split, found.loss, found.top1_error, time.perf_counter() - start))
    write_metrics(config.folder / METRICS, metrics)
    record = make_record(config, splits, metrics) | {"left_out": "the images that fill no batch, in every epoch"}
    state = {key: tensor.detach().cpu() for key, tensor in model.state_dict().items()}
    save_checkpoint(Checkpoint(model.spec, state, record), config.folder / WEIGHTS)
    results.add(what="evaluated", epoch=epoch, test_error=metrics[-1].error, train_loss=record["train_loss"])


if __name__ == "__main__":
    run_stage(ABOUT, run)
