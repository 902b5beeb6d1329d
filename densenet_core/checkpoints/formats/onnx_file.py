"""ONNX graphs, followed node by node to see which layer reads which feature maps, whatever the names are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.formats.content import Candidate, FileContent
from densenet_core.checkpoints.formats.limits import (
    MAX_CHANNELS,
    MAX_DIMS,
    MAX_NODES,
    MAX_READERS,
    MAX_WALKED_CHANNELS,
)
from densenet_core.checkpoints.formats.onnx_shapes import Shape, broadcast, compute, mean_shape, window_shape
from densenet_core.checkpoints.identify.channel_graph import ChannelWalk, Maps
from densenet_core.checkpoints.identify.layouts import OUR_EPSILON
from densenet_core.errors import CheckpointError, first_line

FOLDED = "folded_norm"  # a batch norm that an exporter folded into a convolution's weights and bias

_CHANNELWISE = {
    "Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Elu", "Selu", "Softplus", "Tanh",
    "Gelu", "Mish", "Dropout", "Identity", "Cast", "InstanceNormalization", "Div", "Sub", "Add", "Pow", "Sqrt", "Abs",
    "Neg", "Exp",
}  # fmt: skip
_POOLS = {"MaxPool", "AveragePool", "LpPool"}
_GLOBAL_POOLS = {"GlobalAveragePool", "GlobalMaxPool"}
_RESIZES = {"Resize", "Upsample", "Pad"}
_MEANS = {"ReduceMean", "ReduceMax", "ReduceSum"}
_RESHAPES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}


class Node(NamedTuple):
    """An operation of the graph."""

    operation: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


def walk_onnx(content: FileContent, candidate: Candidate) -> tuple[ChannelWalk, dict[str, Array], int]:
    """Return a pass through an ONNX graph, its tensors in the order in which they are used, and its input channels.

    Exporters fold a batch norm behind a convolution into its weights and bias. Such a bias becomes a batch norm that
    only adds it, which computes the same.

    Raises:
        CheckpointError: the graph has more nodes or channels than any network, or is damaged.
    """
    try:
        graph = _Graph(content, candidate)
        graph.run()
    except CheckpointError:
        raise
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, ZeroDivisionError, OverflowError) as error:
        raise CheckpointError(f"the ONNX graph is damaged: {first_line(error)}") from error
    return graph.walk, graph.tensors, graph.in_channels


class _Graph:
    """A graph that is followed node by node."""

    def __init__(self, content: FileContent, candidate: Candidate) -> None:
        graph = content.about["graph"]
        self.nodes = [Node(*node) for node in graph["nodes"]]
        if len(self.nodes) > MAX_NODES:
            raise CheckpointError(f"the graph has more than {MAX_NODES:,} nodes, which no network needs")
        self.shapes: dict[str, Shape] = {name: tuple(map(int, shape)) for name, shape in graph["shapes"].items()}
        self._content, self._candidate = content, candidate
        self._constants: dict[str, Array] = {}
        self._aliases: dict[str, str] = {}
        self._sides: dict[str, list[int]] = {}
        self._left, self._num_readers = MAX_WALKED_CHANNELS, 0
        self.walk, self.tensors = ChannelWalk(), dict[str, Array]()
        self.maps: dict[str, Maps] = {}
        self.in_channels = 0
        for name in graph["inputs"]:
            shape = self.shapes.get(name, ())
            if name not in candidate.tensors and len(shape) > 2 and shape[1]:
                self.in_channels = shape[1]
                self.maps[name] = self._source("input", shape[1])

    def run(self) -> None:
        """Follow the feature maps from the inputs on."""
        for node in self.nodes:
            if node.operation == "Shape":
                self._sides[node.outputs[0]] = list(self.shapes.get(node.inputs[0], ()))[:MAX_DIMS]
                continue
            known = [self.maps[name] for name in node.inputs if name in self.maps]
            if known:
                found = self._through(node, known)
                for name, maps in zip(node.outputs, found, strict=False):
                    self.maps[name] = maps
            elif (sides := compute(node.operation, node.attributes, [self.sides(n) for n in node.inputs])) is not None:
                self._sides[node.outputs[0]] = sides[:MAX_DIMS]
            elif node.operation == "Identity" and self.constant(node.inputs[0]) is not None:
                self._aliases[node.outputs[0]] = self._name(node.inputs[0])

    def constant(self, name: str | None) -> Array | None:
        """Return the value of a weight, or None if it is not a constant."""
        name = self._name(name or "")
        if name not in self._candidate.tensors:
            return None
        if name not in self._constants:
            self._constants |= self._content.arrays(self._candidate, [name])
        return self._constants[name]

    def sides(self, name: str) -> list[int] | None:
        """Return a value that consists of a few integers: sides of a shape, positions, axes."""
        if name in self._sides:
            return self._sides[name]
        held = self.constant(name)
        is_few = held is not None and held.dtype.kind == "i" and held.size <= MAX_DIMS
        return [int(number) for number in np.ravel(held)] if is_few and held is not None else None

    def _name(self, name: str) -> str:
        return self._aliases.get(name, name)

    def _through(self, node: Node, known: list[Maps]) -> Sequence[Maps]:
        """Return the feature maps of a node's outputs."""
        maps, shape = known[0], self._shape_of(node.inputs)
        rule = _RULES.get(node.operation)
        if rule is not None and (found := rule(self, node, maps, shape)) is not None:
            return found
        if node.operation in _CHANNELWISE and len(known) == 1:
            shapes = [self.shapes[name] for name in node.inputs[:2] if name in self.shapes] or [shape]
            shapes += [c.shape for name in node.inputs[1:2] if (c := self.constant(name)) is not None and c.ndim]
            whole = broadcast(shapes)
            self._set_shape(node, whole)
            if len(whole) < 2 or whole[1] in (len(maps.channels), 0):
                return [maps]
        return self._new(node, known, shape)

    def _new(self, node: Node, known: list[Maps], shape: Shape) -> list[Maps]:
        """Return the new source of an operation that mixes feature maps."""
        number = self._channels(node.outputs[0]) or len(known[0].channels)
        self._set_shape(node, (*shape[:1], number, *shape[2:]))
        return [self._source(node.name or node.operation, number, known)] * len(node.outputs)

    def _shape_of(self, names: list[str]) -> Shape:
        """Return the shape of the first of these values that has feature maps."""
        for name in names:
            if name in self.maps:
                return self.shapes.get(name, (0, len(self.maps[name].channels), 0, 0))
        return ()

    def _set_shape(self, node: Node, shape: Shape) -> None:
        for name in node.outputs:
            self.shapes.setdefault(name, shape)

    def _channels(self, value: str) -> int:
        """Return the number of channels of a value, 0 if its shape is not known."""
        shape = self.shapes.get(value, ())
        return shape[1] if len(shape) > 1 else 0

    def _source(self, name: str, number: int, made_of: Sequence[Maps] = ()) -> Maps:
        self.spend(number)
        return self.walk.source(name, number, made_of)

    def spend(self, number: int) -> None:
        """Count channels; raise CheckpointError if they are more than any network has."""
        self._left -= number
        if not 0 < number <= MAX_CHANNELS or self._left < 0:
            raise CheckpointError(f"a value of the graph has {number:,} channels, which no network needs")

    def read(self, node: Node, maps: Maps, outputs: int, weight: Array, **options: Any) -> tuple[str, Maps]:
        """Return a layer's weight key as PyTorch would name it, and the feature maps that it makes."""
        self.spend(outputs)
        self._num_readers += 1
        if self._num_readers > MAX_READERS:
            raise CheckpointError(f"the graph has more than {MAX_READERS:,} layers with weights")
        name = self._name(node.inputs[1])
        key = name if name.endswith(".weight") else f"{name}.weight"
        self.tensors[key] = weight
        return key, self.walk.read(key, maps, outputs, **options)

    def spread(self, node: Node, maps: Maps, shape: Shape) -> list[Maps]:
        """Return unchanged feature maps for every output."""
        self._set_shape(node, shape)
        return [maps] * len(node.outputs)


Rule = Callable[[_Graph, Node, Maps, Shape], "list[Maps] | None"]


def _conv(graph: _Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    weight = graph.constant(node.inputs[1])
    if weight is None or weight.ndim < 3:
        return None
    is_transposed, groups = node.operation == "ConvTranspose", int(node.attributes.get("group", 1))
    outputs = weight.shape[1] * groups if is_transposed else weight.shape[0]
    axis = 0 if is_transposed else 1
    if groups < 1 or weight.shape[axis] * (1 if is_transposed else groups) != len(maps.channels):
        raise CheckpointError(f"weights {node.inputs[1]!r} of shape {weight.shape} read {len(maps.channels)} channels")
    key, made = graph.read(node, maps, outputs, weight, groups=groups, input_axis=axis)
    bias = graph.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is not None:
        _keep_folded(graph.tensors, f"{key.removesuffix('.weight')}.{FOLDED}", bias)
    sides = (0,) * (len(shape) - 2)
    whole = (
        (*shape[:1], outputs, *sides)
        if is_transposed
        else window_shape(shape, weight.shape[2:], node.attributes, outputs)
    )
    return graph.spread(node, made, whole)


def _keep_folded(tensors: dict[str, Array], name: str, bias: Array) -> None:
    one = np.ones(len(bias), np.float32)
    own = {"weight": one, "bias": np.array(bias), "running_mean": 0 * one, "running_var": one - OUR_EPSILON}
    tensors |= {f"{name}.{part}": tensor for part, tensor in own.items()}


def _linear(graph: _Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    weight = graph.constant(node.inputs[1])
    if weight is None or weight.ndim != 2 or node.inputs[0] not in graph.maps:
        return None
    weight = weight if node.attributes.get("transB") else weight.T  # (out, in)
    repeats, rest = divmod(weight.shape[1], len(maps.channels))
    if rest or not repeats:
        return None
    graph.spend(weight.shape[1])
    flat = Maps(np.repeat(maps.channels, repeats), maps.norm)  # every pixel an input
    key, made = graph.read(node, flat, len(weight), np.ascontiguousarray(weight), is_linear=True)
    bias = graph.constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(len(weight), weight.dtype)
    if bias is not None:
        graph.tensors[f"{key.removesuffix('.weight')}.bias"] = bias
    return graph.spread(node, made, (*shape[:1], len(weight)))


def _norm(graph: _Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    parts = [graph.constant(name) for name in node.inputs[1:5]]
    if len(parts) < 4 or any(part is None or part.shape != (len(maps.channels),) for part in parts):
        return None
    name = node.inputs[1].removesuffix(".weight")
    for part, array in zip(("weight", "bias", "running_mean", "running_var"), parts, strict=True):
        graph.tensors[f"{name}.{part}"] = np.array(array)
    graph.tensors[f"{name}.running_var"] += node.attributes.get("epsilon", OUR_EPSILON) - OUR_EPSILON
    return graph.spread(node, Maps(maps.channels, name), shape)


def _concat(graph: _Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    if not shape or node.attributes["axis"] % len(shape) != 1:
        return None
    parts = [graph.maps.get(name) or _constant_maps(graph, name) for name in node.inputs]
    total = sum(len(part.channels) for part in parts)
    graph.spend(total)
    return graph.spread(node, graph.walk.concatenate(parts), (*shape[:1], total, *shape[2:]))


def _constant_maps(graph: _Graph, name: str) -> Maps:
    held = graph.constant(name)
    number = held.shape[1] if held is not None and held.ndim > 1 else graph._channels(name)
    return graph._source("constant", number)


def _slice(graph: _Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    parts = [graph.constant(name) for name in node.inputs[1:]]
    if len(parts) < 3 or any(part is None for part in parts):
        return None
    starts, ends, axes = ([int(v) for v in np.ravel(part)] for part in parts[:3] if part is not None)
    steps = [int(v) for v in np.ravel(parts[3])] if len(parts) > 3 and parts[3] is not None else [1] * len(axes)
    if any(axis % len(shape) == 0 for axis in axes) or 0 in steps:
        return None
    channels, sides = maps.channels, list(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if axis % len(shape) == 1:
            channels = channels[slice(start, end, step)]
        else:
            sides[axis % len(shape)] = 0
    if not len(channels):
        return None
    sides[1] = len(channels)
    return graph.spread(node, Maps(channels, maps.norm if len(channels) == len(maps.channels) else None), tuple(sides))


def _split(graph: _Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    if not shape or node.attributes.get("axis", 0) % len(shape) != 1:
        return None
    given = graph.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    even = [-(-len(maps.channels) // len(node.outputs))] * len(node.outputs)
    widths = [int(v) for v in (node.attributes.get("split") or (even if given is None else np.ravel(given)))]
    ends = np.minimum(np.cumsum([0, *widths]), len(maps.channels))
    if min(widths) < 1 or len(widths) != len(node.outputs) or ends[-1] != len(maps.channels):
        return None
    for name, first, end in zip(node.outputs, ends, ends[1:], strict=False):
        graph.shapes.setdefault(name, (*shape[:1], int(end - first), *shape[2:]))
    return [Maps(maps.channels[a:b]) for a, b in pairwise(ends)]


def _scale(graph: _Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    """Multiply by a constant or a gate; a gated source is a new one."""
    shapes = [graph.shapes[name] for name in node.inputs if name in graph.shapes]
    shapes += [held.shape for name in node.inputs if (held := graph.constant(name)) is not None]
    out = broadcast(shapes) if shapes else shape
    graph._set_shape(node, out)
    known = [name for name in node.inputs if name in graph.maps]
    if len(known) == 1:
        return [maps] if len(out) < 2 or out[1] in (len(maps.channels), 0) else None
    whole = [name for name in known if graph.shapes.get(name) == out]
    if len(whole) != 1:
        return None
    source = graph.walk.name(graph.maps[whole[0]])
    if source is None:
        return [graph.maps[whole[0]]]
    return [graph._source(source, len(graph.maps[whole[0]].channels), [graph.maps[name] for name in known])]


def _pool(graph: _Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    if node.operation in _GLOBAL_POOLS:
        return graph.spread(node, maps, (*shape[:2], *(1,) * (len(shape) - 2)))
    kernel = node.attributes.get("kernel_shape") or []
    return graph.spread(node, maps, window_shape(shape, kernel, node.attributes, len(maps.channels)))


def _resize(graph: _Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    named = graph.shapes.get(node.outputs[0], ())
    if len(named) > 1 and named[1] not in (0, len(maps.channels)):
        return None
    return graph.spread(node, maps, (*shape[:2], *(0,) * (len(shape) - 2)))


def _average(graph: _Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    given = graph.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    axes = node.attributes.get("axes") or ([] if given is None else [int(v) for v in np.ravel(given)])
    if not axes or not shape or min(axis % len(shape) for axis in axes) < 2:
        return None
    return graph.spread(node, maps, mean_shape(shape, axes, bool(node.attributes.get("keepdims", 1))))


def _reshape(graph: _Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    """Reshape behind the channels, or flatten: the linear layer that reads the result shows the number of pixels."""
    number = len(maps.channels)
    given = graph.sides(node.inputs[1]) if len(node.inputs) > 1 else None
    if node.operation == "Flatten":
        return graph.spread(node, maps, (*shape[:1], 0)) if node.attributes.get("axis", 1) == 1 else None
    if node.operation != "Reshape":
        axes = node.attributes.get("axes") or given or []
        rank = len(shape) - len(axes) if node.operation == "Squeeze" else len(shape) + len(axes)
        is_apart = all(axis < 0 or axis > 1 for axis in axes)
        return graph.spread(node, maps, (*shape[:2], *(1,) * max(0, rank - 2))) if is_apart else None
    named = graph.shapes.get(node.outputs[0], ())
    target = tuple(given) if given is not None else named
    if not target:  # of computed shape: flattened before a linear layer
        return graph.spread(node, maps, (*shape[:1], 0))
    if len(target) == 2:
        return graph.spread(node, maps, (*shape[:1], 0))
    is_same = len(target) > 2 and (target[1] == number or (target[1] == 0 and given is not None))
    return graph.spread(node, maps, (*shape[:1], number, *(0,) * (len(target) - 2))) if is_same else None


_RULES: Mapping[str, Rule] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Gemm": _linear,
    "MatMul": _linear,
    "BatchNormalization": _norm,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Mul": _scale,
    **dict.fromkeys((*_POOLS, *_GLOBAL_POOLS), _pool),
    **dict.fromkeys(_RESIZES, _resize),
    **dict.fromkeys(_MEANS, _average),
    **dict.fromkeys(_RESHAPES, _reshape),
}
