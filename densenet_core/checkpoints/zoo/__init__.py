"""Small DenseNets that ship with the package, trained by its own ``train`` on real data, each with its record."""

from __future__ import annotations

from pathlib import Path

from densenet_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from densenet_core.errors import CheckpointError

ZOO_FOLDER = Path(__file__).parent


def zoo_names() -> tuple[str, ...]:
    """The names of the shipped networks.

    >>> "densenet-40-12-digits" in zoo_names()
    True
    """
    return tuple(sorted(file.stem for file in ZOO_FOLDER.glob("*.safetensors")))


def zoo_path(name: str) -> Path:
    """The checkpoint file of a shipped network.

    Raises:
        CheckpointError: there is no network of this name; those that there are, are listed.
    """
    if name not in zoo_names():
        raise CheckpointError(f"no network {name!r} in the zoo: it holds {', '.join(zoo_names())}")
    return ZOO_FOLDER / f"{name}.safetensors"


def load_zoo(name: str) -> Checkpoint:
    """A shipped network by its name, such as "densenet-40-12-digits".

    >>> load_zoo("densenet-40-12-digits").spec.title
    'DenseNet (L=40, k=12)'

    Raises:
        CheckpointError: there is no network of this name.
    """
    return load_checkpoint(zoo_path(name))
