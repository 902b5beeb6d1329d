"""What a network costs: parameters, mult_adds, other operations and memory, per layer and in total.

Conventions, once for the whole suite. One fused multiply-add of a convolution or a linear layer is one mult_add;
their biases are not counted. ``flops`` is 2 x mult_adds, as in the paper's Figure 3. Everything else is
``other_ops``, listed apart because tools differ in it: a batch norm is 2 operations a value (scale and shift), a
ReLU, a sigmoid or an addition 1, a gate's mixture 3, a join or a pooling 1 for each value that it reads. Bytes are
those of float32. All of it is for one image, but for the parameters.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from torch import nn

from analysis.architecture.traced_cost import BYTES, COLUMNS, traced_cost
from densenet_core.networks.layers import Layer, network_layers
from densenet_core.networks.spec import Spec

VECTORS = ("linear", "global_pool", "companion")  # the kinds of layers whose output has no pixels
SUMMED = ("params", "mult_adds", "other_ops", "activation_bytes", "weight_bytes")


def count_cost(network: Spec | nn.Module, input_size: int | None = None) -> pd.DataFrame:
    """Counts every layer of a network: one row a layer, in the order in which they run.

    A network of the suite is counted by arithmetic on its spec; any other module by one pass on PyTorch's meta
    device, which has shapes and no data.

    Args:
        network: a spec, or a module.
        input_size: pixels a side; by default 224 for networks with an ImageNet stem and 32 for the others.

    Returns:
        Columns name, kind, stage, output_shape (channels first, without the batch), params, mult_adds, other_ops
        (0 where a module of other people's is not a norm, a ReLU or a pooling), activation_bytes (the output's),
        weight_bytes.

    Raises:
        ValueError: the input is too small for the network's strides; the least size that works is named.
    """
    spec = getattr(network, "spec", network)
    if isinstance(spec, Spec):
        table = _by_arithmetic(spec, default_input_size(spec) if input_size is None else input_size)
        if not isinstance(network, nn.Module) or _num_params(network) == table["params"].sum():
            return table  # else a module that was changed since it was built: it is traced
    if isinstance(network, nn.Module):
        return traced_cost(network, 224 if input_size is None else input_size)
    raise ValueError(f"network is a {type(network).__name__}: give a spec or a torch module")


def _by_arithmetic(spec: Spec, input_size: int) -> pd.DataFrame:
    rows = [_counted(layer, spec.spatial_dims) for layer in network_layers(spec, input_size)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _num_params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def default_input_size(spec: Spec) -> int:
    """Pixels a side of the images that a network is made for."""
    return 224 if spec.stem == "imagenet" else 32


def total_cost(cost: pd.DataFrame) -> dict[str, int]:
    """The sums over all layers of ``count_cost``'s table, as whole numbers: params, mult_adds, ..."""
    return {column: int(cost[column].sum()) for column in SUMMED}


def _counted(layer: Layer, dims: int) -> tuple[Any, ...]:
    pixels = layer.out_size**dims
    values = layer.out_maps * pixels
    params = mult_adds = other_ops = 0
    if layer.kind == "conv":
        params = layer.in_maps * layer.out_maps * layer.kernel**dims
        mult_adds = params * pixels
        params += layer.out_maps * layer.has_bias
    elif layer.kind == "linear":
        mult_adds = layer.in_maps * layer.out_maps
        params = mult_adds + layer.out_maps
    elif layer.kind == "companion":
        params = (layer.in_maps + 1) * layer.out_maps
    elif layer.kind == "norm":
        params, other_ops = 2 * layer.out_maps, 2 * values
    elif layer.kind in ("relu", "add", "sigmoid"):
        other_ops = values
    elif layer.kind == "join":  # additions and a division
        other_ops = layer.in_maps * pixels
    elif layer.kind == "gate":
        other_ops = 3 * values
    elif layer.kind in ("max_pool", "avg_pool"):
        other_ops = values * layer.kernel**dims
    elif layer.kind == "global_pool":
        other_ops = layer.in_maps * layer.in_size**dims
    shape = (layer.out_maps,) if layer.kind in VECTORS else (layer.out_maps, *(layer.out_size,) * dims)
    return (
        layer.name,
        layer.kind,
        layer.stage,
        shape,
        params,
        mult_adds,
        other_ops,
        values * BYTES,
        params * BYTES,
    )
