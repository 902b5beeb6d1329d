"""The record of a training: where its result comes from."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from densenet_core.data.datasets import DataSplits
from densenet_core.hardware import hardware
from densenet_core.training.config import PLACE_FIELDS, TrainingConfig
from densenet_core.training.runs.files import Metric, to_json_values

OF_THE_START = (
    "name",
    "arch",
    "dataset",
    "seed",
    "epochs",
    "epochs_planned",
    "image_size",
    "test_error",
    "seconds",
    "recipe",
)
RESULTS = (
    "train_loss",
    "train_eval_loss",
    "train_eval_error",
    "train_eval_images",
    "test_loss",
    "test_error",
    "validation_error",
    "kept_epoch",
)
MAX_RECORDED_CLASSES = 10_000
MAX_TRAIN_EVAL = 10_000  # training images that the finished network is evaluated on, evenly spaced over the set


def kept_epoch(config: TrainingConfig, metrics: Sequence[Metric]) -> int:
    """Return the epoch whose weights and error a run keeps: the first of equal ones, and none at half size."""
    if config.keep == "last":
        return metrics[-1].epoch
    rows = [row for row in metrics if row.split == "validation"]
    whole = [row for row in rows if row.epoch > config.half_size_epochs]
    return min(whole or rows, key=lambda row: row.error).epoch


def describe_start(path: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of the weights that a run starts from: those of a file or run folder with this record."""
    return {"file": Path(path).name} | {key: record[key] for key in OF_THE_START if key in record}


def without_results(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without losses and errors, for a network that has other weights than the one it describes.

    >>> without_results({"arch": "densenet-40-12", "test_error": 5.2})
    {'arch': 'densenet-40-12'}
    """
    return {key: value for key, value in record.items() if key not in RESULTS}


def make_record(
    config: TrainingConfig,
    splits: DataSplits,
    metrics: Sequence[Metric],
    sessions: Sequence[object] = (),
    start: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return where a result comes from. Losses and errors are those of the epoch that is kept.

    That is the last one, or with ``keep="lowest_validation"`` the one of the lowest validation error; the test images
    never choose it.

    Args:
        sessions: versions and threads of each session of the run; recorded where there are several.
        start: as from ``describe_start``.
    """
    kept = kept_epoch(config, metrics)
    of = {metric.split: metric for metric in metrics if metric.epoch == kept}
    recipe = {key: value for key, value in asdict(config).items() if key not in ("name", *PLACE_FIELDS)}
    if config.initial_weights is not None:
        recipe["initial_weights"] = Path(config.initial_weights).name  # records travel: no folder of this machine
    return {
        "name": config.name,
        "arch": config.arch,
        "dataset": splits.title + ("+" if config.augment else ""),
        "train_images": len(splits.train),
        "test_images": len(splits.test),
        "image_size": splits.train.image_size,
        **({"class_names": list(names)} if len(names := splits.train.class_names) <= MAX_RECORDED_CLASSES else {}),
        "seed": config.seed,
        "epochs": metrics[-1].epoch,
        **({"kept_epoch": kept} if config.keep != "last" else {}),
        "epochs_planned": config.epochs,
        "train_loss": of["train"].loss,
        **_after_training(of.get("train_eval"), len(splits.train)),
        "test_loss": of["test"].loss,
        "test_error": of["test"].error,
        "validation_error": of["validation"].error if "validation" in of else None,
        "seconds": round(sum(metric.seconds for metric in metrics), 1),
        "hardware": hardware(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        **({"sessions": list(sessions)} if len(sessions) > 1 else {}),
        **({"started_from": dict(start)} if start else {}),
        "recipe": to_json_values(recipe),
    }


def _after_training(evaluated: Metric | None, num_images: int) -> dict[str, Any]:
    """Return what the finished network does on training images: ``train_loss`` is a mean over a changing one."""
    if evaluated is None:
        return {}
    return {
        "train_eval_loss": evaluated.loss,
        "train_eval_error": evaluated.error,
        "train_eval_images": min(num_images, MAX_TRAIN_EVAL),
    }
