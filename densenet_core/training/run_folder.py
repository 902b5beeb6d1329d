"""The run folder: what a training leaves behind, how it is written whole, and how it is read back.

runs/<name>/config.json         what was asked for
            metrics.csv         loss, error, speed: a row a split and epoch (``Metric``)
            model.safetensors   the weights after the last finished epoch, with spec and record
            last.ckpt           what is needed to go on: weights, optimizer state, finished epochs
            summary.json        where the run stands, for lists of many runs
            diverged.ckpt       the state in which the loss stopped being finite, where it did
            reuse.parquet       the feature-reuse table after every epoch, where it was asked for
            tensorboard/        the metrics as TensorBoard's events, where they were asked for
            train.lock          held by the process that trains; owner.json says which that is
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from densenet_core.checkpoints.checkpoint import RUN_WEIGHTS
from densenet_core.errors import RunError
from densenet_core.files import write_whole

CONFIG, METRICS, WEIGHTS, LAST = "config.json", "metrics.csv", RUN_WEIGHTS, "last.ckpt"
SUMMARY, DIVERGED, REUSE, TENSORBOARD = "summary.json", "diverged.ckpt", "reuse.parquet", "tensorboard"
LOCK, OWNER = "train.lock", "owner.json"


@dataclass(frozen=True)
class Metric:
    """A row of metrics.csv. The last four are of training rows alone."""

    epoch: int  # 1-based
    split: str  # train, validation or test
    loss: float  # mean cross-entropy, nats
    error: float  # percent
    seconds: float
    learning_rate: float | None = None  # at the epoch's start
    grad_norm: float | None = None  # L2 norm of all gradients, mean over the steps
    images_per_s: float | None = None
    wait_share: float | None = None  # share of the time in which the step waited for data, 0..1


METRIC_COLUMNS = tuple(field.name for field in fields(Metric))


def write_metrics(path: Path, metrics: Iterable[Metric]) -> None:
    """Writes all rows anew; numbers are written so that they read back equal."""

    def write(file: Path) -> None:
        with file.open("w", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(METRIC_COLUMNS)
            for metric in metrics:
                writer.writerow("" if value is None else value for value in astuple(metric))

    write_whole(path, write)


def read_metrics(path: Path) -> list[Metric]:
    """The rows of a metrics.csv, in their order.

    Raises:
        RunError: the file is not there or a row is not whole.
    """
    metrics, num_damaged = read_whole_metrics(path)
    if num_damaged:
        raise RunError(f"{str(path)!r} is damaged: {num_damaged} of its lines are no whole rows")
    return metrics


def read_whole_metrics(path: Path) -> tuple[list[Metric], int]:
    """The whole rows of a metrics.csv that may have been cut short, and how many lines are none.

    Raises:
        RunError: the file is not there.
    """
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise RunError(f"can't read {str(path)!r}: {error.strerror}") from None
    try:
        rows = list(csv.DictReader(text.splitlines()))
    except csv.Error as error:
        raise RunError(f"{str(path)!r} is damaged: {error}") from None
    is_cut = bool(rows) and not text.endswith("\n")  # the last number may have lost digits
    metrics = []
    for row in rows[:-1] if is_cut else rows:
        try:
            metrics.append(_metric(row))
        except (KeyError, TypeError, ValueError):
            continue
    return metrics, len(rows) - len(metrics)


def _metric(row: Mapping[str, str]) -> Metric:
    optional = {key: float(row[key]) for key in METRIC_COLUMNS[5:] if row.get(key)}
    needed = float(row["loss"]), float(row["error"]), float(row["seconds"])
    return Metric(int(row["epoch"]), row["split"], *needed, **optional)


def read_config(folder: Path) -> dict[str, Any]:
    """What the run in ``folder`` was asked for.

    Raises:
        RunError: there is no config.json, or it is damaged.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        if not isinstance(config, dict):
            raise ValueError(f"it holds a {type(config).__name__}, not a run's settings")
        return config
    except OSError as error:
        raise RunError(f"{str(folder)!r} is no run folder: {CONFIG}: {error.strerror}") from None
    except ValueError as error:
        raise RunError(f"{str(folder / CONFIG)!r} is damaged: {error}") from None


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Writes config.json."""
    write_whole(folder / CONFIG, lambda file: file.write_text(json.dumps(config, indent=2) + "\n"))


def find_runs(runs_dir: str | os.PathLike[str] = "runs") -> list[Path]:
    """The run folders under ``runs_dir`` that hold weights, by name; none where the folder is not there."""
    root = Path(runs_dir)
    return sorted(path.parent for path in root.glob(f"*/{WEIGHTS}"))
