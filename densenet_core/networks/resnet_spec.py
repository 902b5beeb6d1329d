"""What a ResNet is made of: one frozen dataclass and its depth and channel arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from densenet_core.networks.densenet_spec import Stem, check_counts

Block = Literal["basic", "bottleneck"]  # two 3x3 convolutions, or 1x1-3x3-1x1
Shortcut = Literal["projection", "identity", "none"]

# Stage configuration and block of the ImageNet networks (He et al. 2016a, Table 1).
IMAGENET_RESNETS: dict[int, tuple[tuple[int, ...], Block]] = {
    18: ((2, 2, 2, 2), "basic"),
    34: ((3, 4, 6, 3), "basic"),
    50: ((3, 4, 6, 3), "bottleneck"),
    101: ((3, 4, 23, 3), "bottleneck"),
    152: ((3, 8, 36, 3), "bottleneck"),
}
EXPANSION: dict[Block, int] = {"basic": 1, "bottleneck": 4}
CIFAR_STAGES = 3


@dataclass(frozen=True)
class ResNetSpec:
    """The architecture of one residual network (He et al. 2016a, 2016b; Zagoruyko and Komodakis 2016).

    ``ResNetSpec.cifar``, ``ResNetSpec.wide`` and ``ResNetSpec.imagenet`` give the papers' networks; the
    plain constructor gives any other.

    ``survival`` and ``drop_rate`` leave no trace in the tensors: a bare state dict (one without the metadata that
    ``save_checkpoint`` writes) of a network with stochastic depth is read as the plain ResNet, whose scores are other
    ones, for at test time stochastic depth multiplies each block by its chance.
    """

    stage_config: tuple[int, ...]  # residual blocks in each stage; the first stage keeps the resolution
    block: Block = "basic"
    num_init_features: int = 16  # feature maps of the stem; a stage's width is this doubled at each stage
    width_factor: int = 1  # widening of all stages behind the stem (k in Wide ResNets)
    preactivation: bool = False  # BN-ReLU-conv (He et al. 2016b) instead of conv-BN-ReLU
    shortcut: Shortcut = (
        "projection"  # where the width changes; identity: padded with zeros ("option A"); none at all: plain
    )
    num_classes: int = 10
    stem: Stem = "cifar"  # cifar: 3x3; imagenet: 7x7 stride 2, norm, ReLU, 3x3 max pool stride 2
    in_channels: int = 3
    drop_rate: float = 0.0  # dropout between the convolutions of a block (Wide ResNets)
    survival: float = 1.0  # chance that training keeps the last block (p_L); 1: no stochastic depth

    def __post_init__(self) -> None:
        check_counts(self, "stage_config", ("num_init_features", "width_factor", "num_classes", "in_channels"))
        if not 0 <= self.drop_rate < 1:
            raise ValueError(f"drop_rate {self.drop_rate} must be at least 0 and below 1")
        if not 0 < self.survival <= 1:
            raise ValueError(f"survival {self.survival} must be above 0 and at most 1")
        if self.survival < 1 and self.shortcut == "none":
            raise ValueError(f"survival {self.survival} needs shortcuts: without one a dropped block leaves nothing")
        options = {"block": EXPANSION, "shortcut": get_args(Shortcut), "stem": ("cifar", "imagenet")}
        for field, known in options.items():
            if getattr(self, field) not in known:
                raise ValueError(f"{field} {getattr(self, field)!r} is none of {', '.join(known)}")
        if self.preactivation and self.stem == "imagenet":
            raise ValueError("preactivation is for the stem 'cifar': no ImageNet network here has it")

    @classmethod
    def cifar(
        cls,
        depth: int,
        preactivation: bool = False,
        block: Block = "basic",
        num_classes: int = 10,
        in_channels: int = 3,
    ) -> ResNetSpec:
        """A network for small images: three equal stages (He et al. 2016a, section 4.2).

        Depth is 6n+2 with basic blocks, 9n+2 with bottlenecks. With basic blocks the shortcuts are the
        paper's option A, identity padded with zeros; with bottlenecks they are projections, as in He et al. 2016b.

        Raises:
            ValueError: ``depth`` does not divide into three equal stages; the nearest that do are named.
        """
        step = 6 if block == "basic" else 9
        return cls(
            stage_config=(_blocks_per_stage(depth, step, 2),) * CIFAR_STAGES,
            block=block,
            preactivation=preactivation,
            shortcut="identity" if block == "basic" else "projection",
            num_classes=num_classes,
            in_channels=in_channels,
        )

    @classmethod
    def plain(cls, depth: int, num_classes: int = 10, in_channels: int = 3) -> ResNetSpec:
        """The CIFAR ResNet of this depth without its shortcuts: the control of He et al. 2016a, section 4.2.

        Raises:
            ValueError: ``depth`` is not 6n+2; the nearest that are, are named.
        """
        return replace(cls.cifar(depth, num_classes=num_classes, in_channels=in_channels), shortcut="none")

    @classmethod
    def stochastic(cls, depth: int, survival: float = 0.5, num_classes: int = 10, in_channels: int = 3) -> ResNetSpec:
        """The CIFAR ResNet of this depth with stochastic depth: linear decay to ``survival`` (Huang et al. 2016).

        Raises:
            ValueError: ``depth`` is not 6n+2; the nearest that are, are named.
        """
        return replace(cls.cifar(depth, num_classes=num_classes, in_channels=in_channels), survival=survival)

    @classmethod
    def wide(
        cls, depth: int, width_factor: int, num_classes: int = 10, in_channels: int = 3, drop_rate: float = 0.0
    ) -> ResNetSpec:
        """A Wide ResNet: pre-activation basic blocks, all stages ``width_factor`` times as wide.

        Depth is 6n+4: its authors count the three projections as layers.

        Raises:
            ValueError: ``depth`` does not fit; the nearest that do are named.
        """
        return cls(
            stage_config=(_blocks_per_stage(depth, 6, 4),) * CIFAR_STAGES,
            width_factor=width_factor,
            preactivation=True,
            num_classes=num_classes,
            in_channels=in_channels,
            drop_rate=drop_rate,
        )

    @classmethod
    def imagenet(cls, depth: int, num_classes: int = 1000, in_channels: int = 3) -> ResNetSpec:
        """ResNet-18, 34, 50, 101 or 152 for 224x224 images (He et al. 2016a, Table 1).

        Raises:
            ValueError: ``depth`` is none of these.
        """
        if depth not in IMAGENET_RESNETS:
            raise ValueError(f"depth {depth} is none of {', '.join(map(str, IMAGENET_RESNETS))}")
        stage_config, block = IMAGENET_RESNETS[depth]
        return cls(
            stage_config=stage_config,
            block=block,
            num_init_features=64,
            num_classes=num_classes,
            stem="imagenet",
            in_channels=in_channels,
        )

    @property
    def is_wide(self) -> bool:
        return self.width_factor > 1

    @property
    def spatial_dims(self) -> int:
        """Dimensions of the images: 2."""
        return 2

    @property
    def depth(self) -> int:
        """Number of layers with weights on the longest path: 6n+2, 9n+2, ...; a Wide ResNet's own count is 6n+4."""
        per_block = 2 if self.block == "basic" else 3
        return per_block * sum(self.stage_config) + 2 + (2 if self.is_wide else 0)

    @property
    def stage_planes(self) -> tuple[int, ...]:
        """Feature maps of the 3x3 convolutions in each stage."""
        return tuple(self.num_init_features * self.width_factor * 2**s for s in range(len(self.stage_config)))

    @property
    def survivals(self) -> tuple[float, ...]:
        """Chance of each residual block to be kept in a training step: 1 - l/L (1 - p_L) (Huang et al. 2016, eq. 4)."""
        num_blocks = sum(self.stage_config)
        return tuple(1 - block / num_blocks * (1 - self.survival) for block in range(1, num_blocks + 1))

    @property
    def expected_blocks(self) -> float:
        """Residual blocks that a training step keeps on average: 40.25 of ResNet-110's 54 (their section 3)."""
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


def _blocks_per_stage(depth: int, step: int, offset: int) -> int:
    blocks, rest = divmod(depth - offset, step)
    if rest or blocks < 1:
        nearest = " and ".join(str(step * n + offset) for n in sorted({max(blocks, 1), max(blocks + 1, 1)}))
        raise ValueError(f"depth {depth} is not {step}*n+{offset}: the nearest are {nearest}")
    return blocks
