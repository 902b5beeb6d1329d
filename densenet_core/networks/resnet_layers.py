"""The layers of a ResNet in the order in which they run, and the paths between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from densenet_core.networks.layers import Layer, LayerWalk
from densenet_core.networks.paths import PathGraph

if TYPE_CHECKING:
    from densenet_core.networks.resnet_spec import ResNetSpec

Block = Literal["basic", "bottleneck"]  # two 3x3 convolutions, or 1x1-3x3-1x1
EXPANSION: dict[Block, int] = {"basic": 1, "bottleneck": 4}
_STEM = ("conv1", "bn1", "relu", "maxpool")


def add_resnet_layers(spec: ResNetSpec, walk: LayerWalk) -> None:
    """Add every layer of the network to ``walk``."""
    walk.add_stem(_STEM, spec.num_init_features, spec.stem == "imagenet", has_norm=not spec.preactivation)
    for stage, (num_blocks, planes) in enumerate(zip(spec.stage_config, spec.stage_planes, strict=True), start=1):
        walk.stage = f"layer{stage}"
        for block in range(num_blocks):
            _add_block(spec, walk, f"layer{stage}.{block}", planes, stride=2 if stage > 1 and block == 0 else 1)
    walk.add_head("bn" if spec.preactivation else None, "fc", spec.num_classes)


def _add_block(spec: ResNetSpec, walk: LayerWalk, name: str, planes: int, stride: int) -> None:
    in_maps, in_size, out_maps = walk.maps, walk.size, planes * EXPANSION[spec.block]
    _add_convs(spec, walk, name, planes, stride)
    if spec.shortcut != "none":
        if stride != 1 or in_maps != out_maps:
            shape = (in_maps, out_maps, 1, stride, in_size, walk.size)
            walk.insert(_shortcut_layers(spec, f"{name}.downsample", walk.stage, shape))
        walk.add(f"{name}.add", "add")
    if not spec.preactivation:
        walk.add(f"{name}.relu", "relu")


def _add_convs(spec: ResNetSpec, walk: LayerWalk, name: str, planes: int, stride: int) -> None:
    convs = [(planes, 3, stride), (planes, 3, 1)]  # (feature maps, kernel, stride)
    if spec.block == "bottleneck":
        convs = [(planes, 1, 1), (planes, 3, stride), (planes * EXPANSION[spec.block], 1, 1)]
    for i, conv in enumerate(convs, start=1):
        if spec.preactivation:
            walk.add_norm_relu(f"{name}.bn{i}", f"{name}.relu{i}")
        walk.add(f"{name}.conv{i}", "conv", *conv)
        if not spec.preactivation:
            walk.add(f"{name}.bn{i}", "norm")
            if i < len(convs):
                walk.add(f"{name}.relu{i}", "relu")


def _shortcut_layers(
    spec: ResNetSpec, name: str, stage: str, shape: tuple[int, int, int, int, int, int]
) -> Iterator[Layer]:
    _, out_maps, *_, out_size = shape
    if spec.shortcut == "identity":
        yield Layer(name, "pad", stage, *shape)
        return
    yield Layer(f"{name}.0", "conv", stage, *shape, is_branch=True)
    if not spec.preactivation:
        yield Layer(f"{name}.1", "norm", stage, out_maps, out_maps, 1, 1, out_size, out_size)


def resnet_paths(spec: ResNetSpec) -> PathGraph:
    """Return which layers of the network read which.

    A shortcut is a path of its own: of length 1 if it is a projection, else 0.
    """
    graph = PathGraph(length=1)
    for stage, num_blocks in enumerate(spec.stage_config, start=1):
        for block in range(num_blocks):
            shortcut = _shortcut_length(spec, stage, block)
            graph.add_residual(f"layer{stage}.{block}", f"layer{stage}", spec.layers_per_block, shortcut)
    graph.add_classifier()
    return graph


def _shortcut_length(spec: ResNetSpec, stage: int, block: int) -> int | None:
    if spec.shortcut == "none":
        return None
    widens = spec.block == "bottleneck" or spec.is_wide
    changes_shape = block == 0 and (stage > 1 or widens)
    return int(changes_shape and spec.shortcut == "projection")
