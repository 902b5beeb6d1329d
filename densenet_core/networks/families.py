"""The families of networks: one table, from which names, builders and checkpoints are derived.

To add a family, write its spec (a subclass of ``Spec``) and its module (a subclass of ``Network``), and list both here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, cast

from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.relatives.deeply_supervised_spec import DeeplySupervisedSpec
from densenet_core.networks.relatives.fractalnet_spec import FractalNetSpec
from densenet_core.networks.relatives.highway_spec import HighwaySpec
from densenet_core.networks.resnet_spec import ResNetSpec
from densenet_core.networks.spec import Spec

if TYPE_CHECKING:
    from densenet_core.networks.network import Network


class Family(NamedTuple):
    """One family of networks."""

    name: str  # in the metadata of checkpoint files: never change it
    spec: type[Spec]
    module: str  # where the ``Network`` is, as "module:class"; it is imported when a network is built

    def load_network(self) -> type[Network]:
        """Return the class of the networks, which imports torch."""
        module, name = self.module.split(":")
        return cast("type[Network]", getattr(import_module(f"densenet_core.networks.{module}"), name))


FAMILIES = (
    Family("DenseNet", DenseNetSpec, "densenet:DenseNet"),
    Family("ResNet", ResNetSpec, "resnet:ResNet"),
    Family("Highway", HighwaySpec, "relatives.highway:Highway"),
    Family("FractalNet", FractalNetSpec, "relatives.fractalnet:FractalNet"),
    Family("DeeplySupervised", DeeplySupervisedSpec, "relatives.deeply_supervised:DeeplySupervised"),
)
FAMILY_BY_NAME = {family.name: family for family in FAMILIES}
_FAMILY_BY_SPEC = {family.spec: family for family in FAMILIES}


def family_of(spec: Spec) -> Family:
    """Return the family of a spec.

    >>> family_of(DenseNetSpec.imagenet("121")).name
    'DenseNet'
    """
    return _FAMILY_BY_SPEC[type(spec)]
