"""The architecture of FractalNets."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from densenet_core.networks.densenet_spec import Stem, check_counts

_PUBLISHED_WIDTHS = (64, 128, 256, 512, 512)
_PUBLISHED_COLUMNS = 3
MAX_COLUMNS = 8  # 128 convolutions in the deepest column of a block


@dataclass(frozen=True)
class FractalNetSpec:
    """The architecture of one FractalNet (Larsson, Maire, Shakhnarovich, ICLR 2017).

    ``FractalNetSpec.published`` gives the paper's 21-layer network for CIFAR and SVHN. A count of it gives 33.7M
    parameters, its authors print 38.6M and do not say how they widen. With ``widens_apart`` a 1x1 convolution in front
    of every block widens the feature maps, and the count is 38.6M; whether theirs did is not known.
    """

    widths: tuple[int, ...]  # feature maps of each block
    num_columns: int  # C in the paper; column c has 2^(c-1) convolutions in a block
    num_classes: int = 10
    in_channels: int = 3
    widens_apart: bool = False  # a 1x1 convolution widens in front of a block, not the block's own first ones
    local_drop: float = 0.15  # chance of an input of a join to be dropped, where paths are dropped locally
    global_share: float = 0.5  # share of training steps in which one column alone is left in the whole network

    def __post_init__(self) -> None:
        check_counts(self, "widths", ("num_columns", "num_classes", "in_channels"))
        if self.num_columns > MAX_COLUMNS:
            raise ValueError(f"num_columns {self.num_columns} must be at most {MAX_COLUMNS}: columns double in depth")
        if not 0 <= self.local_drop < 1:
            raise ValueError(f"local_drop {self.local_drop} must be at least 0 and below 1")
        if not 0 <= self.global_share <= 1:
            raise ValueError(f"global_share {self.global_share} must be from 0 to 1")

    @classmethod
    def published(cls, depth: int, num_classes: int = 10, in_channels: int = 3) -> FractalNetSpec:
        """The network of five blocks of three columns, 21 layers deep.

        Raises:
            ValueError: another depth.
        """
        spec = cls(_PUBLISHED_WIDTHS, _PUBLISHED_COLUMNS, num_classes, in_channels)
        if depth != spec.depth:
            raise ValueError(
                f"depth {depth} is not {spec.depth}: "
                "others are named fractalnet-BLOCKS-COLUMNS-WIDTH, as fractalnet-3-3-8"
            )
        return spec

    @classmethod
    def small(
        cls, num_blocks: int, num_columns: int, width: int, num_classes: int = 10, in_channels: int = 3
    ) -> FractalNetSpec:
        """Blocks of ``width``, twice, four times as many feature maps and so on."""
        return cls(tuple(width * 2**block for block in range(num_blocks)), num_columns, num_classes, in_channels)

    @property
    def rows(self) -> int:
        """Convolutions of the deepest column in a block: 2^(C-1)."""
        return 1 << (self.num_columns - 1)

    def ending(self, row: int) -> tuple[int, ...]:
        """The columns with a convolution that ends at ``row`` (1..rows) of a block, the deepest first."""
        return tuple(c for c in range(self.num_columns, 0, -1) if row % self.span(c) == 0)

    def span(self, column: int) -> int:
        """Rows that one convolution of ``column`` (1..C) spans: 1 in the deepest, all in the first."""
        return 1 << (self.num_columns - column)

    @property
    def block_inputs(self) -> tuple[int, ...]:
        """Feature maps that enter each block, behind its widening where it stands apart."""
        return self.widths if self.widens_apart else (self.in_channels, *self.widths[:-1])

    @property
    def widenings(self) -> dict[int, tuple[int, int]]:
        """The 1x1 convolutions: block (1-based) -> feature maps before and behind; none where blocks widen."""
        steps = enumerate(pairwise((self.in_channels, *self.widths)), start=1)
        return {block: step for block, step in steps if self.widens_apart and step[0] != step[1]}

    @property
    def spatial_dims(self) -> int:
        """Dimensions of the images: 2."""
        return 2

    @property
    def depth(self) -> int:
        """Layers with weights of the deepest column."""
        return self.rows * len(self.widths) + len(self.widenings) + 1

    @property
    def stem(self) -> Stem:
        """cifar: there is no stem that reduces the image."""
        return "cifar"

    @property
    def family(self) -> str:
        return "FractalNet"

    @property
    def title(self) -> str:
        """Such as "FractalNet-21 (3 columns, 64-128-256-512-512)"."""
        return f"FractalNet-{self.depth} ({self.num_columns} columns, {'-'.join(map(str, self.widths))})"
