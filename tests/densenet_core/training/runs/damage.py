"""What happens to the files of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from densenet_core import load_checkpoint
from densenet_core.training.config import TrainingConfig
from densenet_core.training.runs.files import LAST, METRICS, PREVIOUS, read_metrics


def flip_a_byte(path: Path) -> None:
    """Change a bit of a tensor, where torch.load does not notice."""
    content = bytearray(path.read_bytes())
    weight = torch.load(path, weights_only=True)["model"]["features.conv0.weight"]
    content[content.index(weight.contiguous().numpy().tobytes()) + 1] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def go_back(folder: Path) -> None:
    """Bring back the run as it was an epoch earlier."""
    (folder / PREVIOUS).replace(folder / LAST)


def assert_same_end(config: TrainingConfig, finished: TrainingConfig) -> None:
    numbers = [
        [(row.epoch, row.split, row.loss, row.error) for row in read_metrics(each.folder / METRICS)]
        for each in (config, finished)
    ]
    assert numbers[0] == numbers[1]
    own, other = (load_checkpoint(each.folder).state_dict for each in (config, finished))
    assert all(torch.equal(own[key], other[key]) for key in other)


METRICS_DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "cut": cut,
    "emptied": lambda path: path.write_text(""),
    "another number": lambda path: path.write_text(path.read_text().replace("\n2,test,", "\n2,test,9")),
    "not text": lambda path: path.write_bytes(bytes(range(256)) * 10),
}


def make_old(folder: Path) -> None:
    """Write the files as they were before states held more than weights and optimizer."""
    (folder / PREVIOUS).unlink(missing_ok=True)
    state = torch.load(folder / LAST, weights_only=True)
    torch.save({key: state[key] for key in ("epoch", "model", "optimizer")}, folder / LAST)
