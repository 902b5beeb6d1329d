"""The cost of a network: parameters, mult_adds, other operations and memory, per layer and in total.

These conventions apply everywhere in the suite. One fused multiply-add of a convolution or a linear layer is one
mult_add; their biases are not counted. ``flops`` is 2 x mult_adds, as in the paper's Figure 3. Everything else is
``other_ops``, a separate column because tools count it differently: a batch norm has 2 operations a value (scale and
shift), a norm that computes its statistics 5 (mean 1, variance 2), a ReLU, a sigmoid or an addition 1, the mixture of a
gate 3, a join or a pooling 1 for each value that it reads.
Bytes are for float32. All numbers except the parameters are for one image.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.architecture.as_spec import SpecLike, as_spec
from densenet_core.networks.layers import Layer, network_layers
from densenet_core.networks.spec import Spec

BYTES = 4  # of a float32
MAX_SIDE = 1024  # pixels of an image, in a record
COLUMNS = (
    "name",
    "kind",
    "stage",
    "output_shape",
    "params",
    "mult_adds",
    "other_ops",
    "activation_bytes",
    "weight_bytes",
)
VECTORS = ("linear", "global_pool", "companion")  # kinds of layers whose output has no pixels
SUMMED = ("params", "mult_adds", "other_ops", "activation_bytes", "weight_bytes")


def count_cost(network: SpecLike, input_size: int | None = None) -> pd.DataFrame:
    """Count every layer of a network: one row per layer, in the order in which they run.

    A spec, or a network that was built here and not changed since, is counted by arithmetic on the spec. Any other
    module is counted by one pass on PyTorch's meta device, which has shapes and no data: then only modules
    have rows, and ``other_ops`` counts the norms, ReLUs and poolings that are modules.

    >>> total_cost(count_cost("densenet-bc-100-12"))["params"]
    769162

    Args:
        network: A spec, a checkpoint, a network's name, or a module.
        input_size: Side in pixels; by default 32 for networks for small images, and 224 for all others.

    Returns:
        Columns name, kind, stage, output_shape (channels first, without the batch), params, mult_adds, other_ops,
        activation_bytes (of the output), weight_bytes.

    Raises:
        ValueError: The input is too small for the network's strides (the smallest size that works is named), or a
            module does not run on it; or ``network`` is something else.
    """
    if (torch := sys.modules.get("torch")) is None or not isinstance(network, torch.nn.Module):
        known = as_spec(network)
        return _by_arithmetic(known, input_size or default_input_size(known))
    spec = getattr(network, "spec", None)
    size = input_size or (default_input_size(spec) if isinstance(spec, Spec) else 224)
    from analysis.architecture.as_built import is_as_built
    from analysis.architecture.traced_cost import traced_cost

    if isinstance(spec, Spec) and is_as_built(network, spec):
        return _by_arithmetic(spec, size)
    return traced_cost(network, size)


def _by_arithmetic(spec: Spec, input_size: int) -> pd.DataFrame:
    rows = [_count_layer(layer, spec.spatial_dims) for layer in network_layers(spec, input_size)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def usual_input_size(spec: Spec, record: Mapping[str, Any]) -> int:
    """Return the side in pixels of the images that a network was trained on, else of those that it is designed for.

    >>> from densenet_core import load_zoo
    >>> network = load_zoo("densenet-40-12-digits")
    >>> usual_input_size(network.architecture, network.record)
    8

    Args:
        record: of the network's checkpoint, whose ``image_size`` is taken; empty where there is none.
    """
    size = record.get("image_size")
    return size if type(size) is int and 0 < size <= MAX_SIDE else default_input_size(spec)


def default_input_size(spec: Spec) -> int:
    """Return the side in pixels of the images that a network is designed for: 224 or 32."""
    return 224 if spec.stem == "imagenet" else 32


def total_cost(cost: pd.DataFrame) -> dict[str, int]:
    """Return the sums over all layers of ``count_cost``'s table, as integers: params, mult_adds, ...

    >>> from densenet_core import DenseNetSpec
    >>> total_cost(count_cost(DenseNetSpec.imagenet("121")))["mult_adds"]
    2834161664
    """
    return {column: int(cost[column].sum()) for column in SUMMED}


def _count_layer(layer: Layer, dims: int) -> tuple[Any, ...]:
    values = layer.out_maps * layer.out_size**dims
    params, mult_adds = _count_weights(layer, dims)
    shape = (layer.out_maps,) if layer.kind in VECTORS else (layer.out_maps, *(layer.out_size,) * dims)
    counts = (params, mult_adds, _count_other(layer, dims), values * BYTES, params * BYTES)
    return layer.name, layer.kind, layer.stage, shape, *counts


def _count_weights(layer: Layer, dims: int) -> tuple[int, int]:
    """Return the params and mult_adds of a layer."""
    weights = layer.in_maps * layer.out_maps
    if layer.kind == "conv":
        weights *= layer.kernel**dims
        return weights + layer.out_maps * layer.has_bias, weights * layer.out_size**dims
    if layer.kind == "linear":
        return weights + layer.out_maps, weights
    if layer.kind == "companion":
        return weights + layer.out_maps, 0
    return (2 * layer.out_maps, 0) if layer.kind == "norm" else (0, 0)


def _count_other(layer: Layer, dims: int) -> int:
    """Return the operations of a layer that are no mult_adds."""
    pixels = layer.out_size**dims
    values: int = layer.out_maps * pixels
    if layer.kind == "norm":
        return (2 if layer.norm == "batch" else 5) * values
    counts: dict[str, int] = {
        "relu": values,
        "add": values,
        "sigmoid": values,
        "join": layer.in_maps * pixels,  # additions and a division
        "gate": 3 * values,
        "max_pool": values * layer.kernel**dims,
        "avg_pool": values * layer.kernel**dims,
        "global_pool": layer.in_maps * layer.in_size**dims,
    }
    return counts.get(layer.kind, 0)
