"""Every layer of a network with its shapes, by arithmetic on the spec: no weights are allocated, no data touched."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

from densenet_core.networks.deeply_supervised_spec import DeeplySupervisedSpec
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.fractalnet_spec import FractalNetSpec
from densenet_core.networks.highway_spec import HighwaySpec
from densenet_core.networks.names import Spec
from densenet_core.networks.resnet_spec import EXPANSION, ResNetSpec

Kind = Literal[
    "conv",
    "linear",
    "norm",
    "relu",
    "max_pool",
    "avg_pool",
    "global_pool",
    "concat",
    "pad",
    "add",
    "sigmoid",
    "companion",  # a classifier that runs in training alone: weights without operations
    "join",  # the mean of several columns
    "gate",  # x + T (h - x), of an input, a layer's output and how far its gate is open
]
MOST_PIXELS = 65_536  # a side; more would not fit into a count of 64 bits


class Layer(NamedTuple):
    """One layer of a network, in the order in which it runs."""

    name: str  # the module's, in torchvision's names; of an operation without one, that of its owner and the operation
    kind: Kind
    stage: str  # stem, block1, transition1, ..., layer1, ..., head
    in_maps: int
    out_maps: int
    kernel: int  # 1 where there is none
    stride: int
    in_size: int  # pixels a side (all sides alike)
    out_size: int
    is_branch: bool = False  # reads what a layer of the longest path has read: a projection, a gate, a shorter column
    has_bias: bool = False  # of convolutions; linear layers have one


def network_layers(spec: Spec, input_size: int) -> list[Layer]:
    """The layers of a network on an input of ``input_size`` pixels a side.

    Raises:
        ValueError: the input is too small for the network's strides; the least size that works is named.
    """
    if not 1 <= input_size <= MOST_PIXELS:
        raise ValueError(f"input size {input_size} must be from 1 to {MOST_PIXELS:,}")
    layers = list(_kept_layers(spec, input_size))
    if layers[-1].in_size < 1:
        fitting = (size for size in range(input_size, MOST_PIXELS) if _layers(spec, size)[-1].in_size >= 1)
        least = next(fitting, f"above {MOST_PIXELS:,}") if len(layers) < 10_000 else "much larger"
        raise ValueError(f"input size {input_size} is too small for {spec.title}: the least that works is {least}")
    return layers


@lru_cache(maxsize=2)
def _kept_layers(spec: Spec, input_size: int) -> tuple[Layer, ...]:
    """Those of the network asked for last: its cost and its memory are counted one after the other."""
    return tuple(_layers(spec, input_size))


def _layers(spec: Spec, input_size: int) -> list[Layer]:
    if isinstance(spec, DeeplySupervisedSpec):
        return _supervised_layers(spec, _layers(spec.base, input_size))
    walk = _Walk(spec.in_channels, input_size)
    if isinstance(spec, DenseNetSpec):
        _dense_layers(spec, walk)
    elif isinstance(spec, HighwaySpec):
        _highway_layers(spec, walk)
    elif isinstance(spec, FractalNetSpec):
        _fractal_layers(spec, walk)
    else:
        _residual_layers(spec, walk)
    return walk.layers


class _Walk:
    """Where the network's main path stands: its width and resolution, and the layers up to there."""

    def __init__(self, maps: int, size: int) -> None:
        self.maps, self.size, self.stage = maps, size, "stem"
        self.layers: list[Layer] = []

    def add(
        self,
        name: str,
        kind: Kind,
        out_maps: int | None = None,
        kernel: int = 1,
        stride: int = 1,
        has_bias: bool = False,
    ) -> None:
        """Appends a layer that reads the main path, which then goes on from its output."""
        maps = self.maps if out_maps is None else out_maps
        size = self._out_size(kind, kernel, stride)
        self.layers.append(
            Layer(name, kind, self.stage, self.maps, maps, kernel, stride, self.size, size, has_bias=has_bias)
        )
        self.maps, self.size = maps, size

    def _out_size(self, kind: Kind, kernel: int, stride: int) -> int:
        if kind in ("global_pool", "linear"):
            return min(1, self.size)
        if kernel % 2 == 0:  # a pooling without padding
            return (self.size - kernel) // stride + 1
        if kind in ("conv", "max_pool"):  # padded by half the kernel
            return (self.size - 1) // stride + 1
        return -(-self.size // stride)

    def stem(self, spec: DenseNetSpec | ResNetSpec, names: tuple[str, str, str, str], has_norm: bool) -> None:
        conv, norm, relu, pool = names
        kernel, stride = (7, 2) if spec.stem == "imagenet" else (3, 1)
        self.add(conv, "conv", spec.num_init_features, kernel, stride)
        if has_norm:
            self.add(norm, "norm")
            self.add(relu, "relu")
        if spec.stem == "imagenet":
            self.add(pool, "max_pool", kernel=3, stride=2)

    def head(self, norm: str | None, classifier: str, num_classes: int) -> None:
        self.stage = "head"
        if norm is not None:
            self.add(norm, "norm")
            self.add(f"{norm}.relu", "relu")
        self.add(f"{classifier}.pool", "global_pool")
        self.add(classifier, "linear", num_classes)


def _dense_layers(spec: DenseNetSpec, walk: _Walk) -> None:
    names = ("features.conv0", "features.norm0", "features.relu0", "features.pool0")
    walk.stem(spec, names, has_norm=spec.stem == "imagenet")
    for b, num_layers in enumerate(spec.block_config, start=1):
        walk.stage = f"block{b}"
        for s in range(1, num_layers + 1):
            _dense_layer(spec, walk, b, s)
        if b < len(spec.block_config):
            walk.stage = name = f"transition{b}"
            name = f"features.{name}"
            _select(spec, walk, b, num_layers + 1, name)
            walk.add(f"{name}.norm", "norm")
            walk.add(f"{name}.relu", "relu")
            walk.add(f"{name}.conv", "conv", spec.block_inputs[b])
            walk.add(f"{name}.pool", "avg_pool", kernel=2, stride=2)
    walk.stage = "head"
    _select(spec, walk, len(spec.block_config), spec.block_config[-1] + 1, "features.norm5")
    walk.head("features.norm5", "classifier", spec.num_classes)


def _select(spec: DenseNetSpec, walk: _Walk, block: int, target: int, name: str) -> None:
    """Where connections were cut, the maps that are left are put together anew."""
    if (in_maps := spec.input_maps(block, target)) < walk.maps:
        walk.add(f"{name}.select", "concat", in_maps)


def _dense_layer(spec: DenseNetSpec, walk: _Walk, block: int, layer: int) -> None:
    name, old_maps = f"features.denseblock{block}.denselayer{layer}", walk.maps
    _select(spec, walk, block, layer, name)
    walk.add(f"{name}.norm1", "norm")
    walk.add(f"{name}.relu1", "relu")
    if spec.bottleneck:
        walk.add(f"{name}.conv1", "conv", spec.bn_size * spec.growth_rate)
        walk.add(f"{name}.norm2", "norm")
        walk.add(f"{name}.relu2", "relu")
    walk.add(f"{name}.conv{2 if spec.bottleneck else 1}", "conv", spec.growth_rate, kernel=3)
    walk.add(f"{name}.concat", "concat", old_maps + spec.growth_rate)


def _residual_layers(spec: ResNetSpec, walk: _Walk) -> None:
    walk.stem(spec, ("conv1", "bn1", "relu", "maxpool"), has_norm=not spec.preactivation)
    for s, (num_blocks, planes) in enumerate(zip(spec.stage_config, spec.stage_planes, strict=True)):
        walk.stage = f"layer{s + 1}"
        for b in range(num_blocks):
            _residual_block(spec, walk, f"layer{s + 1}.{b}", planes, stride=2 if s > 0 and b == 0 else 1)
    walk.head("bn" if spec.preactivation else None, "fc", spec.num_classes)


def _residual_block(spec: ResNetSpec, walk: _Walk, name: str, planes: int, stride: int) -> None:
    in_maps, in_size, out_maps = walk.maps, walk.size, planes * EXPANSION[spec.block]
    convs = [(planes, 3, stride), (planes, 3, 1)]
    if spec.block == "bottleneck":
        convs = [(planes, 1, 1), (planes, 3, stride), (out_maps, 1, 1)]
    for i, (maps, kernel, step) in enumerate(convs, start=1):
        if spec.preactivation:
            walk.add(f"{name}.bn{i}", "norm")
            walk.add(f"{name}.relu{i}", "relu")
        walk.add(f"{name}.conv{i}", "conv", maps, kernel, step)
        if not spec.preactivation:
            walk.add(f"{name}.bn{i}", "norm")
            if i < len(convs):
                walk.add(f"{name}.relu{i}", "relu")
    if spec.shortcut != "none":
        if stride != 1 or in_maps != out_maps:
            walk.layers += _shortcut(spec, walk, f"{name}.downsample", in_maps, in_size, stride)
        walk.add(f"{name}.add", "add")
    if not spec.preactivation:
        walk.add(f"{name}.relu", "relu")


def _shortcut(spec: ResNetSpec, walk: _Walk, name: str, in_maps: int, in_size: int, stride: int) -> Iterator[Layer]:
    shape = (in_maps, walk.maps, 1, stride, in_size, walk.size)
    if spec.shortcut == "identity":
        yield Layer(name, "pad", walk.stage, *shape)
        return
    yield Layer(f"{name}.0", "conv", walk.stage, *shape, is_branch=True)
    if not spec.preactivation:
        yield Layer(f"{name}.1", "norm", walk.stage, walk.maps, walk.maps, 1, 1, walk.size, walk.size)


def _highway_layers(spec: HighwaySpec, walk: _Walk) -> None:
    for s, (num_layers, width) in enumerate(zip(spec.stage_config, spec.stage_widths, strict=True), start=1):
        walk.stage = f"stage{s}"
        if s > 1:
            walk.add(f"stage{s}.pool", "max_pool", kernel=2, stride=2)
        for layer in range(num_layers):
            name = f"stage{s}.{layer}"
            walk.add(f"{name}.conv", "conv", width, kernel=3, has_bias=True)
            conv = walk.layers[-1]
            walk.add(f"{name}.relu", "relu")
            if layer > 0:
                walk.layers.append(conv._replace(name=f"{name}.gate", is_branch=True))
                walk.add(f"{name}.gate.sigmoid", "sigmoid")
                walk.add(f"{name}.mix", "gate")
    walk.head(None, "fc", spec.num_classes)


def _fractal_layers(spec: FractalNetSpec, walk: _Walk) -> None:
    for b, width in enumerate(spec.widths, start=1):
        walk.stage = f"block{b}"
        if b in spec.widenings:
            _conv_unit(walk, f"widen{b}", width, kernel=1)
        inputs = dict.fromkeys(range(1, spec.num_columns + 1), walk.maps)  # maps that each column reads next
        for row in range(1, spec.rows + 1):
            ending = spec.ending(row)
            for column in ending:  # the deepest first: it alone lies on the longest path
                walk.maps = inputs[column]
                _conv_unit(walk, f"block{b}.column{column}.{row // spec.span(column) - 1}", width)
                if column < spec.num_columns:
                    walk.layers[-3] = walk.layers[-3]._replace(is_branch=True)
            if len(ending) > 1:
                walk.maps = len(ending) * width
                walk.add(f"block{b}.join{row}", "join", width)
            inputs |= dict.fromkeys(ending, width)
        walk.add(f"block{b}.pool", "max_pool", kernel=2, stride=2)
    walk.head(None, "fc", spec.num_classes)


def _conv_unit(walk: _Walk, name: str, maps: int, kernel: int = 3) -> None:
    walk.add(f"{name}.conv", "conv", maps, kernel)
    walk.add(f"{name}.norm", "norm")
    walk.add(f"{name}.relu", "relu")


def _supervised_layers(spec: DeeplySupervisedSpec, layers: list[Layer]) -> list[Layer]:
    """The network's own layers, and the companions in front of its classifier."""
    companions = [
        Layer(f"companions.{i}", "companion", "companions", maps, spec.num_classes, 1, 1, 1, 1)
        for i, maps in enumerate(spec.hidden_ends.values())
    ]
    own = [layer._replace(name=f"network.{layer.name}") for layer in layers]
    return [*own[:-1], *companions, own[-1]]
