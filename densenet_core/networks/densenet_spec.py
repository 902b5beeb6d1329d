"""The architecture of DenseNets: one frozen dataclass with its depth and channel arithmetic."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import ClassVar, Literal

from densenet_core.networks.densenet_checks import OPTIONAL_WIDTHS, check_cuts, check_norm, check_sizes
from densenet_core.networks.densenet_layers import add_densenet_layers, densenet_paths
from densenet_core.networks.layers import LayerWalk, NormKind
from densenet_core.networks.paths import PathGraph
from densenet_core.networks.spec import DirectRead, Spec, Stem, layers_from_depth, target_kind

ChannelRanges = tuple[tuple[int, int], ...]  # of feature maps, as (first, end)
ImageNetVariant = Literal["121", "161", "169", "201", "264"]

# Block configuration and growth rate of the ImageNet networks (paper, Table 1; 161 is the
# wider k=48 network of the paper's code).
IMAGENET_VARIANTS: dict[str, tuple[tuple[int, ...], int]] = {
    "121": ((6, 12, 24, 16), 32),
    "161": ((6, 12, 36, 24), 48),
    "169": ((6, 12, 32, 32), 32),
    "201": ((6, 12, 48, 32), 32),
    "264": ((6, 12, 64, 48), 32),
}
CIFAR_BLOCKS = 3


@dataclass(frozen=True)
class DenseNetSpec(Spec):
    """The architecture of one DenseNet (Huang et al. 2017, sections 3 and 4).

    ``DenseNetSpec.cifar`` and ``DenseNetSpec.imagenet`` return the paper's networks; the constructor makes any other.

    >>> spec = DenseNetSpec.cifar(100, growth_rate=12, bottleneck=True, compression=0.5)
    >>> spec.title, spec.block_config, spec.block_inputs
    ('DenseNet-BC (L=100, k=12)', (16, 16, 16), (24, 108, 150))

    Raises:
        ValueError: A field is out of range, or a connection in ``cuts`` does not exist.
    """

    block_config: tuple[int, ...]  # dense layers in each block
    growth_rate: int  # feature maps that each dense layer adds (k in the paper)
    num_init_features: int  # feature maps of the stem (k0 in the paper)
    bottleneck: bool = True  # a 1x1 convolution to bn_size * k feature maps before each 3x3 (DenseNet-B)
    compression: float = 0.5  # fraction of feature maps that a transition keeps (theta; below 1: DenseNet-C)
    num_classes: int = 10
    stem: Stem = "cifar"  # cifar: 3x3; imagenet: 7x7 stride 2, norm, ReLU, 3x3 max pool stride 2
    in_channels: int = 3
    bn_size: int = 4  # width of the bottleneck, in multiples of the growth rate
    drop_rate: float = 0.0  # dropout after every convolution except the first
    spatial_dims: int = 2  # 1, 2 or 3: the convolutions' dimensions
    # Removed connections: (block, source layer, target layer), numbered as in the feature-reuse table.
    cuts: tuple[tuple[int, int, int], ...] = ()
    stem_norm: bool = False  # a norm and a ReLU behind the stem 'cifar'
    stem_kernel: int = 3  # pixels a side of the stem 'cifar's kernel
    # Feature maps of a deep stem's convolutions before the last one: the stem 'imagenet' with 3x3 convolutions, as in
    # timm's densenet264d.
    stem_widths: tuple[int, ...] = ()
    transition_widths: tuple[int, ...] = ()  # feature maps of each transition, instead of ``compression``
    head_widths: tuple[int, ...] = ()  # hidden features of a classifier with several linear layers, ReLUs between them
    blur_pool: bool = False  # binomial filters reduce the resolution (Zhang 2019), as in timm's densenetblur121d
    norm: NormKind = "batch"  # the kind of every norm
    norm_groups: int = 0  # of group norms; norms of fewer feature maps have a group for each

    EXAMPLES: ClassVar = (
        "densenet-40-12",
        "densenet-100-12",
        "densenet-100-24",
        "densenet-bc-100-12",
        "densenet-bc-250-24",
        "densenet-bc-190-40",
        *(f"densenet{variant}" for variant in IMAGENET_VARIANTS),
    )
    PATTERNS: ClassVar = ("densenet-DEPTH-GROWTH", "densenet-bc-DEPTH-GROWTH", "densenet121")
    HAS_PUBLIC_NAMES: ClassVar = True
    VARIANT_FIELDS: ClassVar = (*OPTIONAL_WIDTHS, "stem_norm", "stem_kernel", "blur_pool", "norm", "norm_groups")

    def __post_init__(self) -> None:
        check_sizes(self)
        object.__setattr__(self, "cuts", tuple(sorted(tuple(cut) for cut in self.cuts)))
        check_cuts(self)
        check_norm(self)

    @classmethod
    def cifar(
        cls,
        depth: int,
        growth_rate: int,
        bottleneck: bool = False,
        compression: float = 1.0,
        num_classes: int = 10,
        in_channels: int = 3,
        drop_rate: float = 0.0,
    ) -> DenseNetSpec:
        """Return a network for small images: a 3x3 stem and three equal blocks (paper, section 3).

        The stem has 16 feature maps, or 2k in a DenseNet-BC.

        Raises:
            ValueError: ``depth`` does not divide into three equal blocks; the nearest depths that do are named.
        """
        step, remark = CIFAR_BLOCKS * (2 if bottleneck else 1), f" ({'with' if bottleneck else 'without'} bottleneck)"
        layers_per_block = layers_from_depth(depth, step, CIFAR_BLOCKS + 1, remark)
        is_bc = bottleneck and compression < 1
        return cls(
            block_config=(layers_per_block,) * CIFAR_BLOCKS,
            growth_rate=growth_rate,
            num_init_features=2 * growth_rate if is_bc else 16,
            bottleneck=bottleneck,
            compression=compression,
            num_classes=num_classes,
            stem="cifar",
            in_channels=in_channels,
            drop_rate=drop_rate,
        )

    @classmethod
    def imagenet(
        cls,
        variant: ImageNetVariant | str,
        num_classes: int = 1000,
        in_channels: int = 3,
        drop_rate: float = 0.0,
    ) -> DenseNetSpec:
        """Return a DenseNet-BC for 224x224 images: "121", "161", "169", "201" or "264" (paper, Table 1).

        Raises:
            ValueError: ``variant`` is unknown.
        """
        if str(variant) not in IMAGENET_VARIANTS:
            raise ValueError(f"variant {variant!r} is unknown: choose one of {', '.join(IMAGENET_VARIANTS)}")
        block_config, growth_rate = IMAGENET_VARIANTS[str(variant)]
        return cls(
            block_config=block_config,
            growth_rate=growth_rate,
            num_init_features=2 * growth_rate,
            num_classes=num_classes,
            stem="imagenet",
            in_channels=in_channels,
            drop_rate=drop_rate,
        )

    @classmethod
    def parse(cls, name: str, num_classes: int, in_channels: int, drop_rate: float) -> DenseNetSpec | None:
        """Return the spec of ``densenet-40-12`` (depth, growth rate), ``densenet-bc-100-12`` or ``densenet121``."""
        sizes = num_classes, in_channels, drop_rate
        if match := re.fullmatch(r"densenet-(?:(bc|b|c)-)?(\d{1,4})-(\d{1,4})", name):
            kind, depth, growth_rate = match[1] or "", int(match[2]), int(match[3])
            return cls.cifar(depth, growth_rate, "b" in kind, 0.5 if "c" in kind else 1.0, *sizes)
        variant = name.removeprefix("densenet")
        return cls.imagenet(variant, *sizes) if name == f"densenet{variant}" and variant in IMAGENET_VARIANTS else None

    @property
    def depth(self) -> int:
        """The number of layers with weights (L in the paper): the convolutions and the classifier.

        By this count, the paper's DenseNet-264 has 265 layers.
        """
        convs_per_layer, others = 2 if self.bottleneck else 1, len(self.stem_widths) + len(self.head_widths)
        return convs_per_layer * sum(self.block_config) + len(self.block_config) + 1 + others

    @cached_property
    def block_inputs(self) -> tuple[int, ...]:
        """The number of feature maps that enter each block."""
        if self.transition_widths:
            return (self.num_init_features, *self.transition_widths)
        widths = [self.num_init_features]
        for num_layers in self.block_config[:-1]:
            widths.append(compress(widths[-1] + num_layers * self.growth_rate, self.compression))
        return tuple(widths)

    @property
    def block_outputs(self) -> tuple[int, ...]:
        """The number of feature maps that leave each block: its input and those that its layers add."""
        return tuple(c0 + n * self.growth_rate for c0, n in zip(self.block_inputs, self.block_config, strict=True))

    def block_ends(self) -> dict[str, int]:
        return {f"features.denseblock{b}": maps for b, maps in enumerate(self.block_outputs, start=1)}

    def source_channels(self, block: int) -> tuple[int, ...]:
        """Return the feature maps of each source in ``block`` (1-based): the block's input, then its layers."""
        return (self.block_inputs[block - 1], *(self.growth_rate,) * self.block_config[block - 1])

    @cached_property
    def _cut_sources(self) -> dict[tuple[int, int], set[int]]:
        """The cut sources of each (block, target)."""
        found: dict[tuple[int, int], set[int]] = {}
        for block, source, target in self.cuts:
            found.setdefault((block, target), set()).add(source)
        return found

    @property
    def num_connections(self) -> int:
        """The number of connections without cuts: n(n+1)/2 + n+1 in a block of n layers."""
        return sum((n + 1) * (n + 2) // 2 for n in self.block_config)

    def sources(self, block: int, target: int) -> tuple[int, ...]:
        """Return the sources that layer ``target`` of ``block`` reads; n+1 is what follows the block's n layers."""
        cut = self._cut_sources.get((block, target), set())
        return tuple(source for source in range(target) if source not in cut)

    def channel_ranges(self, block: int, target: int) -> ChannelRanges:
        """Return the ranges of the block's channels that layer ``target`` reads, each as (first, end)."""
        if not self.cuts:
            return ((0, self.block_inputs[block - 1] + (target - 1) * self.growth_rate),)
        edges = [0, *accumulate(self.source_channels(block))]
        ranges: list[tuple[int, int]] = []
        for source in self.sources(block, target):
            first, end = edges[source], edges[source + 1]
            if ranges and ranges[-1][1] == first:
                first = ranges.pop()[0]
            ranges.append((first, end))
        return tuple(ranges)

    def input_maps(self, block: int, target: int) -> int:
        """Return the number of feature maps that layer ``target`` of ``block`` reads."""
        return sum(end - first for first, end in self.channel_ranges(block, target))

    def target_names(self, block: int, target: int) -> tuple[str, str]:
        """Return the state dict's names of the first weight of layer ``target`` of ``block`` and of its norm."""
        if target <= self.block_config[block - 1]:
            name = f"features.denseblock{block}.denselayer{target}"
            return f"{name}.conv1.weight", f"{name}.norm1"
        if block < len(self.block_config):
            return f"features.transition{block}.conv.weight", f"features.transition{block}.norm"
        return "classifier.0.weight" if self.head_widths else "classifier.weight", "features.norm5"

    @property
    def classifier_width(self) -> int:
        """The number of outputs of the layer that reads the last block: the classes, or a hidden layer's features."""
        return (*self.head_widths, self.num_classes)[0]

    @property
    def sample_layer(self) -> str:
        return "features.denseblock1.denselayer1"

    @property
    def family(self) -> str:
        """DenseNet, DenseNet-B (with bottlenecks), -C (with compression) or -BC."""
        before, behind = self.block_outputs[:-1], self.block_inputs[1:]
        compresses = (
            any(a > b for a, b in zip(before, behind, strict=True)) if self.transition_widths else self.compression < 1
        )
        kind = ("B" if self.bottleneck else "") + ("C" if compresses else "")
        return f"DenseNet-{kind}" if kind else "DenseNet"

    @property
    def title(self) -> str:
        """The network as the paper writes it, such as "DenseNet-BC (L=100, k=12)"; with cuts, their number."""
        cut = f", {len(self.cuts)} of {self.num_connections} connections cut" if self.cuts else ""
        return f"{self.family} (L={self.depth}, k={self.growth_rate}{cut})"

    def add_layers(self, walk: LayerWalk) -> None:
        add_densenet_layers(self, walk)

    def paths(self) -> PathGraph:
        return densenet_paths(self)

    def direct_reads(self) -> Iterator[DirectRead]:
        """Yield 1 for every pair of a source and a target, or 0 where the connection is cut."""
        for block, num_layers in enumerate(self.block_config, start=1):
            for target in range(1, num_layers + 2):
                kind, sources = target_kind(self.block_config, block, target), self.sources(block, target)
                for source in range(target):
                    yield DirectRead(block, source, target, kind, float(source in sources))


def compress(num_features: int, compression: float) -> int:
    """Return the number of feature maps after a transition, floor(theta * m) (paper, section 3).

    >>> compress(75, 0.5), compress(100, 0.29)
    (37, 29)
    """
    return math.floor(round(num_features * compression, 6))  # 0.29 * 100 is 28.999... in binary
