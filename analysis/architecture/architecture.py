"""The structure of a DenseNet, from its spec: connections, widths and sizes, block by block."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pandas as pd

from analysis.architecture.cost import count_cost, default_input_size
from densenet_core import DenseNetSpec
from densenet_core.checkpoints.identify.connectivity import targets
from densenet_core.networks.layers import NormKind, network_layers
from densenet_core.networks.spec import Spec

STAGE_COLUMNS = ["stage", "kind", "block", "num_layers", "in_maps", "out_maps", "in_size", "out_size"]


def block_connections(spec: DenseNetSpec, block: int = 1) -> pd.DataFrame:
    """Return the direct connections of one dense block, one row each (paper, section 3, "Dense connectivity").

    Returns:
        Columns block, source_layer, target_layer, target_kind and num_channels, as in the feature-reuse table: in a
        block of n layers n(n+1)/2 rows into its layers and n+1 into what follows, without those that were cut.

    Raises:
        ValueError: the network has no such block.
    """
    check_block(spec, block)
    channels = spec.source_channels(block)
    rows = [
        (block, source, target.layer, target.kind, channels[source])
        for target in targets(spec)
        if target.block == block
        for source in spec.sources(block, target.layer)
    ]
    return pd.DataFrame(rows, columns=["block", "source_layer", "target_layer", "target_kind", "num_channels"])


def block_layers(spec: DenseNetSpec, block: int = 1) -> pd.DataFrame:
    """Return what each layer of one dense block reads and adds: k0 + k(l-1) feature maps in, k out (paper, section 3).

    Returns:
        Columns layer (0 = the block's input, 1..n, n+1 = what follows the block), kind (input, dense_layer, transition,
        classifier), num_sources, input_maps and output_maps (of a classifier: its scores).

    Raises:
        ValueError: the network has no such block.
    """
    check_block(spec, block)
    rows = [(0, "input", 0, 0, spec.block_inputs[block - 1])]
    for target in targets(spec):
        if target.block == block:
            sources, maps = spec.sources(block, target.layer), spec.input_maps(block, target.layer)
            rows.append((target.layer, target.kind, len(sources), maps, _output_maps(spec, block, target.kind)))
    return pd.DataFrame(rows, columns=["layer", "kind", "num_sources", "input_maps", "output_maps"])


def network_stages(spec: DenseNetSpec, input_size: int | None = None) -> pd.DataFrame:
    """Return the stages of the network, as in the paper's Figure 2, in the order in which they run.

    Args:
        input_size: height and width of the image in pixels; by default the network's own.

    Returns:
        Columns stage (stem, block1, transition1, ..., head), kind (stem, block, transition, head), block (0 for stem
        and head), num_layers (dense layers; 0 except for blocks), in_maps and out_maps (feature maps), in_size and
        out_size (height in pixels).

    Raises:
        ValueError: the input is too small for the network; the message names the smallest size that works.
    """
    size = default_input_size(spec) if input_size is None else input_size
    cost = count_cost(spec, size)
    maps, rows = spec.in_channels, []
    for stage, layers in cost.groupby("stage", sort=False):
        kind, number = re.fullmatch(r"([a-z]+)(\d*)", name := str(stage)).groups()  # type: ignore[union-attr]
        block = int(number or 0)
        shape = layers["output_shape"].iloc[-1]
        out_size = shape[1] if len(shape) > 1 else 1
        num_layers = spec.block_config[block - 1] if kind == "block" else 0
        rows.append((name, kind, block, num_layers, maps, shape[0], size, out_size))
        maps, size = shape[0], out_size
    return pd.DataFrame(rows, columns=STAGE_COLUMNS)


_OPERATIONS = {"conv": "Conv", "relu": "ReLU", "concat": "concatenate"}
_NORMS: dict[NormKind, str] = {"batch": "BN", "batch_statistics": "BN", "group": "GN", "layer": "LN", "instance": "IN"}


def composite_function(spec: Spec) -> pd.DataFrame:
    """Return the operations of one layer of a DenseNet or one block of a ResNet, in the order in which they run.

    In the paper's section 3, "Composite function": BN, ReLU, Conv; with a bottleneck twice.

    >>> from densenet_core.networks.names import spec_from_name
    >>> composite_function(spec_from_name("densenet-40-12"))["operation"].tolist()
    ['BN', 'ReLU', 'Conv 3x3', 'concatenate']

    Args:
        spec: of a network of any family; ``Spec.sample_layer`` names its typical layer.

    Returns:
        Columns operation (BN, ReLU, Conv 1x1, ..., concatenate, add), in_maps, out_maps.
    """
    rows = []
    for layer in network_layers(spec, default_input_size(spec)):
        if layer.name.startswith(f"{spec.sample_layer}."):
            kernel = f" {layer.kernel}x{layer.kernel}" if layer.kind == "conv" else ""
            operation = _NORMS[layer.norm] if layer.kind == "norm" else _OPERATIONS.get(layer.kind, layer.kind)
            rows.append((operation + kernel, layer.in_maps, layer.out_maps))
    return pd.DataFrame(rows, columns=["operation", "in_maps", "out_maps"])


def composite_functions(specs: Iterable[Spec]) -> pd.DataFrame:
    """Return the composite functions of networks, each as one line of text.

    >>> from densenet_core.networks.names import spec_from_name
    >>> composite_functions([spec_from_name("densenet-40-12")])["order"][0]
    'BN → ReLU → Conv 3x3 → concatenate'

    Returns:
        Columns network, order (the operations), feature_maps (their numbers, where an operation changes them).
    """
    rows = []
    for spec in specs:
        operations = composite_function(spec)
        maps = [operations["in_maps"].iloc[0], *operations["out_maps"]]
        steps = [str(width) for i, width in enumerate(maps) if i == 0 or width != maps[i - 1]]
        rows.append((spec.title, " → ".join(operations["operation"]), " → ".join(steps)))
    return pd.DataFrame(rows, columns=["network", "order", "feature_maps"])


def sizes_after(sizes: Sequence[int]) -> pd.DataFrame:
    """Return the side of a feature map after each operation of a small network, by its side before.

    A 3x3 convolution loses a pixel at each border unless it pads with zeros, so only padded maps keep their size and
    can be concatenated (paper, section 3, "Pooling layers" and "Implementation Details").

    Args:
        sizes: sides in pixels, 3 or more.

    Returns:
        Columns before, unpadded (3x3 convolution), padded (3x3 convolution with one pixel of zeros), pooled (the
        transition's 2x2 average pooling with stride 2).

    Example:
        >>> sizes_after([6, 7]).to_numpy().tolist()
        [[6, 4, 6, 3], [7, 5, 7, 3]]
    """
    rows = [(size, output_size(size, 3), output_size(size, 3, padding=1), output_size(size, 2, 2)) for size in sizes]
    return pd.DataFrame(rows, columns=["before", "unpadded", "padded", "pooled"])


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """Return the side of a feature map after a convolution or pooling."""
    return (size + 2 * padding - kernel) // stride + 1


def check_block(spec: DenseNetSpec, block: int) -> None:
    """Check that a block exists.

    Raises:
        ValueError: the network has no such block.
    """
    if not 1 <= block <= len(spec.block_config):
        raise ValueError(f"block {block} does not exist: {spec.title} has blocks 1 to {len(spec.block_config)}")


def _output_maps(spec: DenseNetSpec, block: int, kind: str) -> int:
    if kind == "dense_layer":
        return spec.growth_rate
    return spec.block_inputs[block] if kind == "transition" else spec.classifier_width
