"""Dense blocks and transitions that train in memory linear in depth, because all layers of a block share one storage.

A layer that concatenates, normalizes and rectifies all feature maps before it, and keeps both results, makes time and
memory quadratic in the number of layers. This package follows Pleiss et al. 2017 ("Memory-Efficient Implementation of
DenseNets") and goes further:

- Only the storage and the outputs of the bottlenecks are saved for the backward pass. Norms and ReLUs are recomputed,
  convolutions are not.
- The mean and variance of a feature map are the same for every norm that reads it, and are computed once.
- The part of a norm's gradient that flows through mean and variance is linear in the feature map:
  shift + slope * (x - mean). Both numbers are summed over all layers that read the feature map, and applied once.
- On a CPU, a norm and the convolution after it process a large batch in parts.
- A transition pools before its 1x1 convolution. The two commute, and this order is a quarter of the work.

Feature maps are stored as rows, (positions of all images, channels), which is the channels_last memory format.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from densenet_core.networks.shared_memory.functions import DenseBlockFunction, Layers, TransitionFunction
from densenet_core.networks.shared_memory.steps import Unit

__all__ = ["Unit", "can_share_memory", "has_hooks", "is_plain_avg_pool", "run_dense_block", "run_transition"]


def can_share_memory(x: Tensor, units: Sequence[Unit]) -> bool:
    """Return whether the units can run here: in training, with modules as built, and without hooks or transforms."""
    return (
        torch.is_grad_enabled()
        and type(x) in (Tensor, nn.Parameter)
        and not x.is_meta
        and x.numel() > x.shape[1]  # for a single value per channel, batch norm raises its own error
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and not torch._C._are_functorch_transforms_active()
        and not nn.modules.module._has_any_global_hook()
        and all(_is_supported(unit) for unit in units)
    )


def has_hooks(module: nn.Module) -> bool:
    """Return whether the module has forward or backward hooks."""
    return any((module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks))


def is_plain_avg_pool(pool: Any) -> bool:
    """Return whether this is a 2x2 average pooling with stride 2, as in a transition, without hooks."""
    is_avg_pool = type(pool) in (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d) and not has_hooks(pool)
    return is_avg_pool and all(size in (2, (2,)) for size in (pool.kernel_size, pool.stride)) and not pool.ceil_mode


def _is_supported(unit: Unit) -> bool:
    """Return whether norm and convolution are of the types and options of a DenseNet, without hooks."""
    norm, conv = unit.norm, unit.conv
    return (
        type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
        and type(conv) in (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        and norm.affine
        and conv.bias is None
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and not has_hooks(norm)
        and not has_hooks(conv)
    )


def run_dense_block(x: Tensor, layers: Layers) -> Tensor:
    """Run a dense block. Supports first derivatives only.

    Shape: (N, c0, *pixels) -> (N, c0 + n*k, *pixels), old feature maps first, in channels_last memory format.
    """
    parameters = [parameter for units in layers for unit in units for parameter in unit.parameters]
    out: Tensor = DenseBlockFunction.apply(x, layers, *parameters)
    return out


def run_transition(x: Tensor, unit: Unit) -> Tensor:
    """Run a transition. Supports first derivatives only.

    Shape: (N, C, *pixels) -> (N, C', *(pixels // unit.pool)), in channels_last memory format.
    """
    out: Tensor = TransitionFunction.apply(x, unit, *unit.parameters)
    return out
