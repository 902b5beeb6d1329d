"""BN-ReLU-Conv from some feature maps to others, forward and backward, in one part of the batch after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from densenet_core.networks.shared_memory.feature_maps import (
    ChannelRanges,
    FeatureMaps,
    Moments,
    add_scaled,
    avg_pool_backward,
    compute_moments,
    select_columns,
    to_images,
    to_rows,
)

_CONV: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_AVG_POOL: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@dataclass(frozen=True)
class Unit:
    """BN-ReLU-Conv and dropout, or BN-ReLU-AvgPool-Conv. A dense layer is one unit or, with a bottleneck, two."""

    ranges: ChannelRanges  # the channels that it reads
    norm: Any
    conv: Any
    drop_rate: float = 0.0
    pool: int = 1  # kernel size and stride

    @property
    def parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        """The norm's weight and bias, and the convolution's weight."""
        return self.norm.weight, self.norm.bias, self.conv.weight


@dataclass(frozen=True)
class ForwardState:
    """Tensors that the backward pass of a unit needs from its forward pass, besides feature maps and parameters."""

    frozen: tuple[Tensor, Tensor] | None  # running mean and variance, if the norm is in evaluation mode
    mask: Tensor | None  # the values that dropout keeps: (positions of all images, C)

    @classmethod
    def allocate(cls, unit: Unit, positions: int) -> ForwardState:
        """Return the state before the forward pass, which draws the mask."""
        norm, frozen, mask = unit.norm, None, None
        if not norm.training and norm.running_mean is not None:
            frozen = norm.running_mean.clone(), norm.running_var.clone()
        if unit.drop_rate:
            mask = torch.empty((positions, unit.conv.out_channels), dtype=torch.bool, device=norm.weight.device)
        return cls(frozen, mask)


class NormFactors(NamedTuple):
    """A norm by channel: y = scale * x + shift."""

    mean: Tensor
    var: Tensor
    invstd: Tensor
    scale: Tensor
    shift: Tensor


class GradientSums(NamedTuple):
    """Gradients summed over the parts of a batch."""

    weight: Tensor  # of the convolution
    beta: Tensor  # of the norm's bias: sum of d_y over positions, where y is the norm's output
    products: Tensor  # sum of x * d_y over positions


@dataclass
class Step:
    """A unit at its place in a block: it reads ``source`` and writes some columns of ``target``."""

    unit: Unit
    source: FeatureMaps
    target: FeatureMaps
    columns: slice  # of the target
    parameters: Sequence[Tensor]  # as in ``Unit.parameters``
    state: ForwardState

    def forward(self, buffers: Buffers) -> None:
        """Compute the target's columns and their statistics, and update the norm's running statistics."""
        norm = self._compute_norm()
        moments: list[Moments] = []
        for read, out, mask in zip(
            self._split(self.source, self.source.rows),
            self._split(self.target, self.target.rows[:, self.columns]),
            self._split(self.target, self.state.mask),
            strict=True,
        ):
            activated = _norm_relu(select_columns(read, self.unit.ranges), norm, buffers)
            result = self._convolve(self._pool(activated), out)
            if mask is not None:
                self._drop(result, mask.bernoulli_(1 - self.unit.drop_rate))
            if result is not out:
                out.copy_(result)
            moments.append(compute_moments(result))
        self.target.set_statistics(self.columns.start, moments)
        if self.unit.norm.training and self.unit.norm.track_running_stats:
            _update_running_statistics(self.unit.norm, norm.mean, norm.var, len(self.source.rows))

    def backward(self, buffers: Buffers) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of the parameters, and add to the source's gradient."""
        norm, is_only_reader = self._compute_norm(), self._init_source_gradient()
        mean, dtype = norm.mean, norm.mean.dtype
        sums = GradientSums(*(torch.zeros_like(t, dtype=dtype) for t in (self.parameters[2], mean, mean)))
        for x, d_read, d_out in self._backward_parts(buffers):
            activated = _norm_relu(x, norm, buffers)
            d_norm = self._convolve_backward(d_out, activated, sums.weight, buffers)
            torch.ops.aten.threshold_backward.grad_input(d_norm, activated, 0, grad_input=d_norm)
            sums.beta.add_(d_norm.sum(0))
            sums.products.add_(torch.mul(x, d_norm, out=activated).sum(0))
            if is_only_reader:
                torch.mul(d_norm, norm.scale, out=d_read)
            else:
                add_scaled(d_read, self.unit.ranges, d_norm, norm.scale)
        if self.columns == slice(0, self.target.rows.shape[1]):
            self.target.gradient = None  # no other step writes to the target: free the memory
        d_scaled = sums.products.sub_(mean * sums.beta)  # sum of (x - mean) * d_y
        self._add_statistics_gradient(norm, sums.beta, d_scaled)
        return d_scaled * norm.invstd, sums.beta, sums.weight

    def _init_source_gradient(self) -> bool:
        """Initialize the source's gradient if needed; return whether this step is the only one to write it."""
        if self.source.gradient is not None:
            return False
        is_only_reader = self.unit.ranges == ((0, self.source.rows.shape[1]),)
        self.source.init_gradient(is_overwritten=is_only_reader)
        return is_only_reader

    def _backward_parts(self, buffers: Buffers) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the channels that are read, the source's gradient and the output's gradient of each part."""
        d_source, d_target = self.source.gradient, self.target.gradient
        assert d_source is not None and d_target is not None
        slope, shift = self.target.linear_terms(self.columns)
        for read, d_read, out, gradient, mask in zip(
            self._split(self.source, self.source.rows),
            self._split(self.source, d_source),
            self._split(self.target, self.target.rows[:, self.columns]),
            self._split(self.target, d_target[:, self.columns]),
            self._split(self.target, self.state.mask),
            strict=True,
        ):
            d_out = torch.addcmul(gradient, out, slope, out=buffers.get(2, *out.shape)).add_(shift)
            if mask is not None:
                self._drop(d_out, mask)
            yield select_columns(read, self.unit.ranges), d_read, d_out

    def _add_statistics_gradient(self, norm: NormFactors, d_beta: Tensor, d_scaled: Tensor) -> None:
        """Add the gradient that flows through the batch's mean and variance."""
        if self.state.frozen is not None:
            return
        positions, ranges = len(self.source.rows), self.unit.ranges
        add_scaled(self.source.shift, ranges, d_beta, -norm.scale / positions)
        add_scaled(self.source.slope, ranges, d_scaled, -norm.scale * norm.invstd.square() / positions)

    def _compute_norm(self) -> NormFactors:
        gamma, beta, _ = self.parameters
        ranges, source = self.unit.ranges, self.source
        mean, var = self.state.frozen or (select_columns(source.mean, ranges), select_columns(source.var, ranges))
        invstd = (var + self.unit.norm.eps).rsqrt()
        scale = gamma * invstd
        return NormFactors(mean, var, invstd, scale, beta - mean * scale)

    def _split(self, maps: FeatureMaps, rows: Tensor | None) -> Sequence[Any]:
        """Split rows into parts of whole images of at most ``PART_BYTES``; for None, return as many Nones."""
        images = self.source.max_batch_size(max(self.parameters[2].shape[:2]))
        return [None] * -(-len(maps.maps) // images) if rows is None else rows.split(images * maps.positions)

    def _pool(self, rows: Tensor) -> Tensor:
        if self.unit.pool == 1:
            return rows
        images = to_images(rows, self.source.pixels)
        return to_rows(_AVG_POOL[images.dim() - 2](images, self.unit.pool))

    def _convolve(self, x: Tensor, out: Tensor) -> Tensor:
        """Return the convolution's output, which is ``out`` itself if a matrix product can write there."""
        conv, weight = self.unit.conv, self.parameters[2]
        if self._is_matrix_product(x.dtype):
            return torch.mm(x, weight.flatten(1).t(), out=out if out.is_contiguous() else None)
        images = to_images(x.to(out.dtype), self.target.pixels)
        options = conv.stride, conv.padding, conv.dilation, conv.groups
        return to_rows(_CONV[images.dim() - 2](images, weight.to(out.dtype), None, *options))

    def _convolve_backward(self, d_out: Tensor, activated: Tensor, d_weight: Tensor, buffers: Buffers) -> Tensor:
        """Return the gradient of ``activated``, and add the weight's to ``d_weight``."""
        x, conv, weight, dtype = self._pool(activated), self.unit.conv, self.parameters[2], self.target.rows.dtype
        if self._is_matrix_product(x.dtype):
            d_weight.flatten(1).t().addmm_(x.t(), d_out)
            d_x = torch.mm(d_out, weight.flatten(1), out=buffers.get(1, *x.shape))
        else:
            images = [to_images(rows.to(dtype), self.target.pixels) for rows in (d_out, x)]
            options = conv.stride, conv.padding, conv.dilation, False, [0] * len(conv.padding), conv.groups
            d_images, d_part, _ = torch.ops.aten.convolution_backward(
                *images, weight.to(dtype), None, *options, [True, True, False]
            )
            d_weight += d_part
            d_x = to_rows(d_images).to(activated.dtype)
        return d_x if self.unit.pool == 1 else avg_pool_backward(d_x, self.source.pixels, self.unit.pool)

    def _is_matrix_product(self, dtype: torch.dtype) -> bool:
        """Return whether the convolution is 1x1 and all its data are of one type."""
        conv = self.unit.conv
        is_pointwise = {*conv.kernel_size, *conv.stride, conv.groups} == {1} and not any(conv.padding)
        return is_pointwise and dtype == self.target.rows.dtype == self.parameters[2].dtype

    def _drop(self, x: Tensor, mask: Tensor) -> None:
        x.mul_(mask).div_(1 - self.unit.drop_rate)


class Buffers:
    """Memory that all parts and steps reuse."""

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.memory: dict[int, Tensor] = {}

    def get(self, index: int, rows: int, channels: int) -> Tensor:
        """Return buffer ``index`` with this shape, and with whatever it holds."""
        size = rows * channels
        if index not in self.memory or len(self.memory[index]) < size:
            # 4K aliasing: if buffers start at the same offset in a page, a CPU takes loads from one for loads of what
            # it has just stored to another. Some operations were three times slower.
            memory = self.like.new_empty(size + 2048)
            first = -memory.data_ptr() // memory.itemsize % 1024
            self.memory[index] = memory[first + 272 * index :]
        return self.memory[index][:size].view(rows, channels)


def _norm_relu(x: Tensor, norm: NormFactors, buffers: Buffers) -> Tensor:
    return torch.addcmul(norm.shift, x, norm.scale, out=buffers.get(0, *x.shape)).relu_()


def _update_running_statistics(norm: Any, mean: Tensor, var: Tensor, positions: int) -> None:
    norm.num_batches_tracked.add_(1)
    if norm.running_mean is None:
        return
    momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.lerp_((var * (positions / (positions - 1))).to(norm.running_var.dtype), momentum)
