"""Show the progress of a training: a bar on a terminal, else a line per epoch, with speed and time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from densenet_core.training.config import TrainingConfig
from densenet_core.training.durations import duration
from densenet_core.training.runs.files import Metric

ProgressStyle = Literal["auto", "bar", "lines", "none"]


@dataclass
class Display:
    """Base class, which shows nothing."""

    config: TrainingConfig

    def step(self) -> None:
        """Called after every training step."""

    def epoch(self, metrics: Sequence[Metric]) -> None:
        """Called after every epoch with all rows of metrics so far."""


@dataclass
class Lines(Display):
    """A line per epoch on standard error."""

    start: float = field(default_factory=time.monotonic)
    num_epochs: int = 0  # finished in this session

    def epoch(self, metrics: Sequence[Metric]) -> None:
        self.num_epochs += 1
        per_epoch = (time.monotonic() - self.start) / self.num_epochs
        print(epoch_line(self.config, metrics, per_epoch), file=sys.stderr, flush=True)


@dataclass
class Bar(Display):
    """A bar over all steps of the training."""

    progress: Progress
    task: int

    def step(self) -> None:
        self.progress.advance(self.task)  # type: ignore[arg-type]

    def epoch(self, metrics: Sequence[Metric]) -> None:
        words = escape(f"{self.config.name}: test error {metrics[-1].error:.2f} %")
        self.progress.update(self.task, description=words)  # type: ignore[arg-type]


class ImagesPerSecond(ProgressColumn):
    """The speed of recent steps."""

    def __init__(self, images_per_step: float) -> None:
        super().__init__()
        self.images_per_step = images_per_step

    def render(self, task: Task) -> Text:
        """Return the words of the column."""
        return Text("" if task.speed is None else f"{task.speed * self.images_per_step:,.0f} images/s")


def epoch_line(config: TrainingConfig, metrics: Sequence[Metric], seconds_per_epoch: float) -> str:
    """Return the results of an epoch in one line.

    >>> rows = [Metric(2, "train", 0.5, 20.0, 9.0, images_per_s=160.0), Metric(2, "test", 0.6, 22.0, 1.0)]
    >>> epoch_line(TrainingConfig("resnet-8", "digits", "demo", epochs=8), rows, 10.0)
    'demo: epoch 2/8, train loss 0.5000, test error 22.00 %, 160 images/s, 1 min left'
    """
    last = {row.split: row for row in metrics if row.epoch == metrics[-1].epoch}
    train, epoch = last["train"], metrics[-1].epoch
    left = duration(max(config.epochs - epoch, 0) * max(seconds_per_epoch, 0.0))
    speed = f"{train.images_per_s or 0:,.{0 if (train.images_per_s or 0) >= 100 else 1}f} images/s"
    error = f"{metrics[-1].split} error {metrics[-1].error:.2f} %"
    return f"{config.name}: epoch {epoch}/{config.epochs}, train loss {train.loss:.4f}, {error}, {speed}, {left} left"


@contextmanager
def display(
    style: ProgressStyle | bool, config: TrainingConfig, first_epoch: int, steps: int, num_images: int
) -> Iterator[Display]:
    """Show a training's progress on standard error.

    Args:
        style: ``auto`` (also True) is a bar on a terminal and lines elsewhere; False is ``none``.
        steps: per epoch.
        num_images: training images per epoch.
    """
    console = Console(stderr=True)
    if style in (True, "auto"):
        style = "bar" if console.is_terminal else "lines"
    if style != "bar":
        yield Lines(config) if style == "lines" else Display(config)
        return
    count = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"))
    times = (ImagesPerSecond(num_images / steps), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*count, *times, console=console) as progress:
        done = (first_epoch - 1) * steps
        task = progress.add_task(escape(config.name), total=config.epochs * steps, completed=done)
        yield Bar(config, progress, task)
