"""What every family of networks can say about itself, without building anything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Self

from densenet_core.networks.layers import LayerWalk
from densenet_core.networks.paths import PathGraph

Stem = Literal["cifar", "imagenet"]

MAX_LAYERS = 2000  # a number in a file must not keep a machine busy for hours


class DirectRead(NamedTuple):
    """The probability that a layer reads another's output itself, numbered as in the feature-reuse table."""

    block: int  # 1-based
    source: int  # 0: the block's input
    target: int  # 1..n, or n+1: what follows the block
    target_kind: str  # layer, transition or classifier
    probability: float


@dataclass(frozen=True)
class Spec(ABC):
    """The architecture of a network: a frozen dataclass for each family.

    A subclass needs what is abstract here, a module that takes it, and an entry in ``families.FAMILIES``. The rest has
    a default. The fields ``num_classes`` and ``in_channels`` need defaults, because a dataclass takes the properties
    below for them otherwise.
    """

    EXAMPLES: ClassVar[tuple[str, ...]]  # names of published networks, for lists of choices
    PATTERNS: ClassVar[tuple[str, ...]]  # of all names of the family, such as "densenet-DEPTH-GROWTH", for errors
    HAS_PUBLIC_NAMES: ClassVar[bool] = False  # its tensors have torchvision's names, by which any file is recognized

    @classmethod
    @abstractmethod
    def parse(cls, name: str, num_classes: int, in_channels: int, drop_rate: float) -> Self | None:
        """Return the spec of the network called ``name``, or None if no network of this family is called so.

        Raises:
            ValueError: The name is the family's, but the network has no such depth or no dropout.
        """

    @property
    @abstractmethod
    def num_classes(self) -> int:
        """The number of classes the network predicts."""

    @property
    @abstractmethod
    def in_channels(self) -> int:
        """The number of channels of the input image."""

    @property
    @abstractmethod
    def depth(self) -> int:
        """The number of layers with weights on the longest path (L in the paper)."""

    @property
    @abstractmethod
    def family(self) -> str:
        """The family as figures name it, such as "DenseNet-BC"."""

    @property
    @abstractmethod
    def title(self) -> str:
        """The network as papers write it, such as "ResNet-110"."""

    @property
    def stem(self) -> Stem:
        """``imagenet`` if the first layers reduce an image of 224 pixels a side, else ``cifar``."""
        return "cifar"

    @property
    def spatial_dims(self) -> int:
        """The number of dimensions of the input image."""
        return 2

    @abstractmethod
    def add_layers(self, walk: LayerWalk) -> None:
        """Add every layer to ``walk``, in the order in which they run."""

    @abstractmethod
    def paths(self) -> PathGraph:
        """Return which layers read which, from the image to the scores."""

    @abstractmethod
    def block_ends(self) -> dict[str, int]:
        """Return the feature maps that leave each block or stage, by the name of its module."""

    @property
    @abstractmethod
    def sample_layer(self) -> str:
        """The name of the module of one typical layer or residual block, at one width."""

    def direct_reads(self) -> Iterator[DirectRead]:
        """Yield the probability of each pair of layers of a block that one reads the other, in a training step.

        Raises:
            ValueError: It is not defined for this family.
        """
        raise ValueError(f"direct connections exist in DenseNets and ResNets, not in {self.title}")


def target_kind(block_config: tuple[int, ...], block: int, target: int) -> str:
    """Return layer, transition or classifier, for one of the layers of ``block`` or what follows it."""
    if target <= block_config[block - 1]:
        return "layer"
    return "transition" if block < len(block_config) else "classifier"


def check_counts(spec: Spec, *fields: str) -> None:
    """Raise ValueError unless these fields are whole numbers from 1 on, or non-empty tuples of such numbers."""
    for field in fields:
        value = getattr(spec, field)
        if isinstance(value, tuple):
            if not value:
                raise ValueError(f"{field} is empty: give one number or more")
            if any(type(count) is not int or count < 1 for count in value):
                raise ValueError(f"{field} {value[:20]} needs whole numbers, 1 or more")
        elif type(value) is not int or value < 1:
            raise ValueError(f"{field} {value} must be a whole number, 1 or more")


def check_num_layers(field: str, num_layers: int) -> None:
    """Raise ValueError if a network of that many layers would take hours to build."""
    if num_layers > MAX_LAYERS:
        raise ValueError(f"{field} asks for {num_layers:,} layers: at most {MAX_LAYERS:,} are built")


def check_chance(field: str, chance: float) -> None:
    """Raise ValueError unless ``chance`` is at least 0 and below 1."""
    if not 0 <= chance < 1:
        raise ValueError(f"{field} {chance} must be at least 0 and below 1")


def check_no_dropout(name: str, drop_rate: float) -> None:
    """Raise ValueError if dropout is asked for in a network that has none."""
    if drop_rate:
        raise ValueError(f"drop_rate {drop_rate} is for DenseNets and Wide ResNets: {name} has no dropout")


def layers_from_depth(depth: int, step: int, offset: int, remark: str = "") -> int:
    """Return n where ``depth`` is step * n + offset.

    Raises:
        ValueError: There is no such n; the nearest depths are named.
    """
    layers, rest = divmod(depth - offset, step)
    if rest or layers < 1:
        nearest = " and ".join(str(step * n + offset) for n in sorted({max(layers, 1), max(layers + 1, 1)}))
        raise ValueError(f"depth {depth} is not {step}*n+{offset}{remark}: the nearest are {nearest}")
    return layers
