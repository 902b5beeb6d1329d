"""The base class of all networks that are built here, and the mode of any module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from densenet_core.networks.spec import Spec


class Network(nn.Module):
    """A network with its architecture: (N, in_channels, H, W) -> (N, num_classes), unnormalized scores."""

    spec: Spec


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode; on exit every part is in its mode from before.

    The parts' modes may differ: a frozen batch norm stays in evaluation mode during training.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout().eval())
    >>> with evaluation_mode(model):
    ...     model.training
    False
    >>> [part.training for part in model]
    [True, False]
    """
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, was_training in modes:
            part.training = was_training
