"""Networks from their architectures or names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.families import family_of
from densenet_core.networks.names import spec_from_name
from densenet_core.networks.spec import Spec

if TYPE_CHECKING:
    from densenet_core.networks.network import Network


def build_model(spec: Spec, memory_efficient: bool = False) -> Network:
    """Return a newly initialized network of this architecture.

    >>> from densenet_core import ResNetSpec
    >>> type(build_model(ResNetSpec.cifar(20))).__name__
    'ResNet'

    Args:
        memory_efficient: Train a DenseNet in memory linear in its depth (see ``DenseNet``).

    Raises:
        ValueError: ``memory_efficient`` is set, but the network is not a DenseNet with batch norms.
    """
    network_class = family_of(spec).load_network()
    if not memory_efficient:
        return network_class(spec)
    if not isinstance(spec, DenseNetSpec):
        raise ValueError(f"memory_efficient=True is only supported for DenseNets, and {spec.title} is not one")
    if spec.norm != "batch":
        raise ValueError(f"memory_efficient=True is only supported for batch norms, and norm is {spec.norm!r}")
    return network_class(spec, memory_efficient)


def create_model(
    name: str,
    num_classes: int | None = None,
    in_channels: int = 3,
    drop_rate: float = 0.0,
    memory_efficient: bool = False,
) -> Network:
    """Return a newly initialized network by its name.

    >>> create_model("densenet-bc-100-12").spec.title
    'DenseNet-BC (L=100, k=12)'

    Args:
        name, num_classes, in_channels, drop_rate: As for ``spec_from_name``.
        memory_efficient: Train a DenseNet in memory linear in its depth (see ``DenseNet``).

    Raises:
        ValueError: No network has this name, its depth does not fit, or an option is not for its family.
    """
    return build_model(spec_from_name(name, num_classes, in_channels, drop_rate), memory_efficient)
