"""The architecture of whatever a user has of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from densenet_core.networks.names import published_spec
from densenet_core.networks.spec import Spec

if TYPE_CHECKING:
    from torch import nn

    from densenet_core import Checkpoint

SpecLike: TypeAlias = "Spec | Checkpoint | nn.Module | str"


def as_spec(network: SpecLike) -> Spec:
    """Return the architecture of a spec, a checkpoint, a network that was built here, or a network's name.

    >>> as_spec("densenet121").title
    'DenseNet-BC (L=121, k=32)'

    Raises:
        ValueError: it is something else, or no network has this name.
        CheckpointError: only the network's concatenations are known.
    """
    if isinstance(network, Spec):
        return network
    if isinstance(network, str):
        return published_spec(network)
    spec = getattr(network, "architecture", None) or getattr(network, "spec", None)
    if isinstance(spec, Spec):
        return spec
    raise ValueError(
        f"network is a {type(network).__name__}: give a spec, a checkpoint (checkpoint_from_state_dict makes one of "
        "your module's state_dict()), or a name such as 'densenet121'"
    )


def as_specs(networks: Mapping[str, SpecLike] | Iterable[SpecLike]) -> dict[str, Spec]:
    """Return the architectures of several networks by the names to show.

    >>> list(as_specs(["densenet121", "resnet50"]))
    ['densenet121', 'resnet50']

    Args:
        networks: by name; or one after the other, named by their names or titles.

    Raises:
        ValueError: there are none, two have one name, or as ``as_spec``.
    """
    if isinstance(networks, str) or not isinstance(networks, Iterable):
        raise ValueError("networks is one network: give a list, such as ['densenet121', 'resnet50'], or a dict by name")
    if isinstance(networks, Mapping):
        found = [(str(name), as_spec(network)) for name, network in networks.items()]
    else:
        specs = [(network, as_spec(network)) for network in networks]
        found = [(network if isinstance(network, str) else spec.title, spec) for network, spec in specs]
    if not found:
        raise ValueError("networks is empty: pass one or more")
    names = [name for name, _ in found]
    if again := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"two networks are called {again!r}: give a dict with a name for each")
    return dict(found)
