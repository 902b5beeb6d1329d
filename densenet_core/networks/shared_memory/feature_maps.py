"""Feature maps as rows: (positions of all images, channels), which is the channels_last memory format."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

PART_BYTES = 64_000_000  # the feature maps that a unit reads or writes in one part of a batch, on a CPU
ChannelRanges = tuple[tuple[int, int], ...]  # as (first, end)
Moments = tuple[int, Tensor, Tensor]  # of some rows: their number, mean (C,), sum of squared deviations (C,)


class FeatureMaps:
    """Feature maps with their statistics over the batch and, in the backward pass, their gradient.

    The gradient so far is gradient + shift + slope * (x - mean).
    """

    gradient: Tensor | None = None  # (positions, C)
    shift: Tensor  # (C,)
    slope: Tensor  # (C,)

    def __init__(self, maps: Tensor, mean: Tensor, var: Tensor) -> None:
        self.maps, self.mean, self.var = maps, mean, var  # (N, C, *pixels), (C,), (C,)
        self.pixels = tuple(maps.shape[2:])
        self.positions = prod(self.pixels)  # in one image
        self.rows = maps.movedim(1, -1).view(-1, maps.shape[1])  # (positions of all images, C), the same memory

    @classmethod
    def without_statistics(cls, maps: Tensor) -> FeatureMaps:
        """Return feature maps whose statistics are zeros until they are computed."""
        if not maps.movedim(1, -1).is_contiguous():
            maps = maps.movedim(1, -1).contiguous().movedim(-1, 1)
        return cls(maps, *torch.zeros((2, maps.shape[1]), dtype=accumulation_dtype(maps), device=maps.device))

    @classmethod
    def empty_like(cls, x: Tensor, channels: int, dtype: torch.dtype, pool: int = 1) -> FeatureMaps:
        """Return uninitialized feature maps for the images of ``x``, with sides divided by ``pool``."""
        pixels = [size // pool for size in x.shape[2:]]
        # strided, not a view of another tensor: autograd restricts functions that return views
        strides = torch.empty((len(x), *pixels, channels), device="meta").movedim(-1, 1).stride()
        maps = torch.empty_strided((len(x), channels, *pixels), strides, dtype=dtype, device=x.device)
        return cls.without_statistics(maps)

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """The arguments of the constructor, to be saved for the backward pass."""
        return self.maps, self.mean, self.var

    def compute_statistics(self, channels: int) -> None:
        """Compute mean and variance of the first channels."""
        step = self.max_batch_size(channels) * self.positions
        self.set_statistics(0, [compute_moments(rows) for rows in self.rows[:, :channels].split(step)])

    def set_statistics(self, first: int, parts: Sequence[Moments]) -> None:
        """Set mean and variance of the channels from ``first`` on, by merging those of all parts (Chan et al. 1979)."""
        counts = self.mean.new_tensor([count for count, _, _ in parts])[:, None]
        means = torch.stack([mean for _, mean, _ in parts])
        squares = torch.stack([square for _, _, square in parts])
        mean = (means * counts).sum(0) / counts.sum()
        columns = slice(first, first + len(mean))
        self.mean[columns] = mean
        self.var[columns] = (squares + counts * (means - mean).square()).sum(0) / counts.sum()

    def max_batch_size(self, channels: int) -> int:
        """Return the batch size at which ``channels`` feature maps have ``PART_BYTES``; on a GPU, the whole batch."""
        if self.rows.device.type != "cpu":
            return len(self.maps)
        return max(1, PART_BYTES // (self.positions * channels * self.mean.itemsize))

    def init_gradient(self, initial: Tensor | None = None, is_overwritten: bool = False) -> None:
        """Initialize the gradient with ``initial`` (N, C, *pixels), or with zeros.

        Args:
            is_overwritten: Leave the gradient uninitialized, because the next step writes all of it.
        """
        self.shift, self.slope = torch.zeros_like(self.mean), torch.zeros_like(self.mean)
        allocate = torch.zeros_like if initial is None and not is_overwritten else torch.empty_like
        self.gradient = allocate(self.rows, dtype=self.mean.dtype)
        if initial is not None:
            to_images(self.gradient, self.pixels).copy_(initial)

    def linear_terms(self, columns: slice) -> tuple[Tensor, Tensor]:
        """Return factor and summand of x, (C,) each, that are to be added to ``gradient``."""
        slope = self.slope[columns]
        return slope, self.shift[columns] - slope * self.mean[columns]

    def total_gradient(self, columns: slice) -> Tensor:
        """Return the gradient (N, columns, *pixels), after the backward steps of all readers."""
        assert self.gradient is not None
        slope, shift = self.linear_terms(columns)
        step = self.max_batch_size(len(slope)) * self.positions
        gradient, x = (rows[:, columns].split(step) for rows in (self.gradient, self.rows))
        parts = [torch.addcmul(*pair, slope).add_(shift) for pair in zip(gradient, x, strict=True)]
        return to_images(torch.cat(parts), self.pixels)


def compute_moments(rows: Tensor) -> Moments:
    """Return the number of rows, and each column's mean and sum of squared deviations."""
    rows = rows.to(accumulation_dtype(rows))
    mean = rows.mean(0)
    deviations = rows - mean
    return len(rows), mean, deviations.mul_(deviations).sum(0)


def accumulation_dtype(x: Tensor) -> torch.dtype:
    """Return the data type of norms and sums over ``x``."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def to_rows(maps: Tensor) -> Tensor:
    """Return (N, C, *pixels) as (N * pixels, C), without a copy if the memory format is channels_last."""
    return maps.movedim(1, -1).reshape(-1, maps.shape[1])


def to_images(rows: Tensor, pixels: Sequence[int]) -> Tensor:
    """Return (N * pixels, C) as (N, C, *pixels), without a copy."""
    return rows.view(-1, *pixels, rows.shape[1]).movedim(-1, 1)


def avg_pool_backward(d_out: Tensor, pixels: Sequence[int], pool: int) -> Tensor:
    """Return the gradient of the input of average pooling, given that of its output; both as rows.

    Args:
        pixels: The sides of the input.
        pool: Kernel size and stride.
    """
    pooled = [size // pool for size in pixels]
    shares = d_out.div(pool ** len(pixels)).view(-1, *pooled, d_out.shape[1])
    d_in = d_out.new_zeros(len(shares), *pixels, d_out.shape[1])
    windows = d_in
    for i, size in enumerate(pooled):
        windows = windows.narrow(1 + 2 * i, 0, size * pool).unflatten(1 + 2 * i, (size, pool))
        shares = shares.unsqueeze(2 + 2 * i)
    windows.copy_(shares)
    return d_in.view(-1, d_out.shape[1])


def select_columns(x: Tensor, ranges: ChannelRanges) -> Tensor:
    """Return these channels of ``x``, whose last dimension is the channels."""
    if len(ranges) == 1:
        return x[..., slice(*ranges[0])]
    return torch.cat([x[..., first:end] for first, end in ranges], dim=-1)


def add_scaled(total: Tensor, ranges: ChannelRanges, values: Tensor, scale: Tensor) -> None:
    """Add ``values * scale`` to these channels of ``total`` in place."""
    begin = 0
    for first, end in ranges:
        columns = slice(begin, begin + end - first)
        total[..., first:end].addcmul_(values[..., columns], scale[columns])
        begin = columns.stop
