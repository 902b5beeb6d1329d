"""How much memory activations take in training: what the forward pass keeps for the backward one.

A convolution, a linear layer, a norm and a pooling keep their input, a ReLU and a sigmoid their output; a norm keeps
the batch's mean and deviation too, a max pooling the places of the maxima, a gate the difference that it scales. A
tensor that two layers keep is counted once. This is what PyTorch's autograd keeps, to the byte, of networks without
dropout, whose masks are not counted.
"""

from __future__ import annotations

from analysis.cost import default_input_size
from analysis.traced_cost import BYTES
from densenet_core import DenseNetSpec
from densenet_core.layers import Layer, network_layers
from densenet_core.models import Spec

KEEP_THEIR_INPUT = ("conv", "linear", "companion", "norm", "max_pool", "avg_pool")
INDEX_BYTES = 8  # of an int64


def training_activation_bytes(
    spec: Spec, input_size: int | None = None, batch_size: int = 1, memory_efficient: bool = False
) -> int:
    """The most bytes that activations take in one training step, in float32.

    Every dense layer keeps its concatenation and the ReLU behind it, which makes a DenseNet's memory grow with the
    square of its depth.

    Args:
        memory_efficient: for a DenseNet: the concatenations with their norms and ReLUs are computed again in the
            backward pass (Pleiss et al. 2017). Memory then grows linearly; the largest of them is counted once.

    Raises:
        ValueError: the input is too small for the network's strides.
    """
    layers = network_layers(spec, default_input_size(spec) if input_size is None else input_size)
    images = [_Images(layer, batch_size, spec.spatial_dims) for layer in layers]
    recomputed = [image for image in images if memory_efficient and _is_recomputed(image.layer)]
    kept = sum(_kept(image, before) for before, image in zip([None, *layers], images, strict=False))
    if not recomputed or not isinstance(spec, DenseNetSpec):
        return kept
    again = sum(_kept(image, None) for image in recomputed)
    own = sum(_own_share(image, spec) for image in recomputed if image.layer.kind == "norm")
    return kept - again + own + 2 * max(image.input_bytes for image in recomputed)


class _Images:
    """A batch of images at one layer."""

    def __init__(self, layer: Layer, batch_size: int, dims: int) -> None:
        self.layer = layer
        self.input_bytes: int = batch_size * layer.in_maps * layer.in_size**dims * BYTES
        self.output_values: int = batch_size * layer.out_maps * layer.out_size**dims


def _kept(image: _Images, before: Layer | None) -> int:
    """Bytes that this layer keeps and none before it has kept already."""
    layer, kept = image.layer, 0
    is_kept_already = (before is not None and before.kind == "relu") or layer.is_branch
    if layer.kind in ("relu", "sigmoid", "gate") or (layer.kind in KEEP_THEIR_INPUT and not is_kept_already):
        kept = image.input_bytes
    if layer.kind == "norm":
        kept += 2 * layer.in_maps * BYTES
    if layer.kind == "max_pool":
        kept += image.output_values * INDEX_BYTES
    return kept


def _is_recomputed(layer: Layer) -> bool:
    return ".denselayer" in layer.name and layer.name.endswith((".norm1", ".relu1"))


def _own_share(image: _Images, spec: DenseNetSpec) -> int:
    """What a concatenation adds to the one before it: the block's input, or one layer's new feature maps."""
    if image.layer.name.endswith("denselayer1.norm1"):
        return image.input_bytes
    return image.input_bytes * spec.growth_rate // image.layer.in_maps
