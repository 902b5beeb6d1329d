"""The architecture of ResNets: one frozen dataclass with its depth and channel arithmetic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Literal, get_args

from densenet_core.networks.layers import LayerWalk
from densenet_core.networks.paths import PathGraph
from densenet_core.networks.resnet_layers import EXPANSION, Block, add_resnet_layers, resnet_paths
from densenet_core.networks.spec import (
    DirectRead,
    Spec,
    Stem,
    check_counts,
    check_no_dropout,
    check_num_layers,
    check_probability,
    layers_from_depth,
    target_kind,
)

Shortcut = Literal["projection", "identity", "none"]

# Stage configuration and block of the ImageNet networks (He et al. 2016a, Table 1).
IMAGENET_RESNETS: dict[int, tuple[tuple[int, ...], Block]] = {
    18: ((2, 2, 2, 2), "basic"),
    34: ((3, 4, 6, 3), "basic"),
    50: ((3, 4, 6, 3), "bottleneck"),
    101: ((3, 4, 23, 3), "bottleneck"),
    152: ((3, 8, 36, 3), "bottleneck"),
}
CIFAR_STAGES = 3


@dataclass(frozen=True)
class ResNetSpec(Spec):
    """The architecture of one residual network (He et al. 2016a, 2016b; Zagoruyko and Komodakis 2016).

    ``ResNetSpec.cifar``, ``ResNetSpec.wide`` and ``ResNetSpec.imagenet`` return the papers' networks; the
    constructor makes any other.

    ``survival`` and ``drop_rate`` leave no trace in the tensors. A bare state dict (one without the metadata that
    ``save_checkpoint`` writes) of a network with stochastic depth is therefore read as the usual ResNet, and its scores
    differ: at test time, stochastic depth multiplies each block by its probability.

    >>> ResNetSpec.cifar(110).title, ResNetSpec.wide(28, 10).stage_planes
    ('ResNet-110', (160, 320, 640))

    Raises:
        ValueError: A field is out of range, or two fields contradict each other.
    """

    stage_config: tuple[int, ...]  # residual blocks in each stage; the first stage keeps the resolution
    block: Block = "basic"
    num_init_features: int = 16  # feature maps of the stem; a stage's width is this doubled at each stage
    width_factor: int = 1  # widening of all stages after the stem (k in Wide ResNets)
    preactivation: bool = False  # BN-ReLU-conv (He et al. 2016b) instead of conv-BN-ReLU
    # Where the width changes: a 1x1 convolution, or padding with zeros ("option A"); none: a plain network.
    shortcut: Shortcut = "projection"
    num_classes: int = 10
    stem: Stem = "cifar"  # cifar: 3x3; imagenet: 7x7 stride 2, norm, ReLU, 3x3 max pool stride 2
    in_channels: int = 3
    drop_rate: float = 0.0  # dropout between the convolutions of a block (Wide ResNets)
    survival: float = 1.0  # probability that training keeps the last block (p_L); 1: no stochastic depth

    EXAMPLES: ClassVar = (
        *(f"resnet-{depth}" for depth in (20, 32, 44, 56, 110, 1202)),
        "preact-resnet-164",
        "preact-resnet-1001",
        "wrn-16-4",
        "wrn-16-8",
        "wrn-28-10",
        *(f"resnet{depth}" for depth in IMAGENET_RESNETS),
        "plain-20",
        "plain-56",
        "plain-110",
        "resnet-sd-110",
        "resnet-sd-1202",
    )
    PATTERNS: ClassVar = (
        "resnet-DEPTH",
        "preact-resnet-DEPTH",
        "wrn-DEPTH-WIDTH",
        "resnet50",
        "plain-DEPTH",
        "resnet-sd-DEPTH",
    )
    HAS_PUBLIC_NAMES: ClassVar = True

    def __post_init__(self) -> None:
        check_counts(self, "stage_config", "num_init_features", "width_factor", "num_classes", "in_channels")
        check_num_layers("stage_config", sum(self.stage_config))
        check_probability("drop_rate", self.drop_rate)
        if not 0 < self.survival <= 1:
            raise ValueError(f"survival {self.survival} must be above 0 and at most 1")
        if self.survival < 1 and self.shortcut == "none":
            raise ValueError(f"survival {self.survival} needs shortcuts: a dropped block leaves only its shortcut")
        options = {"block": EXPANSION, "shortcut": get_args(Shortcut), "stem": ("cifar", "imagenet")}
        for field, known in options.items():
            if getattr(self, field) not in known:
                raise ValueError(f"{field} {getattr(self, field)!r} is unknown: choose one of {', '.join(known)}")
        if self.preactivation and self.stem == "imagenet":
            raise ValueError("preactivation needs the stem 'cifar': no ImageNet network here has it")

    @classmethod
    def cifar(
        cls,
        depth: int,
        preactivation: bool = False,
        block: Block = "basic",
        num_classes: int = 10,
        in_channels: int = 3,
    ) -> ResNetSpec:
        """Return a network for small images: three equal stages (He et al. 2016a, section 4.2).

        Depth is 6n+2 with basic blocks, 9n+2 with bottlenecks. With basic blocks the shortcuts are the
        paper's option A, identity padded with zeros; with bottlenecks they are projections, as in He et al. 2016b.

        Raises:
            ValueError: ``depth`` does not divide into three equal stages; the nearest depths that do are named.
        """
        return cls(
            stage_config=(layers_from_depth(depth, 6 if block == "basic" else 9, 2),) * CIFAR_STAGES,
            block=block,
            preactivation=preactivation,
            shortcut="identity" if block == "basic" else "projection",
            num_classes=num_classes,
            in_channels=in_channels,
        )

    @classmethod
    def plain(cls, depth: int, num_classes: int = 10, in_channels: int = 3) -> ResNetSpec:
        """Return the CIFAR ResNet of this depth without its shortcuts: the control of He et al. 2016a, section 4.2.

        Raises:
            ValueError: ``depth`` is not 6n+2; the nearest depths that are, are named.
        """
        return replace(cls.cifar(depth, num_classes=num_classes, in_channels=in_channels), shortcut="none")

    @classmethod
    def stochastic(cls, depth: int, survival: float = 0.5, num_classes: int = 10, in_channels: int = 3) -> ResNetSpec:
        """Return the CIFAR ResNet of this depth with stochastic depth, decaying to ``survival`` (Huang et al. 2016).

        Raises:
            ValueError: ``depth`` is not 6n+2; the nearest depths that are, are named.
        """
        return replace(cls.cifar(depth, num_classes=num_classes, in_channels=in_channels), survival=survival)

    @classmethod
    def wide(
        cls, depth: int, width_factor: int, num_classes: int = 10, in_channels: int = 3, drop_rate: float = 0.0
    ) -> ResNetSpec:
        """Return a Wide ResNet: pre-activation basic blocks, all stages ``width_factor`` times as wide.

        Depth is 6n+4: its authors count the three projections as layers.

        Raises:
            ValueError: ``depth`` is another one; the nearest depths are named.
        """
        return cls(
            stage_config=(layers_from_depth(depth, 6, 4),) * CIFAR_STAGES,
            width_factor=width_factor,
            preactivation=True,
            num_classes=num_classes,
            in_channels=in_channels,
            drop_rate=drop_rate,
        )

    @classmethod
    def imagenet(cls, depth: int, num_classes: int = 1000, in_channels: int = 3) -> ResNetSpec:
        """Return ResNet-18, 34, 50, 101 or 152 for 224x224 images (He et al. 2016a, Table 1).

        Raises:
            ValueError: ``depth`` is another one.
        """
        if depth not in IMAGENET_RESNETS:
            raise ValueError(f"depth {depth} is unknown: choose one of {', '.join(map(str, IMAGENET_RESNETS))}")
        stage_config, block = IMAGENET_RESNETS[depth]
        return cls(
            stage_config=stage_config,
            block=block,
            num_init_features=64,
            num_classes=num_classes,
            stem="imagenet",
            in_channels=in_channels,
        )

    @classmethod
    def parse(cls, name: str, num_classes: int, in_channels: int, drop_rate: float) -> ResNetSpec | None:
        """Return the spec of ``resnet-110`` and its kin.

        ``preact-resnet-164`` has bottlenecks where the depth is 9n+2, ``wrn-28-10`` a depth and a width factor,
        ``plain-110`` no shortcuts, ``resnet-sd-110`` stochastic depth; ``resnet50`` is for ImageNet.
        """
        sizes = num_classes, in_channels
        if match := re.fullmatch(r"wrn-(\d{1,4})-(\d{1,2})", name):
            return cls.wide(int(match[1]), int(match[2]), *sizes, drop_rate)
        match = re.fullmatch(r"(preact-resnet-|plain-|resnet-sd-|resnet-|resnet(?=[1-9]))(\d{1,4})", name)
        if not match or (match[1] == "resnet" and int(match[2]) not in IMAGENET_RESNETS):
            return None
        check_no_dropout(name, drop_rate)
        kind, depth = match[1].rstrip("-"), int(match[2])
        if kind == "preact-resnet":
            return cls.cifar(depth, True, "bottleneck" if (depth - 2) % 9 == 0 else "basic", *sizes)
        if kind == "plain":
            return cls.plain(depth, *sizes)
        if kind == "resnet-sd":
            return cls.stochastic(depth, num_classes=num_classes, in_channels=in_channels)
        if match[1] == "resnet-":
            return cls.cifar(depth, num_classes=num_classes, in_channels=in_channels)
        return cls.imagenet(depth, *sizes)

    @property
    def is_wide(self) -> bool:
        return self.width_factor > 1

    @property
    def depth(self) -> int:
        """The number of layers with weights on the longest path: 6n+2, 9n+2, ...; for a Wide ResNet 6n+4."""
        return self.layers_per_block * sum(self.stage_config) + 2 + (2 if self.is_wide else 0)

    @property
    def layers_per_block(self) -> int:
        """The number of convolutions in a residual block, without its shortcut."""
        return 2 if self.block == "basic" else 3

    @property
    def stage_planes(self) -> tuple[int, ...]:
        """The number of feature maps of the 3x3 convolutions in each stage."""
        return tuple(self.num_init_features * self.width_factor * 2**s for s in range(len(self.stage_config)))

    def block_ends(self) -> dict[str, int]:
        return {f"layer{s}": planes * EXPANSION[self.block] for s, planes in enumerate(self.stage_planes, start=1)}

    @property
    def survivals(self) -> tuple[float, ...]:
        """The probability that a training step keeps each block: 1 - l/L (1 - p_L) (Huang et al. 2016, eq. 4)."""
        num_blocks = sum(self.stage_config)
        return tuple(1 - block / num_blocks * (1 - self.survival) for block in range(1, num_blocks + 1))

    @property
    def expected_blocks(self) -> float:
        """The mean number of blocks that a training step keeps: 40.25 of ResNet-110's 54 (their section 3)."""
        return sum(self.survivals)

    @property
    def family(self) -> str:
        """ResNet, ResNet (pre-activation), ResNet with stochastic depth, Wide ResNet or Plain network."""
        if self.shortcut == "none":
            return "Plain network"
        if self.survival < 1:
            return "ResNet with stochastic depth"
        if self.is_wide:
            return "Wide ResNet"
        return "ResNet (pre-activation)" if self.preactivation else "ResNet"

    @property
    def title(self) -> str:
        """The network as papers write it, such as "ResNet-110" or "Wide ResNet-28-10"."""
        if self.shortcut == "none":
            return f"Plain-{self.depth}"
        if self.is_wide:
            title = f"Wide ResNet-{self.depth}-{self.width_factor}"
        else:
            title = f"ResNet-{self.depth}" + (" (pre-activation)" if self.preactivation else "")
        return title + (" with stochastic depth" if self.survival < 1 else "")

    @property
    def sample_layer(self) -> str:
        """The last block of the first stage, which needs no projection."""
        return f"layer1.{self.stage_config[0] - 1}"

    def add_layers(self, walk: LayerWalk) -> None:
        add_resnet_layers(self, walk)

    def paths(self) -> PathGraph:
        return resnet_paths(self)

    def direct_reads(self) -> Iterator[DirectRead]:
        """Yield the probability that all blocks between two are dropped: the product of each one's 1 - p.

        Without stochastic depth it is 1 for neighbors and 0 for all others (Huang et al. 2016).
        """
        survivals = iter(self.survivals)
        for stage, num_blocks in enumerate(self.stage_config, start=1):
            dropped = [1 - next(survivals) for _ in range(num_blocks)]  # of the stage's blocks 1, 2, ...
            for target in range(1, num_blocks + 2):
                kind = target_kind(self.stage_config, stage, target)
                for source in range(target):
                    yield DirectRead(stage, source, target, kind, float(prod(dropped[source : target - 1])))
