"""The layers of a DenseNet in the order in which they run, and the paths between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from densenet_core.networks.layers import LayerWalk
from densenet_core.networks.paths import PathGraph

if TYPE_CHECKING:
    from densenet_core.networks.densenet_spec import DenseNetSpec


class StemConv(NamedTuple):
    """One convolution of a stem."""

    maps: int
    kernel: int
    stride: int
    has_norm: bool  # a norm and a ReLU follow it


def stem_convs(spec: DenseNetSpec) -> tuple[StemConv, ...]:
    """Return the convolutions of the stem: one, or several of 3x3 in a deep stem."""
    if spec.stem == "cifar":
        return (StemConv(spec.num_init_features, spec.stem_kernel, stride=1, has_norm=spec.stem_norm),)
    if not spec.stem_widths:
        return (StemConv(spec.num_init_features, kernel=7, stride=2, has_norm=True),)
    strides = (2, *(1,) * len(spec.stem_widths))
    widths = (*spec.stem_widths, spec.num_init_features)
    return tuple(StemConv(maps, 3, stride, has_norm=True) for maps, stride in zip(widths, strides, strict=True))


def add_densenet_layers(spec: DenseNetSpec, walk: LayerWalk) -> None:
    """Add every layer of the network to ``walk``."""
    walk.norm, walk.norm_groups = spec.norm, spec.norm_groups
    _add_stem(spec, walk)
    num_blocks = len(spec.block_config)
    for block, num_layers in enumerate(spec.block_config, start=1):
        walk.stage = f"block{block}"
        for layer in range(1, num_layers + 1):
            _add_dense_layer(spec, walk, block, layer)
        if block < num_blocks:
            _add_transition(spec, walk, block)
    walk.stage = "head"
    _add_selection(spec, walk, num_blocks, spec.block_config[-1] + 1, "features.norm5")
    walk.add_norm_relu("features.norm5", "features.norm5.relu")
    walk.add("classifier.pool", "global_pool")
    _add_classifier(spec, walk)


def _add_stem(spec: DenseNetSpec, walk: LayerWalk) -> None:
    for number, conv in enumerate(stem_convs(spec)):
        walk.add(f"features.conv{number}", "conv", conv.maps, conv.kernel, conv.stride)
        if conv.has_norm:
            walk.add_norm_relu(f"features.norm{number}", f"features.relu{number}")
    if spec.stem == "imagenet":
        walk.add("features.pool0", "max_pool", kernel=3, stride=1 if spec.blur_pool else 2)
    if spec.blur_pool:
        walk.add("features.pool0.blur", "avg_pool", kernel=3, stride=2)


def _add_classifier(spec: DenseNetSpec, walk: LayerWalk) -> None:
    """Add one linear layer, or several with ReLUs between them under the names of an ``nn.Sequential``."""
    if not spec.head_widths:
        walk.add("classifier", "linear", spec.num_classes)
        return
    for number, width in enumerate(spec.head_widths):
        walk.add(f"classifier.{2 * number}", "linear", width)
        walk.add(f"classifier.{2 * number + 1}", "relu")
    walk.add(f"classifier.{2 * len(spec.head_widths)}", "linear", spec.num_classes)


def _add_dense_layer(spec: DenseNetSpec, walk: LayerWalk, block: int, layer: int) -> None:
    name, block_maps = f"features.denseblock{block}.denselayer{layer}", walk.maps
    _add_selection(spec, walk, block, layer, name)
    walk.add_norm_relu(f"{name}.norm1", f"{name}.relu1")
    if spec.bottleneck:
        walk.add(f"{name}.conv1", "conv", spec.bn_size * spec.growth_rate)
        walk.add_norm_relu(f"{name}.norm2", f"{name}.relu2")
    walk.add(f"{name}.conv{2 if spec.bottleneck else 1}", "conv", spec.growth_rate, kernel=3)
    walk.add(f"{name}.concat", "concat", block_maps + spec.growth_rate)


def _add_transition(spec: DenseNetSpec, walk: LayerWalk, block: int) -> None:
    name, walk.stage = f"features.transition{block}", f"transition{block}"
    _add_selection(spec, walk, block, spec.block_config[block - 1] + 1, name)
    walk.add_norm_relu(f"{name}.norm", f"{name}.relu")
    walk.add(f"{name}.conv", "conv", spec.block_inputs[block])
    walk.add(f"{name}.pool", "avg_pool", kernel=3 if spec.blur_pool else 2, stride=2)


def _add_selection(spec: DenseNetSpec, walk: LayerWalk, block: int, target: int, name: str) -> None:
    """Add the concatenation of the remaining feature maps if connections to ``target`` are cut."""
    if (in_maps := spec.input_maps(block, target)) < walk.maps:
        walk.add(f"{name}.select", "concat", in_maps)


def densenet_paths(spec: DenseNetSpec) -> PathGraph:
    """Return which layers of the network read which."""
    graph = PathGraph(length=1 + len(spec.stem_widths))
    num_convs = 2 if spec.bottleneck else 1
    for block, num_layers in enumerate(spec.block_config, start=1):
        outputs = [graph.last]  # of the block's sources 0, 1, ...
        for target in range(1, num_layers + 2):
            sources = [outputs[source] for source in spec.sources(block, target)]
            if target <= num_layers:
                outputs.append(graph.add(f"denseblock{block}.denselayer{target}", f"block{block}", num_convs, sources))
            elif block < len(spec.block_config):
                graph.add(f"transition{block}", f"transition{block}", 1, sources)
            else:
                graph.add_classifier(sources, length=1 + len(spec.head_widths))
    return graph
