"""FractalNet: columns of different depths side by side, joined by their mean, without residuals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core.spec import Stem, check_counts

_PUBLISHED_WIDTHS = (64, 128, 256, 512, 512)
_PUBLISHED_COLUMNS = 3
Join = Callable[[list[Tensor], list[int]], Tensor]  # of the joined columns' outputs and their numbers


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


class ConvUnit(nn.Module):
    """Conv-BN-ReLU. (N, in_maps, H, W) -> (N, out_maps, H, W)"""

    def __init__(self, in_maps: int, out_maps: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_maps, out_maps, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out_maps)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class FractalBlock(nn.Module):
    """f_C: f_1 is a convolution, f_{C+1}(z) the join of f_C(f_C(z)) and a convolution of z (section 2).

    Joins that follow each other are one. (N, in_maps, H, W) -> (N, out_maps, H, W)
    """

    def __init__(self, spec: FractalNetSpec, in_maps: int, out_maps: int) -> None:
        super().__init__()
        self.spec = spec
        for column in range(1, spec.num_columns + 1):
            units = [ConvUnit(in_maps if n == 0 else out_maps, out_maps) for n in range(spec.rows // spec.span(column))]
            self.add_module(f"column{column}", nn.ModuleList(units))

    def forward(self, x: Tensor, join: Join) -> Tensor:
        inputs = dict.fromkeys(range(1, self.spec.num_columns + 1), x)  # of each column's next convolution
        for row in range(1, self.spec.rows + 1):
            ending = list(self.spec.ending(row))
            units = [getattr(self, f"column{c}")[row // self.spec.span(c) - 1] for c in ending]
            joined = join([unit(inputs[c]) for c, unit in zip(ending, units, strict=True)], ending)
            inputs |= dict.fromkeys(ending, joined)
        return joined

    def forward_column(self, x: Tensor, column: int) -> Tensor:
        """One column alone."""
        for unit in getattr(self, f"column{column}"):
            x = unit(x)
        return x


class FractalNet(nn.Module):
    """A FractalNet: fractal blocks, each with a 2x2 max pooling behind it.

    (N, in_channels, H, W) -> (N, num_classes), unnormalised scores. Training drops paths (section 3), drawn once for
    all images of a batch: in a share of the steps one column alone is left in all blocks (global), else every join
    loses each of its inputs with a small chance, but never all (local). What is dropped is computed all the same, so
    that every weight has a gradient in every process of a training.
    """

    def __init__(self, spec: FractalNetSpec) -> None:
        super().__init__()
        self.spec = spec
        for block, (before, behind) in spec.widenings.items():
            self.add_module(f"widen{block}", ConvUnit(before, behind, kernel=1))
        for block, (in_maps, width) in enumerate(zip(spec.block_inputs, spec.widths, strict=True), start=1):
            self.add_module(f"block{block}", FractalBlock(spec, in_maps, width))
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(spec.widths[-1], spec.num_classes)
        self._initialise()

    def forward(self, x: Tensor) -> Tensor:
        join = self._dropping_join() if self.training else _mean
        return self._through(x, lambda block, maps: block(maps, join))

    def forward_column(self, x: Tensor, column: int) -> Tensor:
        """The scores of one column alone, 1 (the shallowest) to C: a plain network."""
        return self._through(x, lambda block, maps: block.forward_column(maps, column))

    def _through(self, x: Tensor, run: Callable[[FractalBlock, Tensor], Tensor]) -> Tensor:
        for b in range(1, len(self.spec.widths) + 1):
            if b in self.spec.widenings:
                x = getattr(self, f"widen{b}")(x)
            x = self.pool(run(getattr(self, f"block{b}"), x))
        scores: Tensor = self.fc(x.mean((2, 3)))  # of 32 x 32 pixels and five blocks one is left
        return scores

    def _dropping_join(self) -> Join:
        """How this training step joins."""
        if torch.rand(()).item() < self.spec.global_share:
            left = int(torch.randint(self.spec.num_columns, ()).item()) + 1
            return lambda inputs, columns: _mean_of_kept(inputs, [column == left for column in columns])
        return lambda inputs, columns: _mean_of_kept(inputs, self._locally_kept(len(inputs)))

    def _locally_kept(self, num_inputs: int) -> list[bool]:
        kept: list[bool] = (torch.rand(num_inputs) >= self.spec.local_drop).tolist()
        if not any(kept):
            kept[int(torch.randint(num_inputs, ()).item())] = True
        return kept

    def _initialise(self) -> None:
        if self.fc.weight.is_meta:
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)


class SingleColumn(nn.Module):
    """One column of a trained FractalNet as a network of its own, for evaluation (their Table 1, "deepest column")."""

    def __init__(self, network: FractalNet, column: int) -> None:
        super().__init__()
        if not 1 <= column <= network.spec.num_columns:
            raise ValueError(f"column {column} is none of 1 to {network.spec.num_columns}")
        self.network, self.column = network, column

    def forward(self, x: Tensor) -> Tensor:
        return self.network.forward_column(x, self.column)


def _mean(inputs: list[Tensor], columns: list[int]) -> Tensor:
    return _mean_of_kept(inputs, [True] * len(inputs))


def _mean_of_kept(inputs: list[Tensor], kept: list[bool]) -> Tensor:
    """The mean of the kept inputs; the plain one of a join without any, whose output the kept column does not read."""
    if len(inputs) == 1:
        return inputs[0]
    shares = [float(k) / sum(kept) for k in kept] if any(kept) else [1 / len(kept)] * len(kept)
    weighted = [share * x for share, x in zip(shares, inputs, strict=True)]
    return sum(weighted[1:], start=weighted[0])
