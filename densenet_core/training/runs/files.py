"""The run folder: read and write the files of a training.

::

    runs/<name>/config.json         the settings
                metrics.csv         loss, error, speed: a row per split and epoch (``Metric``)
                model.safetensors   the weights of the epoch that is kept (the last, by default), with spec and record
                last.ckpt           what resuming needs: weights, optimizer state, metrics, settings (``state``)
                previous.ckpt       the same, one epoch earlier: used where last.ckpt is damaged
                summary.json        how far the run is, for lists of many runs
                diverged.ckpt       the state at which the loss stopped being finite, if it did
                reuse.parquet       the feature-reuse table after every epoch, if it was asked for
                tensorboard/        the metrics as TensorBoard events, if they were asked for
                train.lock          held by the process that trains; owner.json names that process
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
from densenet_core.files import read_json_object, read_small, write_whole

CONFIG, METRICS, WEIGHTS, LAST, PREVIOUS = "config.json", "metrics.csv", RUN_WEIGHTS, "last.ckpt", "previous.ckpt"
SUMMARY, DIVERGED, REUSE, TENSORBOARD = "summary.json", "diverged.ckpt", "reuse.parquet", "tensorboard"
LOCK, OWNER = "train.lock", "owner.json"
WRITTEN = (CONFIG, METRICS, WEIGHTS, LAST, PREVIOUS, SUMMARY, DIVERGED, REUSE)  # files that a training replaces
MAX_METRICS_BYTES = 64 * 2**20  # a million rows need less


@dataclass(frozen=True)
class Metric:
    """A row of metrics.csv. The last four are of training rows only."""

    epoch: int  # 1-based
    # train: in training mode, over the epoch; train_eval: training images without augmentation, in evaluation mode,
    # after the last epoch; validation; test
    split: str
    loss: float  # mean cross-entropy, nats
    error: float  # percent
    seconds: float
    learning_rate: float | None = None  # at the epoch's start
    grad_norm: float | None = None  # L2 norm of all gradients, mean over the steps
    images_per_s: float | None = None
    wait_share: float | None = None  # share of the time in which the step waited for data, 0..1


def to_json_values(value: Any) -> Any:
    """Return a value as JSON gives it back: lists for tuples, text keys.

    >>> to_json_values({"milestones": (0.5, 0.75)})
    {'milestones': [0.5, 0.75]}
    """
    return json.loads(json.dumps(value))


METRIC_COLUMNS = tuple(field.name for field in fields(Metric))


def write_metrics(path: Path, metrics: Iterable[Metric]) -> None:
    """Write all rows; numbers are written so that they read back equal."""

    def write(file: Path) -> None:
        with file.open("w", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(METRIC_COLUMNS)
            for metric in metrics:
                writer.writerow("" if value is None else value for value in astuple(metric))

    write_whole(path, write)


def read_metrics(path: Path) -> list[Metric]:
    """Return the rows of a metrics.csv, in their order.

    Raises:
        RunError: the file is missing or a row is not whole.
    """
    metrics, num_damaged = read_whole_metrics(path)
    if num_damaged:
        raise RunError(f"{str(path)!r} is damaged: {num_damaged} of its lines are not whole rows")
    return metrics


def read_whole_metrics(path: Path) -> tuple[list[Metric], int]:
    """Return the whole rows of a metrics.csv that may be cut short, and the number of damaged lines.

    Raises:
        RunError: the file can't be read.
    """
    try:
        text = read_small(path, MAX_METRICS_BYTES).decode(errors="replace")
        rows = list(csv.DictReader(text.splitlines()))
    except OSError as error:
        raise RunError(f"can't read {str(path)!r}: {error.strerror}") from error
    except csv.Error as error:
        raise RunError(f"{str(path)!r} is damaged: it is not a table") from error
    except ValueError as error:
        raise RunError(f"{str(path)!r} is damaged: {error}") from error
    is_cut = bool(rows) and not text.endswith("\n")  # the last number may have lost digits
    metrics = []
    for row in rows[:-1] if is_cut else rows:
        try:
            metrics.append(metric_from(row))
        except ValueError:
            continue
    return metrics, len(rows) - len(metrics)


def metric_from(values: Mapping[str, Any]) -> Metric:
    """Return a row from its values by column, as a state or a line of metrics.csv holds them.

    Raises:
        ValueError: a value is missing, unknown, or not a number.
    """
    try:
        numbers = {key: float(value) for key, value in values.items() if key not in ("epoch", "split") and value != ""}
        row = Metric(epoch=int(values["epoch"]), split=values["split"], **numbers)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError("it is not a row of metrics") from error
    if not isinstance(row.split, str) or not row.split.isidentifier() or row.epoch < 1:
        raise ValueError("it is not a row of metrics")
    return row


def read_config(folder: Path) -> dict[str, Any]:
    """Return the settings of the run in ``folder``.

    Raises:
        RunError: there is no config.json, or it is damaged or lacks the network or the data set.
    """
    try:
        config = read_json_object(folder / CONFIG)
    except OSError as error:
        raise RunError(f"{str(folder)!r} is not a run folder: {CONFIG}: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"{str(folder / CONFIG)!r} is damaged: {error}") from error
    for name in ("arch", "dataset"):
        if not isinstance(config.get(name), str):
            raise RunError(f"{str(folder / CONFIG)!r} is damaged: its setting {name!r} is missing or not text")
    return config


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write config.json."""
    write_whole(folder / CONFIG, lambda file: file.write_text(json.dumps(config, indent=2) + "\n"))


def find_runs(runs_dir: str | os.PathLike[str] = "runs") -> list[Path]:
    """Return the run folders under ``runs_dir`` that hold weights, by name; none where the folder is missing."""
    root = Path(runs_dir)
    return sorted(path.parent for path in root.glob(f"*/{WEIGHTS}"))
