"""Checks of the fields of a ``DenseNetSpec``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from densenet_core.networks.layers import NORM_KINDS, unchecked_layers
from densenet_core.networks.spec import check_counts, check_num_layers, check_probability

if TYPE_CHECKING:
    from densenet_core.networks.densenet_spec import DenseNetSpec

MAX_WIDTHS = 100  # of a stem, of transitions or of a classifier: they may come from a file
MAX_STEM_KERNEL = 15  # pixels a side
OPTIONAL_WIDTHS = ("stem_widths", "transition_widths", "head_widths")


def check_sizes(spec: DenseNetSpec) -> None:
    """Raise ValueError unless the sizes and options are in range and fit each other."""
    check_counts(spec, "block_config", "growth_rate", "num_init_features", "num_classes", "in_channels", "bn_size")
    check_num_layers("block_config", sum(spec.block_config))
    if not 0 < spec.compression <= 1:
        raise ValueError(f"compression {spec.compression} must be above 0 and at most 1")
    check_probability("drop_rate", spec.drop_rate)
    if spec.stem not in ("cifar", "imagenet"):
        raise ValueError(f"stem {spec.stem!r} is neither 'cifar' nor 'imagenet'")
    if spec.spatial_dims not in (1, 2, 3):
        raise ValueError(f"spatial_dims {spec.spatial_dims} is not 1, 2 or 3")
    _check_widths(spec)
    _check_stem(spec)
    if min(spec.block_inputs) < 1:
        raise ValueError(f"compression {spec.compression} leaves a block without feature maps: {spec.block_inputs}")


def _check_widths(spec: DenseNetSpec) -> None:
    for field in OPTIONAL_WIDTHS:
        if not isinstance(widths := getattr(spec, field), tuple) or len(widths) > MAX_WIDTHS:
            raise ValueError(f"{field} must be a tuple of at most {MAX_WIDTHS} numbers")
    check_counts(spec, *(field for field in OPTIONAL_WIDTHS if getattr(spec, field)))
    num_transitions = len(spec.block_config) - 1
    if spec.transition_widths and len(spec.transition_widths) != num_transitions:
        raise ValueError(
            f"transition_widths {spec.transition_widths} must have {num_transitions} numbers, one for each transition"
        )


def _check_stem(spec: DenseNetSpec) -> None:
    if spec.stem == "imagenet" and spec.stem_norm:
        raise ValueError("stem_norm is for the stem 'cifar': the stem 'imagenet' always has norms")
    check_counts(spec, "stem_kernel")
    if spec.stem_kernel % 2 == 0 or spec.stem_kernel > MAX_STEM_KERNEL:
        raise ValueError(f"stem_kernel {spec.stem_kernel} is not an odd number up to {MAX_STEM_KERNEL}")
    if spec.stem == "imagenet" and spec.stem_kernel != 3:
        raise ValueError(
            "stem_kernel is for the stem 'cifar': the kernels of the stem 'imagenet' are 7x7, deep ones 3x3"
        )
    if spec.stem == "cifar" and (spec.stem_widths or spec.blur_pool):
        raise ValueError("stem_widths and blur_pool need the stem 'imagenet'")
    if spec.blur_pool and spec.spatial_dims != 2:
        raise ValueError(f"blur_pool needs spatial_dims 2, not {spec.spatial_dims}")


def check_cuts(spec: DenseNetSpec) -> None:
    """Raise ValueError unless every cut is a connection, and every layer keeps a source."""
    for cut in spec.cuts:
        block, source, target = cut
        if not (1 <= block <= len(spec.block_config) and 0 <= source < target <= spec.block_config[block - 1] + 1):
            raise ValueError(f"cuts contain {cut}, which is no connection (block, source layer, target layer)")
    for block, _, target in spec.cuts:
        if not spec.sources(block, target):
            raise ValueError(f"cuts leave layer {target} of block {block} without a source: keep at least one")


def check_norm(spec: DenseNetSpec) -> None:
    """Raise ValueError unless the norms are of a known kind, fit the network's widths, and allow its cuts."""
    if spec.norm not in NORM_KINDS:
        raise ValueError(f"norm {spec.norm!r} is unknown: choose from {', '.join(NORM_KINDS)}")
    if type(spec.norm_groups) is not int or (spec.norm_groups > 0) != (spec.norm == "group"):
        raise ValueError(f"norm_groups {spec.norm_groups} must be 1 or more for group norms, and 0 for others")
    if spec.cuts and spec.norm in ("group", "layer"):
        raise ValueError(f"cuts need norms that treat each feature map by itself: {spec.norm} norms do not")
    if spec.norm == "group" and (odd := _widths_without_groups(spec)):
        raise ValueError(f"norm_groups {spec.norm_groups} does not divide the {odd[0]} feature maps of a norm")


def _widths_without_groups(spec: DenseNetSpec) -> list[int]:
    """Return the widths of norms that can't be divided into ``norm_groups`` groups of equal size."""
    widths = {layer.in_maps for layer in unchecked_layers(spec, input_size=1) if layer.kind == "norm"}
    return sorted(width for width in widths if width % min(spec.norm_groups, width))
