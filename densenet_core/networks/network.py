"""The base class of all networks that are built here."""

from __future__ import annotations

from torch import nn

from densenet_core.networks.spec import Spec


class Network(nn.Module):
    """A network with its architecture: (N, in_channels, H, W) -> (N, num_classes), unnormalized scores."""

    spec: Spec
