"""The convolutions of a network alone, each in the fastest layout that oneDNN has: a floor for the time of a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter

import torch
from torch import Tensor
from torch.nn import functional as F

from densenet_core.networks.fused import FusedDenseNet
from densenet_core.networks.fused.norms import Conv

TRIES = 4  # of which the first is not counted
Way = Callable[[], object]


def convolutions_alone(model: FusedDenseNet, images: Tensor) -> Way:
    """Return a function that runs each convolution of a pass once, on random maps of its shape."""
    parts = model.split(images)
    ways = [fastest(conv, maps) for conv, maps in inputs_of_convolutions(model, parts[0])]

    def run_all() -> None:
        for _ in parts:
            for way in ways:
                way()

    return run_all


def inputs_of_convolutions(model: FusedDenseNet, images: Tensor) -> list[tuple[Conv, Tensor]]:
    """Return every convolution with random maps of the shape that it reads."""
    found: list[tuple[Conv, Tensor]] = []
    convs = [module for module in model.modules() if isinstance(module, Conv)]
    hooks = [
        conv.register_forward_pre_hook(lambda conv, given: found.append((conv, torch.randn(given[0].shape))))
        for conv in convs
    ]
    model.forward(images)
    for hook in hooks:
        hook.remove()
    return found


def fastest(conv: Conv, maps: Tensor) -> Way:
    """Return the fastest way of a convolution by one quick trial of each."""
    return min(ways_of(conv, maps), key=least_seconds)


def ways_of(conv: Conv, maps: Tensor) -> Iterator[Way]:
    """Return a convolution in oneDNN's layouts and, with a 1x1 kernel, as a product of matrices."""
    weight, bias, stride, padding = conv.weight, conv.bias, conv.stride, conv.padding
    for layout in (torch.contiguous_format, torch.channels_last):
        own, kernel = maps.contiguous(memory_format=layout), weight.contiguous(memory_format=layout)
        yield lambda own=own, kernel=kernel: F.conv2d(own, kernel, bias, stride, padding)
    if torch.backends.mkldnn.is_available():
        ones = (1, 1)
        blocked, given = maps.to_mkldnn(), weight.contiguous().to_mkldnn()
        reordered = torch._C._nn.mkldnn_reorder_conv2d_weight(given, padding, stride, ones, 1, maps.shape)
        yield lambda: torch.ops.aten.mkldnn_convolution(blocked, reordered, bias, padding, stride, ones, 1)
    if weight.shape[2:] == (1, 1) and bias is not None:
        rows, columns = maps.movedim(1, -1).flatten(0, 2).contiguous(), weight.flatten(1).t().contiguous()
        yield lambda: torch.addmm(bias, rows, columns)


def least_seconds(way: Way) -> float:
    """Return the least time of a few calls after the first."""
    seconds = []
    for _ in range(TRIES):
        start = perf_counter()
        way()
        seconds.append(perf_counter() - start)
    return min(seconds[1:])
