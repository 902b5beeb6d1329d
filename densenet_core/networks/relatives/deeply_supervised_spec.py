"""The architecture of Deeply-Supervised Nets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from densenet_core.networks.layers import Layer, LayerWalk
from densenet_core.networks.paths import PathGraph
from densenet_core.networks.spec import Spec, Stem

_PREFIX = "dsn-"


@dataclass(frozen=True)
class DeeplySupervisedSpec(Spec):
    """A network with a companion classifier after each of its blocks (Lee, Xie, Gallagher, Zhang, Tu 2015).

    The last block is followed by the network's own classifier. Companions are used in training only.

    >>> from densenet_core import ResNetSpec
    >>> DeeplySupervisedSpec(ResNetSpec.cifar(20)).hidden_ends
    {'layer1': 16, 'layer2': 32}

    Raises:
        ValueError: ``base`` has a single block or companions of its own, or ``companion_weight`` is not above 0.
    """

    base: Spec
    companion_weight: float = 0.3  # of the companions' losses when training starts; it decreases linearly to 0

    EXAMPLES: ClassVar = ("dsn-resnet-56", "dsn-densenet-40-12")
    PATTERNS: ClassVar = ("dsn-NETWORK",)

    def __post_init__(self) -> None:
        if not isinstance(self.base, Spec) or isinstance(self.base, DeeplySupervisedSpec):
            raise ValueError(f"base is a {type(self.base).__name__}: pass the spec of a network without companions")
        if not self.companion_weight > 0:
            raise ValueError(f"companion_weight {self.companion_weight} must be above 0")
        if not self.hidden_ends:
            raise ValueError(f"{self.base.title} has a single block, and so no hidden block to supervise")

    @classmethod
    def parse(cls, name: str, num_classes: int, in_channels: int, drop_rate: float) -> DeeplySupervisedSpec | None:
        """Return the spec of ``dsn-resnet-56``: ``dsn-`` before any other network's name."""
        from densenet_core.networks.names import spec_from_name  # imported here because it imports this module

        if not name.startswith(_PREFIX):
            return None
        return cls(spec_from_name(name.removeprefix(_PREFIX), num_classes, in_channels, drop_rate))

    @property
    def hidden_ends(self) -> dict[str, int]:
        """The number of feature maps that each companion reads, by the name of the block's module."""
        return dict(list(self.base.block_ends().items())[:-1])

    @property
    def num_classes(self) -> int:
        return self.base.num_classes

    @property
    def in_channels(self) -> int:
        return self.base.in_channels

    @property
    def depth(self) -> int:
        """The network's own depth; companions are not counted."""
        return self.base.depth

    @property
    def stem(self) -> Stem:
        return self.base.stem

    @property
    def spatial_dims(self) -> int:
        return self.base.spatial_dims

    @property
    def family(self) -> str:
        return "Deeply Supervised Net"

    @property
    def title(self) -> str:
        """Such as "Deeply Supervised ResNet-20"."""
        return f"Deeply Supervised {self.base.title}"

    @property
    def sample_layer(self) -> str:
        return f"network.{self.base.sample_layer}"

    def block_ends(self) -> dict[str, int]:
        return {f"network.{name}": maps for name, maps in self.base.block_ends().items()}

    def add_layers(self, walk: LayerWalk) -> None:
        """Add the network's own layers, with the companions before its classifier."""
        self.base.add_layers(walk)
        *own, classifier = (layer._replace(name=f"network.{layer.name}") for layer in walk.layers)
        companions = [
            Layer(f"companions.{i}", "companion", "companions", maps, self.num_classes, 1, 1, 1, 1)
            for i, maps in enumerate(self.hidden_ends.values())
        ]
        walk.layers = [*own, *companions, classifier]

    def paths(self) -> PathGraph:
        """Return the paths of the network without companions, whose scores no layer reads."""
        return self.base.paths()
