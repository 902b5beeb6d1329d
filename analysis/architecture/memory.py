"""Memory of the activations in training: the tensors that the forward pass keeps for the backward pass.

Convolutions, linear layers, norms and poolings keep their input, ReLUs and sigmoids their output. A norm also keeps
means and deviations, a max pooling the indices of the maxima, and a gate the difference that it scales. A tensor
that two layers keep counts once. The sum equals what PyTorch's autograd keeps, to the byte, for networks with
batch or group norms and without dropout, whose masks are not counted.
"""

from __future__ import annotations

from analysis.architecture.as_spec import SpecLike, as_spec
from analysis.architecture.cost import BYTES, default_input_size
from densenet_core import DenseNetSpec
from densenet_core.networks.layers import Layer, network_layers

KEEP_THEIR_INPUT = ("conv", "linear", "companion", "norm", "max_pool", "avg_pool")
INDEX_BYTES = 8  # of an int64


def training_activation_bytes(
    spec: SpecLike, input_size: int | None = None, batch_size: int = 1, memory_efficient: bool = False
) -> int:
    """Return the peak number of bytes of activations in one training step, in float32.

    Each dense layer keeps its concatenated input and the ReLU's output, so a DenseNet's memory grows with the square of
    its depth.

    >>> from densenet_core import DenseNetSpec
    >>> training_activation_bytes(DenseNetSpec.cifar(40, 12))
    19104192

    Args:
        input_size: side of the images in pixels; by default 32 for networks for small images, and 224 for all others.
        batch_size: the number of images in a step.
        memory_efficient: a DenseNet's block keeps its feature maps once, and the outputs of its bottlenecks (Pleiss et
            al. 2017). Memory then grows linearly.

    Raises:
        ValueError: the input is too small for the network's strides.
    """
    spec = as_spec(spec)
    layers = network_layers(spec, default_input_size(spec) if input_size is None else input_size)
    images = [_Images(layer, batch_size, spec.spatial_dims) for layer in layers]
    kept = [_kept_bytes(image, before) for before, image in zip([None, *layers], images, strict=False)]
    if memory_efficient and isinstance(spec, DenseNetSpec):
        kept = [_kept_in_shared_memory(image, own, spec) for image, own in zip(images, kept, strict=True)]
    return sum(kept)


class _Images:
    """A batch of images at one layer."""

    def __init__(self, layer: Layer, batch_size: int, dims: int) -> None:
        self.layer, self.dims = layer, dims
        self.input_bytes: int = batch_size * layer.in_maps * layer.in_size**dims * BYTES
        self.output_values: int = batch_size * layer.out_maps * layer.out_size**dims


def _kept_bytes(image: _Images, before: Layer | None) -> int:
    """Return the bytes that this layer keeps, without tensors that the layer before it keeps already."""
    layer, kept = image.layer, 0
    is_kept_already = (before is not None and before.kind == "relu") or layer.is_branch
    if layer.kind in ("relu", "sigmoid", "gate") or (layer.kind in KEEP_THEIR_INPUT and not is_kept_already):
        kept = image.input_bytes
    if layer.kind == "norm":
        kept += 2 * _num_statistics(image) * BYTES
    if layer.kind == "max_pool":
        kept += image.output_values * INDEX_BYTES
    return kept


def _num_statistics(image: _Images) -> int:
    """Return how many means a norm computes in a training step."""
    layer = image.layer
    if layer.norm in ("batch", "batch_statistics"):
        return layer.in_maps
    positions, pixels = image.output_values // layer.in_maps, max(1, layer.out_size) ** image.dims
    num_images = int(positions // pixels)
    counts = {"group": num_images * layer.norm_groups, "instance": num_images * layer.in_maps}
    return counts.get(layer.norm, positions)


def _kept_in_shared_memory(image: _Images, own: int, spec: DenseNetSpec) -> int:
    """Return the same for blocks and transitions that train without concatenations; for other layers ``own``."""
    layer = image.layer
    if layer.name.endswith(".denselayer1.norm1"):  # once per block: all its maps
        block = int(layer.stage.removeprefix("block"))
        return _with_statistics(image.input_bytes // layer.in_maps, spec.block_outputs[block - 1])
    if ".denselayer" in layer.name:
        is_hidden = layer.name.endswith(".norm2")
        return _with_statistics(image.input_bytes // layer.in_maps, layer.in_maps) if is_hidden else 0
    if layer.stage.startswith("transition"):  # reads the block's maps, with statistics of its own
        outputs = spec.block_outputs[int(layer.stage.removeprefix("transition")) - 1]
        return 2 * outputs * BYTES if layer.kind == "norm" else 0
    reads_a_block = layer.name == "features.norm5" and layer.in_maps == spec.block_outputs[-1]
    return own - image.input_bytes if reads_a_block else own


def _with_statistics(bytes_a_map: int, num_maps: int) -> int:
    """Return the bytes of feature maps with their mean and variance."""
    return num_maps * (bytes_a_map + 2 * BYTES)
