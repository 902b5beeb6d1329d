"""The architecture of FractalNets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from densenet_core.networks.layers import LayerWalk
from densenet_core.networks.paths import PathGraph
from densenet_core.networks.spec import Spec, check_counts, check_no_dropout, check_num_layers, check_probability

_PUBLISHED_WIDTHS = (64, 128, 256, 512, 512)
_PUBLISHED_COLUMNS = 3
_MAX_COLUMNS = 12  # a block of C columns has 2^C - 1 convolutions


@dataclass(frozen=True)
class FractalNetSpec(Spec):
    """The architecture of one FractalNet (Larsson, Maire, Shakhnarovich, ICLR 2017).

    ``FractalNetSpec.published`` makes the paper's 21-layer network for CIFAR and SVHN. It has 33.7M parameters; the
    paper reports 38.6M, without saying how the width increases. With ``widens_apart``, a 1x1 convolution before every
    block increases it, and the count is 38.6M; whether the authors did so is not known.

    >>> FractalNetSpec.small(3, 2, 8).title
    'FractalNet-7 (2 columns, 8-16-32)'

    Raises:
        ValueError: A field is out of range.
    """

    widths: tuple[int, ...]  # feature maps of each block
    num_columns: int  # C in the paper; column c has 2^(c-1) convolutions in a block
    num_classes: int = 10
    in_channels: int = 3
    widens_apart: bool = False  # a 1x1 convolution before each block increases the width, not its first ones
    local_drop: float = 0.15  # probability that a join drops one of its inputs, in steps with local drop-path
    global_share: float = 0.5  # fraction of training steps that keep a single column (global drop-path)

    EXAMPLES: ClassVar = ("fractalnet-21",)
    PATTERNS: ClassVar = ("fractalnet-21", "fractalnet-BLOCKS-COLUMNS-WIDTH")

    def __post_init__(self) -> None:
        check_counts(self, "widths", "num_columns", "num_classes", "in_channels")
        if self.num_columns > _MAX_COLUMNS:
            raise ValueError(f"num_columns {self.num_columns} must be at most {_MAX_COLUMNS}")
        check_num_layers("widths with num_columns", len(self.widths) * self.rows)
        check_probability("local_drop", self.local_drop)
        if not 0 <= self.global_share <= 1:
            raise ValueError(f"global_share {self.global_share} must be from 0 to 1")

    @classmethod
    def published(cls, depth: int, num_classes: int = 10, in_channels: int = 3) -> FractalNetSpec:
        """Return the network of five blocks of three columns, 21 layers deep.

        Raises:
            ValueError: ``depth`` is not 21.
        """
        spec = cls(_PUBLISHED_WIDTHS, _PUBLISHED_COLUMNS, num_classes, in_channels)
        if depth != spec.depth:
            raise ValueError(
                f"depth {depth} is not {spec.depth}, the published one: "
                "for others use fractalnet-BLOCKS-COLUMNS-WIDTH, such as fractalnet-3-3-8"
            )
        return spec

    @classmethod
    def small(
        cls, num_blocks: int, num_columns: int, width: int, num_classes: int = 10, in_channels: int = 3
    ) -> FractalNetSpec:
        """Return a network whose first block has ``width`` feature maps, and each further one twice as many."""
        return cls(tuple(width * 2**block for block in range(num_blocks)), num_columns, num_classes, in_channels)

    @classmethod
    def parse(cls, name: str, num_classes: int, in_channels: int, drop_rate: float) -> FractalNetSpec | None:
        """Return the spec of ``fractalnet-21``, or ``fractalnet-3-3-8``: blocks, columns, first width."""
        match = re.fullmatch(r"fractalnet-(?:(\d{1,3})|(\d)-(\d)-(\d{1,4}))", name)
        if not match:
            return None
        check_no_dropout(name, drop_rate)
        if match[1]:
            return cls.published(int(match[1]), num_classes, in_channels)
        return cls.small(int(match[2]), int(match[3]), int(match[4]), num_classes, in_channels)

    @property
    def rows(self) -> int:
        """The number of convolutions of the deepest column in a block: 2^(C-1)."""
        return 1 << (self.num_columns - 1)

    def columns_ending_at(self, row: int) -> tuple[int, ...]:
        """Return the columns with a convolution that ends at ``row`` (1..rows) of a block, the deepest first."""
        return tuple(c for c in range(self.num_columns, 0, -1) if row % self.span(c) == 0)

    def span(self, column: int) -> int:
        """Return the rows that one convolution of ``column`` (1..C) spans: 1 in the deepest, all in the first."""
        return 1 << (self.num_columns - column)

    @property
    def block_inputs(self) -> tuple[int, ...]:
        """The number of feature maps that enter each block, after its 1x1 convolution if there is one."""
        return self.widths if self.widens_apart else (self.in_channels, *self.widths[:-1])

    @property
    def widenings(self) -> dict[int, tuple[int, int]]:
        """The 1x1 convolutions, by block (1-based): feature maps before and after; empty unless ``widens_apart``."""
        steps = enumerate(pairwise((self.in_channels, *self.widths)), start=1)
        return {block: step for block, step in steps if self.widens_apart and step[0] != step[1]}

    @property
    def depth(self) -> int:
        """The number of layers with weights in the deepest column."""
        return self.rows * len(self.widths) + len(self.widenings) + 1

    def block_ends(self) -> dict[str, int]:
        return {f"block{b}": width for b, width in enumerate(self.widths, start=1)}

    @property
    def sample_layer(self) -> str:
        """A convolution of the deepest column, with its norm and ReLU."""
        return f"block1.column{self.num_columns}.0"

    @property
    def family(self) -> str:
        return "FractalNet"

    @property
    def title(self) -> str:
        """Such as "FractalNet-21 (3 columns, 64-128-256-512-512)"."""
        return f"FractalNet-{self.depth} ({self.num_columns} columns, {'-'.join(map(str, self.widths))})"

    def add_layers(self, walk: LayerWalk) -> None:
        for b, width in enumerate(self.widths, start=1):
            walk.stage = f"block{b}"
            if b in self.widenings:
                _add_conv_unit(walk, f"widen{b}", width, kernel=1)
            self._add_block(walk, b, width)
            walk.add(f"block{b}.pool", "max_pool", kernel=2, stride=2)
        walk.add_head(None, "fc", self.num_classes)

    def _add_block(self, walk: LayerWalk, block: int, width: int) -> None:
        inputs = dict.fromkeys(range(1, self.num_columns + 1), walk.maps)  # maps that each column reads next
        for row in range(1, self.rows + 1):
            ending = self.columns_ending_at(row)
            for column in ending:  # the deepest first: only this one is on the longest path
                walk.maps = inputs[column]
                _add_conv_unit(walk, self._unit_name(block, column, row), width)
                if column < self.num_columns:
                    walk.layers[-3] = walk.layers[-3]._replace(is_branch=True)
            if len(ending) > 1:
                walk.maps = len(ending) * width
                walk.add(f"block{block}.join{row}", "join", width)
            inputs |= dict.fromkeys(ending, width)

    def _unit_name(self, block: int, column: int, row: int) -> str:
        """Return the name of the convolution of ``column`` that ends at ``row``."""
        return f"block{block}.column{column}.{row // self.span(column) - 1}"

    def paths(self) -> PathGraph:
        """Return the graph, whose nodes are convolutions and joins, which have no weights. There is no stem."""
        graph = PathGraph(length=0)
        for b in range(1, len(self.widths) + 1):
            stage = f"block{b}"
            if b in self.widenings:
                graph.add(f"widen{b}", stage, 1, [graph.last])
            inputs = dict.fromkeys(range(1, self.num_columns + 1), graph.last)  # the node that each column reads next
            for row in range(1, self.rows + 1):
                ending = self.columns_ending_at(row)
                ends = [graph.add(self._unit_name(b, c, row), stage, 1, [inputs[c]]) for c in ending]
                inputs |= dict.fromkeys(ending, graph.add(f"{stage}.join{row}", stage, 0, ends))
        graph.add_classifier()
        return graph


def _add_conv_unit(walk: LayerWalk, name: str, maps: int, kernel: int = 3) -> None:
    walk.add(f"{name}.conv", "conv", maps, kernel)
    walk.add_norm_relu(f"{name}.norm", f"{name}.relu")
