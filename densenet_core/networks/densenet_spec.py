"""What a DenseNet is made of: one frozen dataclass and its depth and channel arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Literal

Stem = Literal["cifar", "imagenet"]
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
MOST_LAYERS = 2000  # a number in a file must not keep a machine busy for hours


@dataclass(frozen=True)
class DenseNetSpec:
    """The architecture of one DenseNet (Huang et al. 2017, sections 3 and 4).

    ``DenseNetSpec.cifar`` and ``DenseNetSpec.imagenet`` give the paper's networks; the plain
    constructor gives any other.
    """

    block_config: tuple[int, ...]  # dense layers in each block
    growth_rate: int  # feature maps that each dense layer adds (k in the paper)
    num_init_features: int  # feature maps of the stem (k0)
    bottleneck: bool = True  # a 1x1 convolution to bn_size * k maps before each 3x3 (DenseNet-B)
    compression: float = 0.5  # share of maps that a transition keeps (theta; below 1: DenseNet-C)
    num_classes: int = 10
    stem: Stem = "cifar"  # cifar: 3x3; imagenet: 7x7 stride 2, norm, ReLU, 3x3 max pool stride 2
    in_channels: int = 3
    bn_size: int = 4  # width of the bottleneck in growth rates
    drop_rate: float = 0.0  # dropout after every convolution but the first
    spatial_dims: int = 2  # 1, 2 or 3: the convolutions' dimensions
    # Connections that are not there: (block, source layer, target layer), as in the feature-reuse table.
    cuts: tuple[tuple[int, int, int], ...] = ()

    def __post_init__(self) -> None:
        check_counts(
            self, "block_config", ("growth_rate", "num_init_features", "num_classes", "in_channels", "bn_size")
        )
        if not 0 < self.compression <= 1:
            raise ValueError(f"compression {self.compression} must be above 0 and at most 1")
        if not 0 <= self.drop_rate < 1:
            raise ValueError(f"drop_rate {self.drop_rate} must be at least 0 and below 1")
        if self.stem not in ("cifar", "imagenet"):
            raise ValueError(f"stem {self.stem!r} is neither 'cifar' nor 'imagenet'")
        if self.spatial_dims not in (1, 2, 3):
            raise ValueError(f"spatial_dims {self.spatial_dims} is not 1, 2 or 3")
        if min(self.block_inputs) < 1:
            raise ValueError(f"compression {self.compression} leaves a block without feature maps: {self.block_inputs}")
        object.__setattr__(self, "cuts", tuple(sorted(tuple(cut) for cut in self.cuts)))
        self._check_cuts()

    def _check_cuts(self) -> None:
        for cut in self.cuts:
            block, source, target = cut
            if not (1 <= block <= len(self.block_config) and 0 <= source < target <= self.block_config[block - 1] + 1):
                raise ValueError(f"cuts hold {cut}: there is no such connection (block, source layer, target layer)")
        for (block, target), sources in self._cut_sources.items():
            if len(sources) == target:
                raise ValueError(f"cuts leave layer {target} of block {block} without a source: one must stay")

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
        """A network for small images: three equal blocks behind a 3x3 stem (paper, section 3).

        The stem gives 16 feature maps, or 2k where the network is a DenseNet-BC.

        Raises:
            ValueError: ``depth`` does not divide into three equal blocks; the nearest that do are named.
        """
        layers_per_block = _layers_per_cifar_block(depth, bottleneck)
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
        """A DenseNet-BC for 224x224 images: "121", "161", "169", "201" or "264" (paper, Table 1).

        Raises:
            ValueError: ``variant`` is none of these.
        """
        if str(variant) not in IMAGENET_VARIANTS:
            raise ValueError(f"variant {variant!r} is none of {', '.join(IMAGENET_VARIANTS)}")
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

    @property
    def depth(self) -> int:
        """Number of layers with weights (L in the paper): the convolutions and the classifier.

        The network that the paper calls DenseNet-264 has 265 by this count.
        """
        convs_per_layer = 2 if self.bottleneck else 1
        return convs_per_layer * sum(self.block_config) + len(self.block_config) + 1

    @cached_property
    def block_inputs(self) -> tuple[int, ...]:
        """Feature maps that enter each block."""
        widths = [self.num_init_features]
        for num_layers in self.block_config[:-1]:
            widths.append(compressed(widths[-1] + num_layers * self.growth_rate, self.compression))
        return tuple(widths)

    @property
    def block_outputs(self) -> tuple[int, ...]:
        """Feature maps that leave each block: its input and what every layer added."""
        return tuple(c0 + n * self.growth_rate for c0, n in zip(self.block_inputs, self.block_config, strict=True))

    def source_channels(self, block: int) -> tuple[int, ...]:
        """Feature maps of each source in ``block`` (1-based): the block's input, then its layers."""
        return (self.block_inputs[block - 1], *(self.growth_rate,) * self.block_config[block - 1])

    @cached_property
    def _cut_sources(self) -> dict[tuple[int, int], set[int]]:
        """The sources that are cut off each (block, target)."""
        found: dict[tuple[int, int], set[int]] = {}
        for block, source, target in self.cuts:
            found.setdefault((block, target), set()).add(source)
        return found

    @property
    def num_connections(self) -> int:
        """Connections of the network without cuts: n(n+1)/2 + n+1 in a block of n layers."""
        return sum((n + 1) * (n + 2) // 2 for n in self.block_config)

    def sources(self, block: int, target: int) -> tuple[int, ...]:
        """The source layers that layer ``target`` of ``block`` reads (n+1: what follows the block's n layers)."""
        cut = self._cut_sources.get((block, target), set())
        return tuple(source for source in range(target) if source not in cut)

    def channel_runs(self, block: int, target: int) -> tuple[tuple[int, int], ...]:
        """Where these sources' feature maps lie among the block's: (first, end) of each stretch of channels."""
        if not self.cuts:
            return ((0, self.block_inputs[block - 1] + (target - 1) * self.growth_rate),)
        edges = [0, *accumulate(self.source_channels(block))]
        runs: list[tuple[int, int]] = []
        for source in self.sources(block, target):
            first, end = edges[source], edges[source + 1]
            if runs and runs[-1][1] == first:
                first = runs.pop()[0]
            runs.append((first, end))
        return tuple(runs)

    def input_maps(self, block: int, target: int) -> int:
        """Feature maps that layer ``target`` of ``block`` reads."""
        return sum(end - first for first, end in self.channel_runs(block, target))

    def target_names(self, block: int, target: int) -> tuple[str, str]:
        """The state dict's names of the first weight of layer ``target`` of ``block``, and of the norm before it."""
        if target <= self.block_config[block - 1]:
            name = f"features.denseblock{block}.denselayer{target}"
            return f"{name}.conv1.weight", f"{name}.norm1"
        if block < len(self.block_config):
            return f"features.transition{block}.conv.weight", f"features.transition{block}.norm"
        return "classifier.weight", "features.norm5"

    @property
    def family(self) -> str:
        """DenseNet, DenseNet-B (with bottlenecks), -C (with compression) or -BC."""
        kind = ("B" if self.bottleneck else "") + ("C" if self.compression < 1 else "")
        return f"DenseNet-{kind}" if kind else "DenseNet"

    @property
    def title(self) -> str:
        """The network as the paper writes it, such as "DenseNet-BC (L=100, k=12)"; with cuts, their number."""
        cut = f", {len(self.cuts)} of {self.num_connections} connections cut" if self.cuts else ""
        return f"{self.family} (L={self.depth}, k={self.growth_rate}{cut})"


def check_counts(spec: object, blocks: str, counts: tuple[str, ...]) -> None:
    """Raises ValueError where a field of counts is not whole, or below 1, or ``blocks`` is empty or has such a one."""
    for count in (values := getattr(spec, blocks)):
        if type(count) is not int or count < 1:
            raise ValueError(f"{blocks} {values[:20]} needs whole numbers, 1 or more")
    if not values:
        raise ValueError(f"{blocks} is empty: give one number or more")
    if sum(values) > MOST_LAYERS:
        raise ValueError(f"{blocks} asks for {sum(values):,} layers: at most {MOST_LAYERS:,} are built")
    for field in counts:
        if type(getattr(spec, field)) is not int or getattr(spec, field) < 1:
            raise ValueError(f"{field} {getattr(spec, field)} must be a whole number, 1 or more")


def compressed(num_features: int, compression: float) -> int:
    """Feature maps that a transition makes of ``num_features``: floor(theta * m) (paper, section 3)."""
    return math.floor(round(num_features * compression, 6))  # 0.29 * 100 is 28.999... in binary


def _layers_per_cifar_block(depth: int, bottleneck: bool) -> int:
    step = CIFAR_BLOCKS * (2 if bottleneck else 1)
    offset = CIFAR_BLOCKS + 1
    layers, rest = divmod(depth - offset, step)
    if rest or layers < 1:
        below, above = max(layers, 1), max(layers + 1, 1)
        nearest = " and ".join(str(step * n + offset) for n in sorted({below, above}))
        kind = "with" if bottleneck else "without"
        raise ValueError(f"depth {depth} is not {step}*n+{offset} ({kind} bottleneck): the nearest are {nearest}")
    return layers
