"""Dense blocks and transitions as autograd functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from densenet_core.networks.shared_memory.feature_maps import FeatureMaps
from densenet_core.networks.shared_memory.steps import Buffers, ForwardState, Step, Unit

Layers = Sequence[Sequence[Unit]]  # the units of each layer


class DenseBlockFunction(torch.autograd.Function):
    """A dense block. It saves its output, which contains all feature maps, and the outputs of the bottlenecks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: Layers, *parameters: Tensor) -> Tensor:
        dtype, in_channels = _conv_dtype(x), x.shape[1]
        units = [unit for units in layers for unit in units]
        with torch.autocast(x.device.type, enabled=False):
            channels = in_channels + sum(units[-1].conv.out_channels for units in layers)
            storage = FeatureMaps.empty_like(x, channels, torch.promote_types(x.dtype, dtype))
            storage.maps[:, :in_channels] = x
            storage.compute_statistics(in_channels)
            bottlenecks = [unit for units in layers for unit in units[:-1]]
            hidden = [FeatureMaps.empty_like(x, unit.conv.out_channels, dtype) for unit in bottlenecks]
            states = [ForwardState.allocate(unit, len(storage.rows)) for unit in units]
            buffers = Buffers(storage.mean)
            for step in _build_steps(layers, in_channels, storage, hidden, parameters, states):
                step.forward(buffers)
        ctx.layers, ctx.in_channels, ctx.dtype, ctx.states = layers, in_channels, x.dtype, states
        ctx.save_for_backward(*[tensor for maps in (storage, *hidden) for tensor in maps.tensors], *parameters)
        return storage.maps

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        _reject_second_derivatives()
        tensors, num_parameters = ctx.saved_tensors, 3 * len(ctx.states)
        num_saved = len(tensors) - num_parameters
        storage, *hidden = (FeatureMaps(*tensors[i : i + 3]) for i in range(0, num_saved, 3))
        with torch.autocast(grad.device.type, enabled=False):
            storage.init_gradient(grad)
            parameters = tensors[num_saved:]
            steps = list(_build_steps(ctx.layers, ctx.in_channels, storage, hidden, parameters, ctx.states))
            buffers = Buffers(storage.mean)
            gradients = [step.backward(buffers) for step in reversed(steps)]
            d_x = storage.total_gradient(slice(0, ctx.in_channels))
        return d_x.to(ctx.dtype), None, *[gradient for triple in reversed(gradients) for gradient in triple]


class TransitionFunction(torch.autograd.Function):
    """A transition. It saves its input, which is the output of the block."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, unit: Unit, *parameters: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            source = FeatureMaps.without_statistics(x)
            source.compute_statistics(x.shape[1])
            target = FeatureMaps.empty_like(x, unit.conv.out_channels, _conv_dtype(x), unit.pool)
            columns, state = slice(0, unit.conv.out_channels), ForwardState.allocate(unit, len(target.rows))
            Step(unit, source, target, columns, parameters, state).forward(Buffers(source.mean))
        ctx.unit, ctx.dtype, ctx.state = unit, x.dtype, state
        ctx.save_for_backward(*source.tensors, *parameters)
        return target.maps

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        _reject_second_derivatives()
        maps, mean, var, *parameters = ctx.saved_tensors
        with torch.autocast(grad.device.type, enabled=False):
            source, target = FeatureMaps(maps, mean, var), FeatureMaps.without_statistics(grad)
            target.init_gradient(grad)
            step = Step(ctx.unit, source, target, slice(0, grad.shape[1]), parameters, ctx.state)
            gradients = step.backward(Buffers(source.mean))
            d_x = source.total_gradient(slice(0, len(mean)))
        return d_x.to(ctx.dtype), None, *gradients


def _build_steps(
    layers: Layers,
    in_channels: int,
    storage: FeatureMaps,
    hidden: Sequence[FeatureMaps],
    parameters: Sequence[Tensor],
    states: Sequence[ForwardState],
) -> Iterator[Step]:
    """Yield a step for each unit of a block, whose input is the first ``in_channels`` of the storage."""
    hidden_maps, unit_states, end, index = iter(hidden), iter(states), in_channels, 0
    for units in layers:
        source = storage
        for unit in units:
            target = storage if unit is units[-1] else next(hidden_maps)
            first = end if target is storage else 0
            columns = slice(first, first + unit.conv.out_channels)
            yield Step(unit, source, target, columns, parameters[index : index + 3], next(unit_states))
            source, index = target, index + 3
        end = columns.stop


def _conv_dtype(x: Tensor) -> torch.dtype:
    """Return the data type of convolutions. Call this before autocast is disabled."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def _reject_second_derivatives() -> None:
    if torch.is_grad_enabled():
        raise RuntimeError("second derivatives need a network with memory_efficient=False")
