"""Small trainings, and how two of them are compared."""

from __future__ import annotations

from pathlib import Path

import torch

from densenet_core import load_checkpoint
from densenet_core.training.config import TrainingConfig
from densenet_core.training.runs.files import read_metrics

CONFIG = TrainingConfig("densenet-7-2", "digits", "demo", epochs=3, batch_size=256, drop_rate=0.1)


def numbers(folder: Path) -> list[tuple[int, str, float, float]]:
    """metrics.csv without the seconds, which no two runs share."""
    return [(m.epoch, m.split, m.loss, m.error) for m in read_metrics(folder / "metrics.csv")]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder).state_dict


def assert_same_run(a: Path, b: Path) -> None:
    assert numbers(a) == numbers(b)
    for key, tensor in weights(a).items():
        assert torch.equal(tensor, weights(b)[key]), key
