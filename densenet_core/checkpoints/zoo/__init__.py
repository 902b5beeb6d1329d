"""Small DenseNets that ship with the package, trained with its ``train`` command on real data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from densenet_core.errors import CheckpointError

if TYPE_CHECKING:  # the command line and the server need the folder at their start, and no reader
    from densenet_core.checkpoints.checkpoint import Checkpoint

ZOO_FOLDER = Path(__file__).parent


def zoo_names() -> tuple[str, ...]:
    """Return the names of the networks that ship with the package.

    >>> "densenet-40-12-digits" in zoo_names()
    True
    """
    return tuple(sorted(file.stem for file in ZOO_FOLDER.glob("*.safetensors")))


def zoo_path(name: str) -> Path:
    """Return the checkpoint file of a network that ships with the package.

    Raises:
        CheckpointError: the name is unknown; the message lists the known ones.
    """
    if name not in zoo_names():
        raise CheckpointError(f"unknown zoo network {name!r}: choose from {', '.join(zoo_names())}")
    return ZOO_FOLDER / f"{name}.safetensors"


def load_zoo(name: str) -> Checkpoint:
    """Return a network that ships with the package by its name, such as "densenet-40-12-digits".

    >>> load_zoo("densenet-40-12-digits").spec.title
    'DenseNet (L=40, k=12)'

    Raises:
        CheckpointError: the name is unknown.
    """
    from densenet_core.checkpoints.checkpoint import load_checkpoint

    return load_checkpoint(zoo_path(name))
