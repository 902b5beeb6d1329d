"""FractalNet: parallel columns of different depths, joined by their mean, without residual connections."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core.networks.network import Network
from densenet_core.networks.relatives.fractalnet_spec import FractalNetSpec

Join = Callable[[list[Tensor], list[int]], Tensor]  # (outputs of the columns, their numbers) -> joined output


class ConvUnit(nn.Module):
    """Conv-BN-ReLU: (N, in_maps, H, W) -> (N, out_maps, H, W)"""

    def __init__(self, in_maps: int, out_maps: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_maps, out_maps, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out_maps)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class FractalBlock(nn.Module):
    """The fractal f_C: f_1 is a convolution, and f_{C+1}(z) joins f_C(f_C(z)) with a convolution of z (section 2).

    Consecutive joins are merged into one.

    Shape: (N, in_maps, H, W) -> (N, out_maps, H, W)
    """

    def __init__(self, spec: FractalNetSpec, in_maps: int, out_maps: int) -> None:
        super().__init__()
        self.spec = spec
        for column in range(1, spec.num_columns + 1):
            units = [ConvUnit(in_maps if n == 0 else out_maps, out_maps) for n in range(spec.rows // spec.span(column))]
            self.add_module(f"column{column}", nn.ModuleList(units))

    def forward(self, x: Tensor, join: Join) -> Tensor:
        inputs = dict.fromkeys(range(1, self.spec.num_columns + 1), x)  # the input of each column's next convolution
        for row in range(1, self.spec.rows + 1):
            ending = list(self.spec.columns_ending_at(row))
            units = [getattr(self, f"column{c}")[row // self.spec.span(c) - 1] for c in ending]
            joined = join([unit(inputs[c]) for c, unit in zip(ending, units, strict=True)], ending)
            inputs |= dict.fromkeys(ending, joined)
        return joined

    def forward_column(self, x: Tensor, column: int) -> Tensor:
        """Return the output of one column, without joins."""
        for unit in getattr(self, f"column{column}"):
            x = unit(x)
        return x


class FractalNet(Network):
    """A FractalNet (Larsson, Maire, Shakhnarovich, ICLR 2017): fractal blocks, each followed by a 2x2 max pooling.

    Shape: (N, in_channels, H, W) -> (N, num_classes), unnormalized scores.

    Training drops paths, drawn once a batch (section 3). Global drop-path keeps a single column in all blocks; local
    drop-path drops inputs of each join at random, but never all of them. Dropped paths are still computed, so that
    every weight has a gradient on every rank.
    """

    spec: FractalNetSpec

    def __init__(self, spec: FractalNetSpec) -> None:
        super().__init__()
        self.spec = spec
        for block, (before, after) in spec.widenings.items():
            self.add_module(f"widen{block}", ConvUnit(before, after, kernel=1))
        for block, (in_maps, width) in enumerate(zip(spec.block_inputs, spec.widths, strict=True), start=1):
            self.add_module(f"block{block}", FractalBlock(spec, in_maps, width))
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(spec.widths[-1], spec.num_classes)
        self._initialize()

    def forward(self, x: Tensor) -> Tensor:
        join = self._draw_join() if self.training else _average
        return self._forward_blocks(x, lambda block, maps: block(maps, join))

    def forward_column(self, x: Tensor, column: int) -> Tensor:
        """Return the scores of one column as a plain network; column 1 is the shallowest, C the deepest."""
        return self._forward_blocks(x, lambda block, maps: block.forward_column(maps, column))

    def _forward_blocks(self, x: Tensor, run: Callable[[FractalBlock, Tensor], Tensor]) -> Tensor:
        for b in range(1, len(self.spec.widths) + 1):
            if b in self.spec.widenings:
                x = getattr(self, f"widen{b}")(x)
            x = self.pool(run(getattr(self, f"block{b}"), x))
        scores: Tensor = self.fc(x.mean((2, 3)))  # a single pixel for 32x32 images and five blocks
        return scores

    def _draw_join(self) -> Join:
        """Draw the drop-path of one training step, and return the join that applies it."""
        if torch.rand(()).item() < self.spec.global_share:
            kept_column = int(torch.randint(self.spec.num_columns, ()).item()) + 1
            return lambda inputs, columns: _average_kept(inputs, [column == kept_column for column in columns])
        return lambda inputs, columns: _average_kept(inputs, self._draw_kept(len(inputs)))

    def _draw_kept(self, num_inputs: int) -> list[bool]:
        """Draw which inputs of a join local drop-path keeps: at least one."""
        kept: list[bool] = (torch.rand(num_inputs) >= self.spec.local_drop).tolist()
        if not any(kept):
            kept[int(torch.randint(num_inputs, ()).item())] = True
        return kept

    def _initialize(self) -> None:
        if self.fc.weight.is_meta:
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)


class SingleColumn(nn.Module):
    """One column of a trained FractalNet as a network, for evaluation ("deepest column" in Table 1 of the paper).

    >>> import torch
    >>> from densenet_core import create_model
    >>> column = SingleColumn(create_model("fractalnet-2-2-8"), 1)
    >>> column(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])

    Raises:
        ValueError: The network has no such column.
    """

    def __init__(self, network: FractalNet, column: int) -> None:
        super().__init__()
        if not 1 <= column <= network.spec.num_columns:
            raise ValueError(f"column {column} must be from 1 to {network.spec.num_columns}")
        self.network, self.column = network, column

    def forward(self, x: Tensor) -> Tensor:
        return self.network.forward_column(x, self.column)


def _average(inputs: list[Tensor], columns: list[int]) -> Tensor:
    return _average_kept(inputs, [True] * len(inputs))


def _average_kept(inputs: list[Tensor], kept: list[bool]) -> Tensor:
    """Return the mean of the kept inputs, or of all inputs if none is kept: no kept column reads such a join."""
    if len(inputs) == 1:
        return inputs[0]
    shares = [float(k) / sum(kept) for k in kept] if any(kept) else [1 / len(kept)] * len(kept)
    weighted = [share * x for share, x in zip(shares, inputs, strict=True)]
    return sum(weighted[1:], start=weighted[0])
