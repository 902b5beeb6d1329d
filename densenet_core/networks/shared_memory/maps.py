"""Feature maps as rows: (positions of all images, channels), which is channels_last in memory."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

PART_BYTES = 8_000_000  # of the maps that a unit reads or writes, in one part of the batch, on a CPU
Runs = tuple[tuple[int, int], ...]  # of channels: first, end
Moments = tuple[int, Tensor, Tensor]  # of some rows: how many, their mean, the sum of squares around it


class Maps:
    """Feature maps with their statistics over the batch and, in the backward pass, what is known of their gradient.

    The gradient is gradient + shift + slope * (x - mean).
    """

    gradient: Tensor | None = None  # (positions, C)
    shift: Tensor  # (C,)
    slope: Tensor  # (C,)

    def __init__(self, maps: Tensor, mean: Tensor, var: Tensor) -> None:
        self.maps, self.mean, self.var = maps, mean, var  # (N, C, *pixels), (C,), (C,)
        self.pixels = tuple(maps.shape[2:])
        self.positions = prod(self.pixels)  # of an image
        self.rows = maps.movedim(1, -1).view(-1, maps.shape[1])  # (positions of all images, C), the same memory

    @classmethod
    def of(cls, maps: Tensor) -> Maps:
        """Maps whose statistics were not taken yet, which are zeros till then."""
        if not maps.movedim(1, -1).is_contiguous():
            maps = maps.movedim(1, -1).contiguous().movedim(-1, 1)
        return cls(maps, *torch.zeros((2, maps.shape[1]), dtype=work_dtype(maps), device=maps.device))

    @classmethod
    def empty_like(cls, x: Tensor, channels: int, dtype: torch.dtype, pool: int = 1) -> Maps:
        pixels = [size // pool for size in x.shape[2:]]
        # not a view of another tensor, for autograd is careful with functions that give views
        strides = torch.empty((len(x), *pixels, channels), device="meta").movedim(-1, 1).stride()
        return cls.of(torch.empty_strided((len(x), channels, *pixels), strides, dtype=dtype, device=x.device))

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.maps, self.mean, self.var

    def measure(self, channels: int) -> None:
        """Takes the statistics of the first channels."""
        step = self.images_at_once(channels) * self.positions
        self.measured(0, [moments(rows) for rows in self.rows[:, :channels].split(step)])

    def measured(self, first: int, found: Sequence[Moments]) -> None:
        """Keeps the statistics of the channels from ``first`` on, given those of all parts (Chan et al. 1979)."""
        counts = self.mean.new_tensor([count for count, _, _ in found])[:, None]
        means = torch.stack([mean for _, mean, _ in found])
        squares = torch.stack([square for _, _, square in found])
        mean = (means * counts).sum(0) / counts.sum()
        columns = slice(first, first + len(mean))
        self.mean[columns] = mean
        self.var[columns] = (squares + counts * (means - mean).square()).sum(0) / counts.sum()

    def images_at_once(self, channels: int) -> int:
        """So many that their maps of so many channels fit the cache."""
        if self.rows.device.type != "cpu":
            return len(self.maps)
        return max(1, PART_BYTES // (self.positions * channels * self.mean.itemsize))

    def start_gradient(self, known: Tensor | None = None, is_written_next: bool = False) -> None:
        """From the gradient that others than the steps give (N, C, *pixels), or from nothing."""
        self.shift, self.slope = torch.zeros_like(self.mean), torch.zeros_like(self.mean)
        start = torch.zeros_like if known is None and not is_written_next else torch.empty_like
        self.gradient = start(self.rows, dtype=self.mean.dtype)
        if known is not None:
            as_images(self.gradient, self.pixels).copy_(known)

    def linear_terms(self, columns: slice) -> tuple[Tensor, Tensor]:
        """What the gradient is beside ``gradient``, as a factor of x and a summand."""
        slope = self.slope[columns]
        return slope, self.shift[columns] - slope * self.mean[columns]

    def whole_gradient(self, columns: slice) -> Tensor:
        """(N, columns, *pixels), when all that read them have added theirs."""
        assert self.gradient is not None
        slope, shift = self.linear_terms(columns)
        step = self.images_at_once(len(slope)) * self.positions
        known, x = (rows[:, columns].split(step) for rows in (self.gradient, self.rows))
        parts = [torch.addcmul(*pair, slope).add_(shift) for pair in zip(known, x, strict=True)]
        return as_images(torch.cat(parts), self.pixels)


def moments(rows: Tensor) -> Moments:
    rows = rows.to(work_dtype(rows))
    mean = rows.mean(0)
    apart = rows - mean
    return len(rows), mean, apart.mul_(apart).sum(0)


def work_dtype(x: Tensor) -> torch.dtype:
    """In which norms and sums are computed."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def as_rows(maps: Tensor) -> Tensor:
    """(N, C, *pixels) -> (N * pixels, C): the same memory where channels are last in it."""
    return maps.movedim(1, -1).reshape(-1, maps.shape[1])


def as_images(rows: Tensor, pixels: Sequence[int]) -> Tensor:
    """(N * pixels, C) -> (N, C, *pixels), the same memory."""
    return rows.view(-1, *pixels, rows.shape[1]).movedim(-1, 1)


def spread(rows: Tensor, pixels: Sequence[int], pool: int) -> Tensor:
    """The gradient of average pooling: each position's, shared among those that it is the mean of."""
    pooled = [size // pool for size in pixels]
    d_out = rows.div(pool ** len(pixels)).view(-1, *pooled, rows.shape[1])
    d_in = rows.new_zeros(len(d_out), *pixels, rows.shape[1])
    windows = d_in
    for i, size in enumerate(pooled):
        windows = windows.narrow(1 + 2 * i, 0, size * pool).unflatten(1 + 2 * i, (size, pool))
        d_out = d_out.unsqueeze(2 + 2 * i)
    windows.copy_(d_out)
    return d_in.view(-1, rows.shape[1])


def picked(x: Tensor, runs: Runs) -> Tensor:
    """These channels, of the last dimension."""
    if len(runs) == 1:
        return x[..., slice(*runs[0])]
    return torch.cat([x[..., first:end] for first, end in runs], dim=-1)


def add_scaled(total: Tensor, runs: Runs, values: Tensor, scale: Tensor) -> None:
    """Adds ``values * scale`` to these channels of ``total``."""
    begin = 0
    for first, end in runs:
        columns = slice(begin, begin + end - first)
        total[..., first:end].addcmul_(values[..., columns], scale[columns])
        begin = columns.stop
