"""Dense blocks and transitions as functions of autograd."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from densenet_core.networks.shared_memory.maps import Maps
from densenet_core.networks.shared_memory.steps import Buffers, Extras, Step, Unit

Layers = Sequence[Sequence[Unit]]  # the units of each layer


class DenseBlockFunction(torch.autograd.Function):
    """Keeps its output, which holds all feature maps of the block, and the outputs of the bottlenecks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: Layers, *parameters: Tensor) -> Tensor:
        dtype, given = _conv_dtype(x), x.shape[1]
        units = [unit for units in layers for unit in units]
        with torch.autocast(x.device.type, enabled=False):
            channels = given + sum(units[-1].conv.out_channels for units in layers)
            storage = Maps.empty_like(x, channels, torch.promote_types(x.dtype, dtype))
            storage.maps[:, :given] = x
            storage.measure(given)
            hidden = [Maps.empty_like(x, unit.conv.out_channels, dtype) for units in layers for unit in units[:-1]]
            extras = [Extras.of(unit, len(storage.rows)) for unit in units]
            buffers = Buffers(storage.mean)
            for step in _steps(layers, given, storage, hidden, parameters, extras):
                step.forward(buffers)
        ctx.layers, ctx.given, ctx.dtype, ctx.extras = layers, given, x.dtype, extras
        ctx.save_for_backward(*[tensor for maps in (storage, *hidden) for tensor in maps.tensors], *parameters)
        return storage.maps

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        _refuse_second_derivatives()
        tensors, num_parameters = ctx.saved_tensors, 3 * len(ctx.extras)
        num_kept = len(tensors) - num_parameters
        storage, *hidden = (Maps(*tensors[i : i + 3]) for i in range(0, num_kept, 3))
        with torch.autocast(grad.device.type, enabled=False):
            storage.start_gradient(grad)
            steps = list(_steps(ctx.layers, ctx.given, storage, hidden, tensors[num_kept:], ctx.extras))
            buffers = Buffers(storage.mean)
            gradients = [step.backward(buffers) for step in reversed(steps)]
            d_x = storage.whole_gradient(slice(0, ctx.given))
        return d_x.to(ctx.dtype), None, *[gradient for triple in reversed(gradients) for gradient in triple]


class TransitionFunction(torch.autograd.Function):
    """Keeps its input, which is the block's output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, unit: Unit, *parameters: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            source = Maps.of(x)
            source.measure(x.shape[1])
            target = Maps.empty_like(x, unit.conv.out_channels, _conv_dtype(x), unit.pool)
            columns, extras = slice(0, unit.conv.out_channels), Extras.of(unit, len(target.rows))
            Step(unit, source, target, columns, parameters, extras).forward(Buffers(source.mean))
        ctx.unit, ctx.dtype, ctx.extras = unit, x.dtype, extras
        ctx.save_for_backward(*source.tensors, *parameters)
        return target.maps

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        _refuse_second_derivatives()
        maps, mean, var, *parameters = ctx.saved_tensors
        with torch.autocast(grad.device.type, enabled=False):
            source, target = Maps(maps, mean, var), Maps.of(grad)
            target.start_gradient(grad)
            step = Step(ctx.unit, source, target, slice(0, grad.shape[1]), parameters, ctx.extras)
            gradients = step.backward(Buffers(source.mean))
            d_x = source.whole_gradient(slice(0, len(mean)))
        return d_x.to(ctx.dtype), None, *gradients


def _steps(
    layers: Layers,
    given: int,
    storage: Maps,
    hidden: Sequence[Maps],
    parameters: Sequence[Tensor],
    extras: Sequence[Extras],
) -> Iterator[Step]:
    """All units of a block at their places: ``given`` channels of the storage are the block's input."""
    waiting, own_extras, index = iter(hidden), iter(extras), 0
    for units in layers:
        source = storage
        for unit in units:
            target = storage if unit is units[-1] else next(waiting)
            first = given if target is storage else 0
            columns = slice(first, first + unit.conv.out_channels)
            yield Step(unit, source, target, columns, parameters[index : index + 3], next(own_extras))
            source, index = target, index + 3
        given = columns.stop


def _conv_dtype(x: Tensor) -> torch.dtype:
    """In which convolutions are computed. To be asked before autocast is turned off."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def _refuse_second_derivatives() -> None:
    if torch.is_grad_enabled():
        raise RuntimeError("second derivatives of a DenseNet in training need DenseNet(spec, memory_efficient=False)")
