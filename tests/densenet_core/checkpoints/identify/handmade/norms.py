"""DenseNets with any kind of norm, written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

K = 32


Norm = Callable[[int], nn.Module]


class Pixelwise(nn.Module):
    """A layer norm over the channels of each pixel, spelled out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        away = x - x.mean(1, keepdim=True)
        scaled = away / (away.square().mean(1, keepdim=True) + 1e-5).sqrt()
        return scaled * self.weight[:, None, None] + self.bias[:, None, None]


class Grouped(nn.Module):
    """A group norm, spelled out: the mean and variance of each group of channels in each image."""

    def __init__(self, groups: int, width: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(len(x), self.groups, -1)
        scaled = (flat - flat.mean(2, keepdim=True)) / (flat.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
        return scaled.reshape(x.shape) * self.weight[:, None, None] + self.bias[:, None, None]


class OfTheBatch(nn.Module):
    """A batch norm without running statistics, spelled out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        axes = (0, 2, 3)
        scaled = (x - x.mean(axes, keepdim=True)) / (x.var(axes, correction=0, keepdim=True) + 1e-5).sqrt()
        return scaled * self.weight[:, None, None] + self.bias[:, None, None]


class Hand(nn.Module):
    """Two blocks of two bottleneck layers with a norm of any kind in every place."""

    def __init__(self, norm: Norm, name: str = "norm", growth: int = K) -> None:
        super().__init__()
        self.name = name
        self.start = nn.Conv2d(3, 2 * growth, 3, padding=1, bias=False)
        self.layers, width = nn.ModuleList(), 2 * growth
        for _ in range(2):
            for _ in range(2):
                first, second = nn.Conv2d(width, 4 * growth, 1, bias=False), nn.Conv2d(4 * growth, growth, 3, 1, 1)
                second.bias = None
                parts = {f"{name}1": norm(width), "conv1": first, f"{name}2": norm(4 * growth), "conv2": second}
                self.layers.append(nn.ModuleDict(parts))
                width += growth
            parts = {name: norm(width)}
            if len(self.layers) == 2:
                parts["conv"] = nn.Conv2d(width, width // 2, 1, bias=False)
                width //= 2
            self.layers.append(nn.ModuleDict(parts))
        self.out = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x)
        for place, layer in enumerate(self.layers):
            if place in (2, 5):
                x = F.relu(layer[self.name](x))
                x = F.avg_pool2d(layer["conv"](x), 2) if place == 2 else x
                continue
            y = layer["conv1"](F.relu(layer[f"{self.name}1"](x)))
            x = torch.cat((x, layer["conv2"](F.relu(layer[f"{self.name}2"](y)))), 1)
        scores: Tensor = self.out(x.mean((2, 3)))
        return scores


def filled(norm: Norm, **options: Any) -> Hand:
    torch.manual_seed(0)
    model = Hand(norm, **options)
    for name, part in model.named_parameters():
        if part.dim() == 1:
            nn.init.uniform_(part, 0.5, 1.5) if "weight" in name else nn.init.normal_(part)
    return model.eval()


IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def assert_same_scores(found: Callable[[Tensor], Tensor], model: nn.Module) -> None:
    with torch.inference_mode():
        expected = model(IMAGES)
        assert expected.std() > 1e-2
        torch.testing.assert_close(found(IMAGES), expected, rtol=1e-4, atol=1e-5)
