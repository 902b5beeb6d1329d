"""The layers of a DenseNet in the order in which they run, and the paths between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from densenet_core.networks.layers import LayerWalk
from densenet_core.networks.paths import PathGraph

if TYPE_CHECKING:
    from densenet_core.networks.densenet_spec import DenseNetSpec

_STEM = ("features.conv0", "features.norm0", "features.relu0", "features.pool0")


def add_densenet_layers(spec: DenseNetSpec, walk: LayerWalk) -> None:
    """Add every layer of the network to ``walk``."""
    is_imagenet = spec.stem == "imagenet"
    walk.add_stem(_STEM, spec.num_init_features, is_imagenet, has_norm=is_imagenet)
    num_blocks = len(spec.block_config)
    for block, num_layers in enumerate(spec.block_config, start=1):
        walk.stage = f"block{block}"
        for layer in range(1, num_layers + 1):
            _add_dense_layer(spec, walk, block, layer)
        if block < num_blocks:
            _add_transition(spec, walk, block)
    walk.stage = "head"
    _add_selection(spec, walk, num_blocks, spec.block_config[-1] + 1, "features.norm5")
    walk.add_head("features.norm5", "classifier", spec.num_classes)


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
    walk.add(f"{name}.pool", "avg_pool", kernel=2, stride=2)


def _add_selection(spec: DenseNetSpec, walk: LayerWalk, block: int, target: int, name: str) -> None:
    """Add the concatenation of the remaining feature maps if connections to ``target`` are cut."""
    if (in_maps := spec.input_maps(block, target)) < walk.maps:
        walk.add(f"{name}.select", "concat", in_maps)


def densenet_paths(spec: DenseNetSpec) -> PathGraph:
    """Return which layers of the network read which."""
    graph = PathGraph(length=1)
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
                graph.add_classifier(sources)
    return graph
