"""The shapes of a network's tensors, by arithmetic on its spec where that is a DenseNet's."""

from __future__ import annotations

from collections.abc import Iterator

from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.names import Spec

Shape = tuple[int, ...]


def tensor_shapes(spec: Spec) -> dict[str, Shape]:
    """The state dict of a freshly built network: names, in its order, and shapes.

    Raises:
        RuntimeError, OverflowError, TypeError: no network can be built of these sizes.
    """
    if isinstance(spec, DenseNetSpec):
        return dict(_densenet(spec))
    import torch

    from densenet_core.networks.build import build_model

    with torch.device("meta"):
        return {key: tuple(tensor.shape) for key, tensor in build_model(spec).state_dict().items()}


def _densenet(spec: DenseNetSpec) -> Iterator[tuple[str, Shape]]:
    yield from _stem(spec)
    for block, num_layers in enumerate(spec.block_config, start=1):
        for layer in range(1, num_layers + 1):
            yield from _dense_layer(spec, block, layer)
        if block < len(spec.block_config):
            name, in_maps = f"features.transition{block}", spec.input_maps(block, num_layers + 1)
            yield from _norm(f"{name}.norm", in_maps)
            yield _conv(spec, f"{name}.conv", in_maps, spec.block_inputs[block], 1)
    out_maps = spec.input_maps(len(spec.block_config), spec.block_config[-1] + 1)
    yield from _norm("features.norm5", out_maps)
    yield "classifier.weight", (spec.num_classes, out_maps)
    yield "classifier.bias", (spec.num_classes,)


def _stem(spec: DenseNetSpec) -> Iterator[tuple[str, Shape]]:
    yield _conv(spec, "features.conv0", spec.in_channels, spec.num_init_features, 7 if spec.stem == "imagenet" else 3)
    if spec.stem == "imagenet":
        yield from _norm("features.norm0", spec.num_init_features)


def _dense_layer(spec: DenseNetSpec, block: int, layer: int) -> Iterator[tuple[str, Shape]]:
    name, in_maps = f"features.denseblock{block}.denselayer{layer}", spec.input_maps(block, layer)
    yield from _norm(f"{name}.norm1", in_maps)
    if not spec.bottleneck:
        yield _conv(spec, f"{name}.conv1", in_maps, spec.growth_rate, 3)
        return
    width = spec.bn_size * spec.growth_rate
    yield _conv(spec, f"{name}.conv1", in_maps, width, 1)
    yield from _norm(f"{name}.norm2", width)
    yield _conv(spec, f"{name}.conv2", width, spec.growth_rate, 3)


def _conv(spec: DenseNetSpec, name: str, in_maps: int, out_maps: int, kernel: int) -> tuple[str, Shape]:
    return f"{name}.weight", (out_maps, in_maps, *(kernel,) * spec.spatial_dims)


def _norm(name: str, num_maps: int) -> Iterator[tuple[str, Shape]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (num_maps,)
    yield f"{name}.num_batches_tracked", ()
