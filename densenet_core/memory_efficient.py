"""A dense layer's first half that keeps none of its large intermediates (Pleiss et al. 2017, "Memory-efficient
implementation of DenseNets").

The concatenation, its batch norm and its ReLU are cheap to compute and large to keep: over a block they add up to a
memory that grows with the square of the number of layers. Here they are computed again in the backward pass, from the
feature maps that every layer keeps anyway. No convolution is computed twice, and the running statistics are updated
once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def concat_norm_relu_conv(features: list[Tensor], norm: nn.Module, conv: nn.Module) -> Tensor:
    """conv(relu(norm(cat(features)))), with only ``features`` kept for the backward pass.

    Args:
        features: (N, C_i, *pixels) each; the channels add up to what ``norm`` normalises.
        norm: a batch norm with weight and bias.
        conv: a convolution of stride 1 without bias.
    """
    if norm.training and norm.track_running_stats:
        norm.num_batches_tracked.add_(1)  # type: ignore[operator]
    out: Tensor = _ConcatNormReLUConv.apply(
        conv.weight,
        norm.weight,
        norm.bias,
        norm.running_mean,
        norm.running_var,
        norm.training,
        norm.momentum,
        norm.eps,
        conv.padding,
        *features,
    )
    return out


class _ConcatNormReLUConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        gamma: Tensor,
        beta: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        training: bool,
        momentum: float,
        eps: float,
        padding: tuple[int, ...],
        *features: Tensor,
    ) -> Tensor:
        statistics = (running_mean, running_var)
        _, _, _, activated = _activated(features, gamma, beta, statistics, training, momentum, eps)
        out = _CONV[len(padding)](activated, weight, padding=padding)
        ctx.save_for_backward(weight, gamma, beta, running_mean, running_var, *features)
        ctx.options = training, eps, padding
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, gamma, beta, running_mean, running_var, *features = ctx.saved_tensors
        training, eps, padding = ctx.options
        # in training mode the batch's own statistics count: without the running ones nothing is updated again
        statistics = (None, None) if training else (running_mean, running_var)
        x, mean, invstd, activated = _activated(features, gamma, beta, statistics, training, 0.0, eps)
        ones, zeros = [1] * len(padding), [0] * len(padding)
        grad_activated, grad_weight, _ = torch.ops.aten.convolution_backward(
            grad,
            activated.to(grad.dtype),
            weight.to(grad.dtype),
            None,
            ones,
            list(padding),
            ones,
            False,
            zeros,
            1,
            [True, True, False],
        )
        grad_norm = torch.ops.aten.threshold_backward(grad_activated.to(activated.dtype), activated, 0)
        grad_x, grad_gamma, grad_beta = torch.ops.aten.native_batch_norm_backward(
            grad_norm, x, gamma, running_mean, running_var, mean, invstd, training, eps, [True, True, True]
        )
        grad_features = grad_x.split([f.shape[1] for f in features], dim=1)
        return grad_weight.to(weight.dtype), grad_gamma, grad_beta, *[None] * 6, *grad_features


def _activated(
    features: Any,
    gamma: Tensor,
    beta: Tensor,
    statistics: tuple[Tensor | None, Tensor | None],
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The concatenation, its mean and inverse deviation, and the ReLU behind its norm."""
    x = torch.cat(tuple(features), dim=1)
    normalised, mean, invstd = torch.native_batch_norm(x, gamma, beta, *statistics, training, momentum, eps)
    return x, mean, invstd, normalised.relu_()
