"""Start a training from the weights of another network."""

from __future__ import annotations

import os

from torch import Tensor

from densenet_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from densenet_core.errors import CheckpointError
from densenet_core.networks.network import Network


def load_weights_into(model: Network, path: str | os.PathLike[str]) -> Checkpoint:
    """Copy the weights of a file or run folder into a network, and return the checkpoint that they are from.

    A classifier for another number of classes is not copied: the network keeps its own, as for fine-tuning.

    >>> from densenet_core import create_model
    >>> from densenet_core.checkpoints.zoo import zoo_path
    >>> network = create_model("densenet-40-12", num_classes=3, in_channels=1)
    >>> load_weights_into(network, zoo_path("densenet-40-12-digits")).architecture.num_classes
    10

    Raises:
        CheckpointError: the file can't be read, or does not hold this network.
    """
    found = load_checkpoint(path)
    own = model.state_dict()
    classes = (found.architecture.num_classes, model.spec.num_classes)
    new = {key for key, value in own.items() if _differs_in_classes(found.state_dict.get(key), value, classes)}
    taken = {key: value for key, value in found.state_dict.items() if key not in new}
    needed = {key for key in own if not key.endswith("num_batches_tracked")} - new
    misfits = [key for key, value in taken.items() if key not in own or own[key].shape != value.shape]
    if misfits or needed - taken.keys():
        raise CheckpointError(
            f"{os.fspath(path)!r} holds a {found.spec.title}, and the network to train is a {model.spec.title}: "
            "choose the same architecture (--arch)"
        )
    model.load_state_dict(own | taken)
    return found


def _differs_in_classes(found: Tensor | None, own: Tensor, classes: tuple[int, int]) -> bool:
    """Return whether these are the weights or biases of a classifier for another number of classes."""
    if found is None or classes[0] == classes[1] or not own.dim() == found.dim() > 0:
        return False
    return (found.shape[0], own.shape[0]) == classes and found.shape[1:] == own.shape[1:]
