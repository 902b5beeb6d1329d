"""BN-ReLU-Conv from some feature maps to others, forward and backward, one part of the batch after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from densenet_core.networks.shared_memory.maps import (
    Maps,
    Moments,
    Runs,
    add_scaled,
    as_images,
    as_rows,
    moments,
    picked,
    spread,
)

_CONV: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_AVG_POOL: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@dataclass(frozen=True)
class Unit:
    """BN-ReLU-Conv and dropout, or BN-ReLU-AvgPool-Conv: a dense layer is one or, with a bottleneck, two of them."""

    runs: Runs  # of the maps that it reads
    norm: Any
    conv: Any
    drop_rate: float = 0.0
    pool: int = 1  # kernel and stride

    @property
    def parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.norm.weight, self.norm.bias, self.conv.weight


@dataclass(frozen=True)
class Extras:
    """What a unit's backward pass needs of the forward one, beside maps and parameters."""

    frozen: tuple[Tensor, Tensor] | None  # mean and variance that the norm goes by, if not by the batch's
    mask: Tensor | None  # what dropout lets through: (positions of all images, C)

    @classmethod
    def of(cls, unit: Unit, positions: int) -> Extras:
        norm, frozen, mask = unit.norm, None, None
        if not norm.training and norm.running_mean is not None:
            frozen = norm.running_mean.clone(), norm.running_var.clone()
        if unit.drop_rate:
            mask = torch.empty((positions, unit.conv.out_channels), dtype=torch.bool, device=norm.weight.device)
        return cls(frozen, mask)


@dataclass
class Step:
    """A unit at its place: from the maps that it reads to the channels that it writes."""

    unit: Unit
    source: Maps
    target: Maps
    columns: slice  # of the target
    parameters: Sequence[Tensor]  # factor and summand of the norm, weights of the convolution
    extras: Extras

    def forward(self, buffers: Buffers) -> None:
        mean, var, _, scale, shift = self._norm()
        found: list[Moments] = []
        for read, out, mask in zip(
            self._split(self.source, self.source.rows),
            self._split(self.target, self.target.rows[:, self.columns]),
            self._split(self.target, self.extras.mask),
            strict=True,
        ):
            activated = _activated(picked(read, self.unit.runs), scale, shift, buffers)
            made = self._convolve(self._pooled(activated), out)
            if mask is not None:
                self._drop(made, mask.bernoulli_(1 - self.unit.drop_rate))
            if made is not out:
                out.copy_(made)
            found.append(moments(made))
        self.target.measured(self.columns.start, found)
        if self.unit.norm.training and self.unit.norm.track_running_stats:
            _update_running_statistics(self.unit.norm, mean, var, len(self.source.rows))

    def backward(self, buffers: Buffers) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of the parameters; adds its share to the gradient of the source."""
        mean, _, invstd, scale, shift = self._norm()
        is_only = self.source.gradient is None and self.unit.runs == ((0, self.source.rows.shape[1]),)
        if self.source.gradient is None:
            self.source.start_gradient(is_written_next=is_only)
        d_source, d_target = self.source.gradient, self.target.gradient
        assert d_source is not None and d_target is not None
        d_weight, d_beta, products = (torch.zeros_like(t, dtype=mean.dtype) for t in (self.parameters[2], mean, mean))
        slope, summand = self.target.linear_terms(self.columns)
        for read, d_read, made, known, mask in zip(
            self._split(self.source, self.source.rows),
            self._split(self.source, d_source),
            self._split(self.target, self.target.rows[:, self.columns]),
            self._split(self.target, d_target[:, self.columns]),
            self._split(self.target, self.extras.mask),
            strict=True,
        ):
            d_made = torch.addcmul(known, made, slope, out=buffers.get(2, *made.shape)).add_(summand)
            if mask is not None:
                self._drop(d_made, mask)
            x = picked(read, self.unit.runs)
            activated = _activated(x, scale, shift, buffers)
            d_norm = self._convolve_backward(d_made, activated, d_weight, buffers)
            torch.ops.aten.threshold_backward.grad_input(d_norm, activated, 0, grad_input=d_norm)
            d_beta += d_norm.sum(0)
            products += torch.mul(x, d_norm, out=activated).sum(0)
            if is_only:
                torch.mul(d_norm, scale, out=d_read)
            else:
                add_scaled(d_read, self.unit.runs, d_norm, scale)
        if self.columns == slice(0, self.target.rows.shape[1]):
            self.target.gradient = None  # nobody else wrote there
        products -= mean * d_beta
        if self.extras.frozen is None:
            add_scaled(self.source.shift, self.unit.runs, d_beta, -scale / len(self.source.rows))
            add_scaled(self.source.slope, self.unit.runs, products, -scale * invstd.square() / len(self.source.rows))
        return products * invstd, d_beta, d_weight

    def _norm(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Mean, variance, inverse deviation, and the norm as a factor and a summand, for each channel."""
        gamma, beta, _ = self.parameters
        runs, source = self.unit.runs, self.source
        mean, var = self.extras.frozen or (picked(source.mean, runs), picked(source.var, runs))
        invstd = (var + self.unit.norm.eps).rsqrt()
        scale = gamma * invstd
        return mean, var, invstd, scale, beta - mean * scale

    def _split(self, maps: Maps, rows: Tensor | None) -> Sequence[Any]:
        """Rows of all images in parts that fit the cache, of whole images."""
        images = self.source.images_at_once(max(self.parameters[2].shape[:2]))
        return [None] * -(-len(maps.maps) // images) if rows is None else rows.split(images * maps.positions)

    def _pooled(self, rows: Tensor) -> Tensor:
        if self.unit.pool == 1:
            return rows
        images = as_images(rows, self.source.pixels)
        return as_rows(_AVG_POOL[images.dim() - 2](images, self.unit.pool))

    def _convolve(self, x: Tensor, out: Tensor) -> Tensor:
        """What belongs into ``out``, where a matrix product writes at once if its rows lie one behind the other."""
        conv, weight = self.unit.conv, self.parameters[2]
        if self._is_product(x.dtype):
            return torch.mm(x, weight.flatten(1).t(), out=out if out.is_contiguous() else None)
        images = as_images(x.to(out.dtype), self.target.pixels)
        options = conv.stride, conv.padding, conv.dilation, conv.groups
        return as_rows(_CONV[images.dim() - 2](images, weight.to(out.dtype), None, *options))

    def _convolve_backward(self, d_made: Tensor, activated: Tensor, d_weight: Tensor, buffers: Buffers) -> Tensor:
        """The gradient of what was activated; adds to that of the weights."""
        x, conv, weight, dtype = self._pooled(activated), self.unit.conv, self.parameters[2], self.target.rows.dtype
        if self._is_product(x.dtype):
            d_weight.flatten(1).t().addmm_(x.t(), d_made)
            d_x = torch.mm(d_made, weight.flatten(1), out=buffers.get(1, *x.shape))
        else:
            images = [as_images(rows.to(dtype), self.target.pixels) for rows in (d_made, x)]
            options = conv.stride, conv.padding, conv.dilation, False, [0] * len(conv.padding), conv.groups
            d_images, d_part, _ = torch.ops.aten.convolution_backward(
                *images, weight.to(dtype), None, *options, [True, True, False]
            )
            d_weight += d_part
            d_x = as_rows(d_images).to(activated.dtype)
        return d_x if self.unit.pool == 1 else spread(d_x, self.source.pixels, self.unit.pool)

    def _is_product(self, dtype: torch.dtype) -> bool:
        """The convolution is a product of matrices of one type."""
        conv = self.unit.conv
        is_pointwise = {*conv.kernel_size, *conv.stride, conv.groups} == {1} and not any(conv.padding)
        return is_pointwise and dtype == self.target.rows.dtype == self.parameters[2].dtype

    def _drop(self, x: Tensor, mask: Tensor) -> None:
        x.mul_(mask).div_(1 - self.unit.drop_rate)


class Buffers:
    """Memory in which one part after another is worked on."""

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.memory: dict[int, Tensor] = {}

    def get(self, index: int, rows: int, channels: int) -> Tensor:
        size = rows * channels
        if index not in self.memory or len(self.memory[index]) < size:
            # Buffers that begin at the same place of a page make a CPU take loads of one for loads of what it has just
            # stored to another (4K aliasing): some operations were three times slower.
            memory = self.like.new_empty(size + 2048)
            first = -memory.data_ptr() // memory.itemsize % 1024
            self.memory[index] = memory[first + 272 * index :]
        return self.memory[index][:size].view(rows, channels)


def _activated(x: Tensor, scale: Tensor, shift: Tensor, buffers: Buffers) -> Tensor:
    return torch.addcmul(shift, x, scale, out=buffers.get(0, *x.shape)).relu_()


def _update_running_statistics(norm: Any, mean: Tensor, var: Tensor, positions: int) -> None:
    norm.num_batches_tracked.add_(1)
    if norm.running_mean is None:
        return
    momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.lerp_((var * (positions / (positions - 1))).to(norm.running_var.dtype), momentum)
