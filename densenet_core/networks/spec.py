"""The base class of the families of networks: everything that is known without building a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, NamedTuple, Self

from densenet_core.networks.layers import LayerWalk
from densenet_core.networks.paths import PathGraph

Stem = Literal["cifar", "imagenet"]

MAX_LAYERS = 2000  # more would take hours to build, and the number may come from a file


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

    A subclass implements the abstract methods, and is listed in ``families.FAMILIES`` with the module that builds its
    networks. Its fields ``num_classes`` and ``in_channels`` need default values; without them, a dataclass uses the
    properties below as defaults.
    """

    EXAMPLES: ClassVar[tuple[str, ...]]  # names of published networks, for lists of choices
    PATTERNS: ClassVar[tuple[str, ...]]  # of the family's names, such as "densenet-DEPTH-GROWTH", for error messages
    HAS_PUBLIC_NAMES: ClassVar[bool] = False  # tensors have torchvision's names, which identify the family
    VARIANT_FIELDS: ClassVar[tuple[str, ...]] = ()  # files and `inspect` leave them out where they have their defaults

    @classmethod
    @abstractmethod
    def parse(cls, name: str, num_classes: int, in_channels: int, drop_rate: float) -> Self | None:
        """Return the spec of the network called ``name``, or None if this family has no such name.

        Raises:
            ValueError: The name belongs to the family, but the depth does not fit or the network has no dropout.
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

    def visible_fields(self) -> dict[str, Any]:
        """Return the fields by name, without those of ``VARIANT_FIELDS`` that have their default values."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {
            name: value
            for name, (value, default) in values.items()
            if name not in self.VARIANT_FIELDS or value != default
        }

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
        """Yield, for each pair of layers of a block, the probability that one reads the other in a training step.

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
                raise ValueError(f"{field} is empty: pass at least one number")
            if any(type(count) is not int or count < 1 for count in value):
                raise ValueError(f"{field} {value[:20]} must contain whole numbers, 1 or more")
        elif type(value) is not int or value < 1:
            raise ValueError(f"{field} {value} must be a whole number, 1 or more")


def check_num_layers(field: str, num_layers: int) -> None:
    """Raise ValueError if there are more than ``MAX_LAYERS`` layers."""
    if num_layers > MAX_LAYERS:
        raise ValueError(f"{field} adds up to {num_layers:,} layers, but at most {MAX_LAYERS:,} are supported")


def check_probability(field: str, probability: float) -> None:
    """Raise ValueError unless ``probability`` is at least 0 and below 1."""
    if not 0 <= probability < 1:
        raise ValueError(f"{field} {probability} must be at least 0 and below 1")


def check_no_dropout(name: str, drop_rate: float) -> None:
    """Raise ValueError if ``drop_rate`` is not 0."""
    if drop_rate:
        raise ValueError(
            f"drop_rate {drop_rate} is only supported for DenseNets and Wide ResNets: {name} has no dropout"
        )


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
