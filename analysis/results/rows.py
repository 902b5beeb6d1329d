"""One network's result as a row of the tables of results."""

from __future__ import annotations

import functools
from typing import Any

import pandas as pd

from analysis.architecture.cost import count_cost, total_cost
from analysis.architecture.memory import training_activation_bytes
from densenet_core.networks.spec import Spec
from densenet_core.training.settings import shorten

COLUMNS = (
    "origin",  # published or measured
    "family",  # DenseNet-BC, ResNet, ...
    "model",  # as papers write it
    "arch",  # create_model's name, if the suite can build it
    "depth",
    "growth_rate",
    "params",
    "params_printed",
    "mult_adds",
    "activation_bytes",  # of one image in training
    "images_per_s",  # as its source measured it: see note
    "dataset",  # C10, C10+, ...: "+" is with augmentation
    "error_kind",  # test, top1_single_crop, top5_single_crop, top1_10_crop, top5_10_crop
    "error",  # percent; for measured runs of the weights that the run keeps
    "spread",  # standard deviation over two or more seeds
    "seeds",  # number of runs that the error is a mean of
    "epochs",
    "seed",
    "hardware",
    "source",
    "note",
)

# the paper's short names of data sets by the names in the suite's records; "+" stays
SHORT_NAMES = {
    "CIFAR-10": "C10",
    "CIFAR-10+": "C10+",
    "CIFAR-100": "C100",
    "CIFAR-100+": "C100+",
    "ImageNet+": "ImageNet",
}

# Of the entries of a record that a row is made of: their types, and for numbers from 0 the largest.
RECORD_KINDS: dict[str, tuple[Any, int | None]] = {
    **dict.fromkeys(("epochs", "epochs_planned", "seed", "image_size"), (int, 2**53)),
    **dict.fromkeys(("name", "arch", "dataset", "hardware"), (str, None)),
    "test_error": (int | float, 100),
}


def result_of(spec: Spec, record: dict[str, Any]) -> pd.Series | None:
    """Return one network's result, with the columns of ``COLUMNS``; None if its record lacks it."""
    try:
        return pd.Series(to_row(spec, record)).reindex(list(COLUMNS))
    except (KeyError, TypeError, ValueError):
        return None


@functools.lru_cache(maxsize=4096)
def spec_cost(spec: Spec, input_size: int | None = None) -> dict[str, float | None]:
    total = total_cost(count_cost(spec, input_size))
    memory = training_activation_bytes(spec, input_size)
    return {"params": total["params"], "mult_adds": total["mult_adds"], "activation_bytes": memory}


def _check_record(record: dict[str, Any]) -> None:
    """Raise ValueError where a record from elsewhere has values that no training writes."""
    for key, (kind, largest) in RECORD_KINDS.items():
        value = record[key]
        is_kind = isinstance(value, kind) and not isinstance(value, bool)
        if not is_kind or (largest is not None and not 0 <= value <= largest):
            raise ValueError(f"its {key} is {shorten(value)}")


def to_row(spec: Spec, record: dict[str, Any]) -> dict[str, Any]:
    _check_record(record)
    return spec_cost(spec, record["image_size"]) | {
        "origin": "measured",
        "family": spec.family,
        "model": spec.title,
        "arch": record["arch"],
        "depth": spec.depth,
        "growth_rate": getattr(spec, "growth_rate", None),
        "dataset": (dataset := SHORT_NAMES.get(record["dataset"], str(record["dataset"]))),
        "error_kind": "top1_single_crop" if dataset == "ImageNet" else "test",
        "error": float(record["test_error"]),
        "seeds": 1,
        "epochs": record["epochs"],
        "seed": record["seed"],
        "hardware": record["hardware"],
        "source": record["name"],
        "note": _training_note(record),
    }


def _training_note(record: dict[str, Any]) -> str | None:
    """Return what sets a training apart from one of so many epochs: it was stopped, or began with trained weights."""
    notes = [f"stopped before epoch {record['epochs_planned']}"] if record["epochs"] < record["epochs_planned"] else []
    if isinstance(start := record.get("started_from"), dict):
        notes.append(f"started from weights trained for {start.get('epochs', 'unknown')} epochs")
    return "; ".join(notes) or None
