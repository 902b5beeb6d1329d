"""Networks built from their architectures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from densenet_core.networks.deeply_supervised import DeeplySupervised
from densenet_core.networks.deeply_supervised_spec import DeeplySupervisedSpec
from densenet_core.networks.densenet import DenseNet
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.fractalnet import FractalNet
from densenet_core.networks.fractalnet_spec import FractalNetSpec
from densenet_core.networks.highway import Highway
from densenet_core.networks.highway_spec import HighwaySpec
from densenet_core.networks.names import Spec, spec_from_name
from densenet_core.networks.resnet import ResNet
from densenet_core.networks.resnet_spec import ResNetSpec

Network = DenseNet | ResNet | Highway | FractalNet | DeeplySupervised
_NETWORKS: dict[type, Callable[[Any], Network]] = {
    ResNetSpec: ResNet,
    HighwaySpec: Highway,
    FractalNetSpec: FractalNet,
    DeeplySupervisedSpec: lambda spec: DeeplySupervised(spec, build_model(spec.base)),
}


def build_model(spec: Spec, memory_efficient: bool = False) -> Network:
    """A freshly initialised network of this architecture.

    Raises:
        ValueError: ``memory_efficient`` is asked for, and the network is no DenseNet.
    """
    if isinstance(spec, DenseNetSpec):
        return DenseNet(spec, memory_efficient)
    if memory_efficient:
        raise ValueError(f"memory_efficient is for DenseNets: {spec.title} is none")
    return _NETWORKS[type(spec)](spec)


def create_model(
    name: str,
    num_classes: int = 10,
    in_channels: int = 3,
    drop_rate: float = 0.0,
    memory_efficient: bool = False,
) -> Network:
    """A freshly initialised network by its name.

    >>> create_model("densenet-bc-100-12").spec.title
    'DenseNet-BC (L=100, k=12)'

    Args:
        memory_efficient: a DenseNet that trains in memory linear in its depth (see ``DenseNet``).

    Raises:
        ValueError: the name is not known, or its depth does not fit; the nearest are named.
    """
    return build_model(spec_from_name(name, num_classes, in_channels, drop_rate), memory_efficient)
