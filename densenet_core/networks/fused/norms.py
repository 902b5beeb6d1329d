"""Norms, ReLUs and convolutions as one operation each, or with factors that the next layer takes."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core.errors import CheckpointError

MAX_BOUND = 1e4  # a larger bound of a comparison is out of the range or the precision of half-precision numbers
_CONV: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def norm_relu(norm: nn.Module, dims: int, fold: bool) -> NormRelu | NormThenRelu:
    """Return a norm and a ReLU as one operation, or one after the other where the norm depends on its input."""
    return NormRelu(norm, dims, fold) if has_running_statistics(norm) else NormThenRelu(norm)


def conv_norm(
    conv: nn.Module, norm: nn.Module | None, before: NormRelu | NormThenRelu | None = None
) -> Conv | nn.Sequential:
    """Return a convolution and the norm behind it, if any, as one convolution where possible."""
    if norm is None or has_running_statistics(norm):
        return Conv(conv, norm, before)
    return nn.Sequential(Conv(conv, before=before), copy.deepcopy(norm).requires_grad_(False))


class NormThenRelu(nn.Module):
    """A norm whose scale depends on its input, and a ReLU."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = copy.deepcopy(norm).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x)
        return out.relu_()

    def fold_into(self, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the weight and the bias of the next layer as they are."""
        return weight, bias


class NormRelu(nn.Module):
    """A batch norm with its running statistics and a ReLU, up to factors and summands that the next layer can take.

    Returns y with ``relu(norm(x)) = factor * y + summand`` per channel. They are 1 and 0 unless ``fold``, or where the
    factors of the norm are too small to be divided by.
    """

    def __init__(self, norm: nn.Module, dims: int, fold: bool) -> None:
        super().__init__()
        scale, shift = compute_scale_and_shift(norm)
        bounds = clamp_bounds(scale, shift) if fold else None
        self.is_folded = bounds is not None
        self.factor = scale if self.is_folded else torch.ones_like(scale)  # (C,)
        self.summand = shift if self.is_folded else torch.zeros_like(shift)  # (C,)
        shape = (-1, *(1,) * dims)
        names = ("scale", "shift") if bounds is None else ("low", "high")
        for name, values in zip(names, (scale, shift) if bounds is None else bounds, strict=True):
            self.register_buffer(name, None if values is None else values.view(shape))  # (C, 1, 1)

    def forward(self, x: Tensor, first: int = 0, end: int | None = None) -> Tensor:
        """Apply it to the channels ``first`` to ``end`` - 1, which ``x`` has."""
        own = slice(first, end)
        buffers: Any = self._buffers
        if not self.is_folded:
            return torch.addcmul(buffers["shift"][own], x, buffers["scale"][own]).relu_()
        low, high = buffers["low"], buffers["high"]
        return torch.maximum(x, low[own]) if high is None else torch.clamp(x, low[own], high[own])

    def fold_into(self, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the weight (out, C, ...) and the bias (out,) of a linear map of y that equals one of relu(norm(x)).

        A kernel must not reach beyond the edge: it would read the padding's zeros as values of y.
        """
        own = weight.double()
        added = torch.einsum("oc...,c->o", own, self.summand.double())
        scaled = own * self.factor.double().view(-1, *(1,) * (weight.dim() - 2))
        return scaled.to(weight.dtype), (added if bias is None else added + bias).to(weight.dtype)


def clamp_bounds(scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor | None] | None:
    """Return bounds with which ``relu(scale * x + shift) = scale * clamp(x, low, high) + shift``, (C,) each.

    The upper bound is None if every scale is above 0: then the lower one is enough. The result is None if a bound is
    larger than ``MAX_BOUND``, as where a scale is 0.
    """
    bound = -shift / scale
    if not (bound.abs() <= MAX_BOUND).all():  # nan too
        return None
    if (scale > 0).all():
        return bound, None
    infinity = torch.full_like(bound, torch.inf)
    return torch.where(scale > 0, bound, -infinity), torch.where(scale > 0, infinity, bound)


class Conv(nn.Module):
    """A convolution, with the norm that follows it and the one before it, if any, folded into its weight and bias."""

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self, conv: nn.Module, norm: nn.Module | None = None, before: NormRelu | NormThenRelu | None = None
    ) -> None:
        super().__init__()
        module: Any = conv
        weight, bias = module.weight.detach(), None
        if norm is not None:
            weight, bias = fold_norm(weight, norm)
        if before is not None:
            weight, bias = before.fold_into(weight, bias)
        if weight.dim() == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", weight.clone())
        self.register_buffer("bias", bias)
        self.stride, self.padding, self.apply_conv = module.stride, module.padding, _CONV[weight.dim() - 2]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.apply_conv(x, self.weight, self.bias, self.stride, self.padding)
        return out


def fold_norm(weight: Tensor, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the weight and the bias of a convolution together with the batch norm that follows it."""
    scale, bias = compute_scale_and_shift(norm)
    return weight * scale.view(-1, *(1,) * (weight.dim() - 1)), bias


def has_running_statistics(norm: nn.Module) -> bool:
    """Return whether a norm computes the same for every input: a batch norm in evaluation mode."""
    return getattr(norm, "running_var", None) is not None


def compute_scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a batch norm in evaluation mode, (C,) each: y = scale * x + shift.

    Raises:
        CheckpointError: the norm has no running statistics, so its scale depends on the input.
    """
    if not has_running_statistics(norm):
        raise CheckpointError(
            f"the network's norms ({type(norm).__name__}) compute their scale from the image: only batch norms with "
            "running statistics treat each feature map by itself"
        )
    module: Any = norm
    scale = (module.weight / (module.running_var + module.eps).sqrt()).detach()
    return scale, (module.bias - scale * module.running_mean).detach()
