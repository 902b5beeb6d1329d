"""A DenseNet as somebody else would have written it: own names, either order of concatenation, and oddities."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Unit(nn.Module):
    """One dense layer."""

    def __init__(self, width: int, growth: int, groups: int = 1, gated: bool = False, bias: bool = False) -> None:
        super().__init__()
        self.pre = nn.BatchNorm2d(width)
        self.squeeze = nn.Conv2d(width, 4 * growth, 1, bias=bias)
        self.mid = nn.BatchNorm2d(4 * growth)
        self.expand = nn.Conv2d(4 * growth, growth, 3, padding=1, groups=groups, bias=bias)
        self.gate = nn.Sequential(nn.Conv2d(growth, 2, 1), nn.ReLU(), nn.Conv2d(2, growth, 1)) if gated else None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.expand(F.relu(self.mid(self.squeeze(F.relu(self.pre(x))))))
        return y if self.gate is None else y * self.gate(y.mean((2, 3), keepdim=True)).sigmoid()


class ForeignDenseNet(nn.Module):
    """Blocks of ``growths[b]`` feature maps a layer, with transitions to ``kept[b]``."""

    def __init__(
        self,
        layers: tuple[int, ...] = (3, 2),
        growths: tuple[int, ...] = (4, 4),
        kept: tuple[int, ...] = (10,),
        new_first: bool = False,
        heads: int = 1,
        **options: int,
    ) -> None:
        super().__init__()
        self.new_first = new_first
        self.entry = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        width, self.stages, self.shrinks = 8, nn.ModuleList(), nn.ModuleList()
        for number, growth in zip(layers, growths, strict=True):
            stage = nn.ModuleList(Unit(width + i * growth, growth, **options) for i in range(number))
            self.stages.append(stage)
            width += number * growth
            if len(self.shrinks) < len(kept):
                out = kept[len(self.shrinks)]
                self.shrinks.append(
                    nn.ModuleDict({"n": nn.BatchNorm2d(width), "c": nn.Conv2d(width, out, 1, bias=False)})
                )
                width = out
        self.final = nn.BatchNorm2d(width)
        self.outs = nn.ModuleList(nn.Linear(width, 5) for _ in range(heads))

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        for number, stage in enumerate(self.stages):
            for unit in stage:
                x = torch.cat((unit(x), x) if self.new_first else (x, unit(x)), dim=1)
            if number < len(self.shrinks):
                shrink = self.shrinks[number]
                x = F.avg_pool2d(shrink["c"](F.relu(shrink["n"](x))), 2)
        x = F.relu(self.final(x)).mean((2, 3))
        return torch.stack([out(x) for out in self.outs]).sum(0)

    def readers(self) -> Iterator[tuple[int, int, Tensor, Tensor]]:
        """(block, target layer, weight, gamma of its norm)."""
        for block, stage in enumerate(self.stages, start=1):
            for layer, unit in enumerate(stage, start=1):
                yield block, layer, unit.squeeze.weight, unit.pre.weight
            if block <= len(self.shrinks):
                shrink = self.shrinks[block - 1]
                yield block, len(stage) + 1, shrink["c"].weight, shrink["n"].weight
            else:
                for number, out in enumerate(self.outs, start=len(stage) + 1):
                    yield block, number, out.weight, self.final.weight

    def naive_reuse(self, widths: list[list[int]]) -> list[tuple[int, int, int, int, float, float]]:
        """The feature-reuse table by loops: block, source, target, channels, mean |w|, mean |w gamma|.

        Args:
            widths: of each block's sources.
        """
        rows = []
        for block, target, weight, gamma in self.readers():
            end = 0 if not self.new_first else weight.shape[1]
            for source in range(min(target, len(widths[block - 1]))):
                width = widths[block - 1][source]
                first = end - width if self.new_first else end
                part = weight[:, first : first + width].abs().double()
                scaled = (part.transpose(0, 1).flatten(1) * gamma[first : first + width].abs()[:, None]).mean()
                rows.append((block, source, target, width, part.mean().item(), scaled.item()))
                end = first if self.new_first else first + width
        return rows


def trained(model: nn.Module, steps: int = 4) -> nn.Module:
    """With running statistics of its own passes, and weights that differ."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    model.train()
    for _ in range(steps):
        images = torch.randn(8, 3, 16, 16) + 0.3
        loss = F.cross_entropy(model(images), torch.randint(5, (8,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()
