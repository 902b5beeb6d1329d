"""FractalNet: columns of different depths side by side, joined by their mean, without residuals."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core.networks.network import Network
from densenet_core.networks.relatives.fractalnet_spec import FractalNetSpec

Join = Callable[[list[Tensor], list[int]], Tensor]  # of the joined columns' outputs and their numbers


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


class FractalNet(Network):
    """A FractalNet: fractal blocks, each with a 2x2 max pooling behind it.

    (N, in_channels, H, W) -> (N, num_classes), unnormalised scores. Training drops paths (section 3), drawn once for
    all images of a batch: in a share of the steps one column alone is left in all blocks (global), else every join
    loses each of its inputs with a small chance, but never all (local). What is dropped is computed all the same, so
    that every weight has a gradient in every process of a training.
    """

    spec: FractalNetSpec

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
    """One column of a trained FractalNet as a network of its own, for evaluation (their Table 1, "deepest column").

    >>> import torch
    >>> from densenet_core import create_model
    >>> column = SingleColumn(create_model("fractalnet-2-2-8"), 1)
    >>> column(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

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
