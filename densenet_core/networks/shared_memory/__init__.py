"""Dense blocks and transitions that train without copies: a block's maps lie in one storage, which all layers share.

Where each layer concatenates, normalises and rectifies all maps before it and keeps both results, time and memory grow
with the square of the number of layers. Here, after Pleiss et al. 2017 ("Memory-Efficient Implementation of
DenseNets") and beyond them:

- The storage and the bottlenecks' outputs are all that is kept for the backward pass: memory is linear in depth.
  Norms and ReLUs are computed again, but no convolution.
- The mean and variance of a feature map are the same for every norm that reads it: they are computed once.
- What a norm's gradient owes to mean and variance is, for each map, linear in its values: shift + slope * (x - mean).
  Both numbers are added up over all layers that read the map, and applied once.
- On a CPU the batch goes from a norm to the convolution behind it in parts that fit the cache.
- A transition pools before its 1x1 convolution, with which pooling may change places: a quarter of the work.

Maps are held as rows, (positions of all images, channels), which is channels_last in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from densenet_core.networks.shared_memory.functions import DenseBlockFunction, Layers, TransitionFunction
from densenet_core.networks.shared_memory.steps import Unit

__all__ = ["Unit", "can_share_memory", "dense_block", "is_halving", "is_watched", "transition"]


def can_share_memory(x: Tensor, units: Sequence[Unit]) -> bool:
    """Whether gradients are wanted of these units, and nothing needs to see what is between them."""
    return (
        torch.is_grad_enabled()
        and type(x) in (Tensor, nn.Parameter)
        and not x.is_meta
        and x.numel() > x.shape[1]  # else batch norm has something to say
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and not torch._C._are_functorch_transforms_active()
        and not nn.modules.module._has_any_global_hook()
        and all(_is_usual(unit) for unit in units)
    )


def is_watched(module: nn.Module) -> bool:
    """Whether hooks listen to what goes through the module."""
    return any((module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks))


def is_halving(pool: Any) -> bool:
    """Whether this is the pooling of our transitions, and no hooks listen to it."""
    is_ours = type(pool) in (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d) and not is_watched(pool)
    return is_ours and all(size in (2, (2,)) for size in (pool.kernel_size, pool.stride)) and not pool.ceil_mode


def _is_usual(unit: Unit) -> bool:
    """The modules are of the kinds that are built here, and no hooks listen to them."""
    norm, conv = unit.norm, unit.conv
    return (
        type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
        and type(conv) in (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        and norm.affine
        and conv.bias is None
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and not is_watched(norm)
        and not is_watched(conv)
    )


def dense_block(x: Tensor, layers: Layers) -> Tensor:
    """A dense block, with gradients of first order.

    (N, c0, *pixels) -> (N, c0 + n*k, *pixels), old maps first; channels_last in memory.
    """
    parameters = [parameter for units in layers for unit in units for parameter in unit.parameters]
    out: Tensor = DenseBlockFunction.apply(x, layers, *parameters)
    return out


def transition(x: Tensor, unit: Unit) -> Tensor:
    """What follows a block, with gradients of first order.

    (N, C, *pixels) -> (N, C', *(pixels // unit.pool)); channels_last in memory.
    """
    out: Tensor = TransitionFunction.apply(x, unit, *unit.parameters)
    return out
