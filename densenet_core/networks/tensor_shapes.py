"""The shapes of a network's tensors, by arithmetic on its layers."""

from __future__ import annotations

from collections.abc import Iterator

from densenet_core.networks.layers import Layer, unchecked_layers
from densenet_core.networks.spec import Spec

Shape = tuple[int, ...]


def tensor_shapes(spec: Spec) -> dict[str, Shape]:
    """Return the shapes of the tensors in the state dict of a network, by their names.

    The order is that in which the layers run, which is not the state dict's in every family.

    >>> from densenet_core import DenseNetSpec
    >>> tensor_shapes(DenseNetSpec.imagenet("121"))["features.conv0.weight"]
    (64, 3, 7, 7)
    """
    layers = unchecked_layers(spec, input_size=1)  # no tensor's shape depends on the size
    return {key: shape for layer in layers for key, shape in _tensors(layer, spec.spatial_dims)}


def _tensors(layer: Layer, dims: int) -> Iterator[tuple[str, Shape]]:
    name, maps = layer.name, layer.out_maps
    if layer.kind == "conv":
        yield f"{name}.weight", (maps, layer.in_maps, *(layer.kernel,) * dims)
    elif layer.kind in ("linear", "companion"):
        yield f"{name}.weight", (maps, layer.in_maps)
    elif layer.kind == "norm":
        yield f"{name}.weight", (maps,)
    else:
        return
    if layer.kind != "conv" or layer.has_bias:
        yield f"{name}.bias", (maps,)
    if layer.kind == "norm":
        yield f"{name}.running_mean", (maps,)
        yield f"{name}.running_var", (maps,)
        yield f"{name}.num_batches_tracked", ()
