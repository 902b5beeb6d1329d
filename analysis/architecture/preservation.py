"""Summation and concatenation: which feature maps survive later layers bit for bit."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from densenet_core import DenseNetSpec, ResNetSpec
from densenet_core.networks.densenet import DenseBlock
from densenet_core.networks.resnet import ResidualBlock

Operation = Literal["concatenation", "summation"]
OPERATIONS: tuple[Operation, ...] = ("concatenation", "summation")


class Preservation(NamedTuple):
    """The fate of each layer's feature maps.

    ``table`` has one row per operation and layer: columns operation, layer (0 = the input), num_maps, identical_share
    (share of the values that are the same bits at the end, 0 to 1) and max_abs_difference. ``first_map`` holds, by
    operation, the input's first feature map before each layer and at the end: (layers + 1, H, W).
    """

    table: pd.DataFrame
    first_map: dict[Operation, np.ndarray]


def compare_preservation(maps: Tensor, num_layers: int = 4, growth_rate: int = 1, seed: int = 0) -> Preservation:
    """Run feature maps through a dense block and through as many residual blocks, and compare them at the end.

    Both are the suite's own modules with random weights: ``DenseBlock`` without bottlenecks, and pre-activation
    ``ResidualBlock``s with identity shortcuts (paper, section 3, "ResNets" and "Dense connectivity").

    Args:
        maps: (1, c, H, W), the input.
        growth_rate: feature maps that each dense layer adds.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        num_maps = maps.shape[1]
        dense = DenseBlock(DenseNetSpec((num_layers,), growth_rate, num_maps, bottleneck=False), 1).eval()
        spec = ResNetSpec((num_layers,), num_init_features=num_maps, preactivation=True)
        residual = nn.Sequential(*(ResidualBlock(spec, num_maps, num_maps, 1) for _ in range(num_layers))).eval()
        dense_states, outputs = _run(dense, maps)
        residual_states, _ = _run(residual, maps)
    edges = np.cumsum([0, num_maps, *[growth_rate] * num_layers])
    concatenated = [
        _compare_maps("concatenation", layer, given, dense_states[-1][:, edges[layer] : edges[layer + 1]])
        for layer, given in enumerate([maps, *outputs])
    ]
    # The output of layer s of a residual network is the sum so far; the last one is the final state and is skipped.
    summed = [
        _compare_maps("summation", layer, state, residual_states[-1])
        for layer, state in enumerate(residual_states[:-1])
    ]
    states: dict[Operation, list[Tensor]] = {"concatenation": dense_states, "summation": residual_states}
    first = {operation: np.stack([state[0, 0].numpy() for state in seen]) for operation, seen in states.items()}
    return Preservation(pd.DataFrame([*concatenated[:-1], *summed]), first)


def _run(layers: nn.Module, maps: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return the inputs of all layers and the final state, and the layers' outputs."""
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def watch(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        inputs.append(given[0].clone())
        outputs.append(output.clone())

    for layer in layers.children():
        layer.register_forward_hook(watch)  # on our own modules, which are dropped afterwards
    end = layers(maps)
    return [*inputs, end], outputs


def _compare_maps(operation: Operation, layer: int, given: Tensor, found: Tensor) -> dict[str, object]:
    same = given.view(torch.int32) == found.contiguous().view(torch.int32)  # bits, not values: -0.0 is not 0.0
    return {
        "operation": operation,
        "layer": layer,
        "num_maps": given.shape[1],
        "identical_share": float(same.float().mean()),
        "max_abs_difference": float((given - found).abs().max()),
    }
