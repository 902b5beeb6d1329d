"""DenseNets written by hand, with other stems, transitions and classifiers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

K = 4  # growth rate
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Blur(nn.Module):
    """The 1-2-1 filter with stride 2, as a loop over the nine pixels that it reads."""

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        height, width = x.shape[2:]
        total = torch.zeros_like(padded[:, :, 0:height:2, 0:width:2])
        for i, a in enumerate((1, 2, 1)):
            for j, b in enumerate((1, 2, 1)):
                total = total + a * b / 16 * padded[:, :, i : i + height : 2, j : j + width : 2]
        return total


def normed_stem() -> nn.Sequential:
    return nn.Sequential(conv(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())


def small_stem() -> nn.Sequential:
    return nn.Sequential(conv(3, 8, 1))


def wide_stem() -> nn.Sequential:
    return nn.Sequential(conv(3, 8, 5), nn.BatchNorm2d(8), nn.ReLU())


def deep_stem(*pool: nn.Module) -> nn.Sequential:
    parts: list[nn.Module] = []
    for inputs, outputs, stride in ((3, 5, 2), (5, 6, 1), (6, 8, 1)):
        parts += [conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*parts, *(pool or (nn.MaxPool2d(3, 2, 1),)))


class Handmade(nn.Module):
    """Three dense blocks of two layers with bottlenecks, and whatever stem, transitions and head are given."""

    def __init__(
        self,
        stem: nn.Sequential | None = None,
        kept: tuple[int, int] = (8, 8),
        pool: nn.Module | None = None,
        head: Callable[[int], nn.Module] = lambda width: nn.Sequential(nn.Flatten(), nn.Linear(width, 5)),
        pools_first: bool = True,
    ) -> None:
        super().__init__()
        self.entry, self.pools_first = stem or nn.Sequential(conv(3, 8, 3)), pools_first
        self.stages, self.shrinks, width = nn.ModuleList(), nn.ModuleList(), 8
        for block in range(3):
            stage = nn.ModuleList()
            for _ in range(2):
                norms = nn.BatchNorm2d(width), nn.BatchNorm2d(4 * K)
                stage.append(
                    nn.Sequential(norms[0], nn.ReLU(), conv(width, 4 * K, 1), norms[1], nn.ReLU(), conv(4 * K, K, 3))
                )
                width += K
            self.stages.append(stage)
            if block < 2:
                out = kept[block]
                self.shrinks.append(
                    nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), conv(width, out, 1), pool or nn.AvgPool2d(2))
                )
                width = out
        self.final, self.head = nn.BatchNorm2d(width), head(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        for block, stage in enumerate(self.stages):
            for layer in stage:
                x = torch.cat((x, layer(x)), 1)
            if block < 2:
                x = self.shrinks[block](x)
        x = F.relu(self.final(x))
        if self.pools_first:
            return self.head(x.mean((2, 3), keepdim=True))
        return self.head(x).mean((2, 3))


def mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 7), nn.ReLU(), nn.Dropout(), nn.Linear(7, 5))


def unbiased(width: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 5, bias=False))


def unbiased_mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 7, bias=False), nn.ReLU(), nn.Linear(7, 5, bias=False))


def pixelwise(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(width, 5, 1))


def assert_same_scores(found: nn.Module | Callable[[Tensor], Tensor], model: nn.Module) -> None:
    with torch.inference_mode():
        expected = model(IMAGES)
        assert expected.std() > 1e-2
        torch.testing.assert_close(found(IMAGES), expected, rtol=1e-5, atol=1e-5)
