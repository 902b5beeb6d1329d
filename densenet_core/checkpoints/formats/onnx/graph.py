"""ONNX graphs, followed node by node to see which layer reads which feature maps, whatever the names are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.formats.content import Candidate, FileContent
from densenet_core.checkpoints.formats.limits import (
    MAX_CHANNELS,
    MAX_DEQUANTIZED,
    MAX_DIMS,
    MAX_NODES,
    MAX_READERS,
    MAX_WALKED_CHANNELS,
)
from densenet_core.checkpoints.formats.onnx.nodes import Node
from densenet_core.checkpoints.formats.onnx.norms import join_norms
from densenet_core.checkpoints.formats.onnx.rules import CHANNELWISE, RULES, SAME
from densenet_core.checkpoints.formats.onnx.shapes import Shape, broadcast, compute
from densenet_core.checkpoints.identify.graphs.channel_graph import ChannelWalk, Maps
from densenet_core.errors import CheckpointError, DamagedFileError


def walk_onnx(content: FileContent, candidate: Candidate) -> tuple[ChannelWalk, dict[str, Array], int]:
    """Return a pass through an ONNX graph, its tensors in the order in which they are used, and its input channels.

    Exporters fold a batch norm behind a convolution into its weights and bias. Such a bias becomes a batch norm that
    only adds it, which computes the same.

    Raises:
        CheckpointError: the graph has more nodes or channels than any network, or is damaged.
    """
    try:
        graph = Graph(content, candidate)
        graph.run()
    except CheckpointError:
        raise
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, ZeroDivisionError, OverflowError) as error:
        raise DamagedFileError("the ONNX graph is damaged: its nodes can't be followed") from error
    return graph.walk, graph.tensors, graph.in_channels


class Graph:
    """A graph that is followed node by node."""

    def __init__(self, content: FileContent, candidate: Candidate) -> None:
        graph = content.about["graph"]
        self.nodes = [Node(*node) for node in graph["nodes"]]
        if len(self.nodes) > MAX_NODES:
            raise CheckpointError(f"the graph has more than {MAX_NODES:,} nodes, which no network needs")
        known = {name: shape for name, shape in graph["shapes"].items() if shape}  # [] of values of unknown rank
        self.shapes: dict[str, Shape] = {name: tuple(map(int, shape)) for name, shape in known.items()}
        self._content, self._candidate = content, candidate
        self._constants: dict[str, Array] = {}
        self._dequantized: dict[str, int] = {}  # of whole numbers: how many they are
        self._aliases: dict[str, str] = {}
        self._sides: dict[str, list[int]] = {}
        self.biases: dict[str, str] = {}  # of a linear layer's output: the name of its bias
        self._left, self._num_readers = MAX_WALKED_CHANNELS, 0
        self.walk, self.tensors = ChannelWalk(), dict[str, Array]()
        self.maps: dict[str, Maps] = {}
        self.in_channels = 0
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs if node.operation != "Shape" else ():
                readers.setdefault(name, []).append(node)
        for name in graph["inputs"]:
            shape = self.shapes.get(name, ())
            if name not in candidate.tensors and len(shape) > 2:
                self._begin(name, shape, readers.get(name, []))

    def _begin(self, name: str, shape: Shape, readers: Sequence[Node]) -> None:
        """Know the images; TensorFlow's, (N, *spatial, C), behind the transpositions that move the channels forward."""
        order = [0, len(shape) - 1, *range(1, len(shape) - 1)]
        moves = [node.operation == "Transpose" and node.attributes.get("perm") == order for node in readers]
        is_last = bool(moves) and all(moves)
        shape = tuple(shape[axis] for axis in order) if is_last else shape
        if shape[1]:
            self.in_channels = shape[1]
            images = self.source("input", shape[1])
            for value in [node.outputs[0] for node in readers] if is_last else [name]:
                self.maps[value], self.shapes[value] = images, shape

    def run(self) -> None:
        """Follow the feature maps from the inputs on."""
        for node in join_norms(self.nodes, self.constant):
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
            elif node.operation == "DequantizeLinear":
                self._dequantize(node)
            elif node.operation == "Identity" and self.constant(node.inputs[0]) is not None:
                self._aliases[node.outputs[0]] = self._name(node.inputs[0])

    def constant(self, name: str | None) -> Array | None:
        """Return the value of a weight, or None if it is not a constant."""
        name = self._name(name or "")
        if name not in self._constants and name in self._candidate.tensors:
            self._constants |= self._content.arrays(self._candidate, [name])
        return self._constants.get(name)

    def _dequantize(self, node: Node) -> None:
        """Compute a weight from whole numbers, once from each: (whole - zero point) * scale."""
        whole, scale, *zeros = (self.constant(name) for name in node.inputs)
        if whole is None or scale is None or node.inputs[0] in self._dequantized or node.attributes.get("block_size"):
            return
        self._dequantized[node.inputs[0]] = whole.size
        if sum(self._dequantized.values()) > MAX_DEQUANTIZED:
            return
        sides, axis = [1] * whole.ndim, node.attributes.get("axis", 1)
        if scale.size > 1:
            sides[axis] = whole.shape[axis]
        zero = zeros[0] if zeros and zeros[0] is not None else np.zeros_like(scale)
        numbers = whole.astype(np.float32)
        numbers -= zero.reshape(sides)
        numbers *= scale.reshape(sides)
        self._constants[node.outputs[0]] = numbers

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
        rule = RULES.get(node.operation)
        if rule is not None and (found := rule(self, node, maps, shape)) is not None:
            return found
        if node.operation in CHANNELWISE and len(known) == 1:
            if node.operation not in SAME:
                self.walk.apply(node.operation.lower())
            shapes = [self.shapes[name] for name in node.inputs[:2] if name in self.shapes] or [shape]
            shapes += [c.shape for name in node.inputs[1:2] if (c := self.constant(name)) is not None and c.ndim]
            whole = broadcast(shapes)
            self.set_shape(node, whole)
            if len(whole) < 2 or whole[1] in (len(maps.channels), 0):
                return [maps]
        return self._new(node, known, shape)

    def _new(self, node: Node, known: list[Maps], shape: Shape) -> list[Maps]:
        """Return the new source of an operation that mixes feature maps."""
        number = self.channels(node.outputs[0]) or len(known[0].channels)
        self.set_shape(node, (*shape[:1], number, *shape[2:]))
        return [self.source(node.name or node.operation, number, known)] * len(node.outputs)

    def _shape_of(self, names: list[str]) -> Shape:
        """Return the shape of the first of these values that has feature maps."""
        for name in names:
            if name in self.maps:
                return self.shapes.get(name, (0, len(self.maps[name].channels), 0, 0))
        return ()

    def set_shape(self, node: Node, shape: Shape) -> None:
        for name in node.outputs:
            self.shapes.setdefault(name, shape)

    def channels(self, value: str) -> int:
        """Return the number of channels of a value, 0 if its shape is not known."""
        shape = self.shapes.get(value, ())
        return shape[1] if len(shape) > 1 else 0

    def source(self, name: str, number: int, made_of: Sequence[Maps] = ()) -> Maps:
        self.spend(number)
        return self.walk.source(name, number, made_of)

    def spend(self, number: int) -> None:
        """Count channels; raise CheckpointError if they are more than any network has."""
        self._left -= number
        if not number:
            raise DamagedFileError("the ONNX graph is damaged: a layer of it reads or returns no channels")
        if not 0 < number <= MAX_CHANNELS or self._left < 0:
            raise CheckpointError(f"a value of the graph has {number:,} channels, which no network needs")

    def key(self, node: Node, weight: Array, outputs: int) -> str:
        """Keep a layer's weight, and return its name as PyTorch would have it."""
        self.spend(outputs)
        self._num_readers += 1
        if self._num_readers > MAX_READERS:
            raise CheckpointError(f"the graph has more than {MAX_READERS:,} layers with weights")
        name = self._name(node.inputs[1])
        key = name if name.endswith(".weight") else f"{name}.weight"
        self.tensors[key] = weight
        return key

    def spread(self, node: Node, maps: Maps, shape: Shape) -> list[Maps]:
        """Return unchanged feature maps for every output."""
        self.set_shape(node, shape)
        return [maps] * len(node.outputs)
