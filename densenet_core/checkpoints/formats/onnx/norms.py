"""Norms without running statistics in ONNX graphs: what an exporter writes as a dozen operations becomes one again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.formats.onnx.nodes import Node, NodeGraph
from densenet_core.checkpoints.identify.layouts import OUR_EPSILON

JOINED = "Norm"  # the operation of a node that stands for a whole norm, with a ``Norm`` as its attribute
_MAX_PARTS = 16  # operations before a batch norm that compute the batch's statistics
_OF_STATISTICS = {"ReduceMean", "Sub", "Mul", "Pow", "Transpose", "Reshape"}
_MEAN, _VARIANCE = ["ReduceMean"], ["ReduceMean", "ReduceMean", "Sub"]  # and a square
_AXES: dict[tuple[int, ...], tuple[str, int]] = {  # of a mean, the kind of norm and the dimensions of its input
    **{tuple(range(2, dims)): ("instance", dims) for dims in (3, 4, 5)},
    **{tuple(range(2 - dims, 0)): ("instance", dims) for dims in (3, 4, 5)},
    **{(0, *range(2, dims)): ("batch_statistics", dims) for dims in (3, 4, 5)},
    (1,): ("layer", 0),
}


@dataclass(frozen=True)
class Norm:
    """A norm without running statistics, which consists of some nodes."""

    kind: str  # "group-8", "instance", "layer" or "batch_statistics"
    input: str
    output: str
    epsilon: float
    parts: frozenset[int]  # places of its nodes
    scale: Array | None = None  # a number for each feature map, or for each group of them
    shift: Array | None = None
    is_last: bool = False  # the feature maps are on the last axis
    dims: int = 0  # of its input, where the kind is known only with it


def join_norms(nodes: Sequence[Node], constant: Callable[[str], Array | None]) -> list[Node]:
    """Return the nodes with one node in place of those that are a group, layer or instance norm together.

    Batch norms that compute the statistics of the batch are joined too. Nodes stay as they are if a value between them
    is read elsewhere.

    Args:
        constant: returns the value of a weight by its name, or None if it is computed.
    """
    graph = NodeGraph(nodes, constant)
    found: dict[int, Norm] = {}
    for place, node in enumerate(nodes):
        norm = _FINDERS[node.operation](graph, place) if node.operation in _FINDERS else None
        norm = norm and _between_transpositions(graph, _with_affine(graph, norm))
        if norm is not None and graph.is_closed(norm.parts, norm.output):
            found[max(norm.parts)] = norm
    gone = {part for norm in found.values() for part in norm.parts}
    joined = {place: _joined(nodes, norm) for place, norm in found.items()}
    return [joined.get(place, node) for place, node in enumerate(nodes) if place in joined or place not in gone]


def _joined(nodes: Sequence[Node], norm: Norm) -> Node:
    name = next((nodes[part].name for part in sorted(norm.parts) if "Norm" in nodes[part].operation), "")
    return Node(JOINED, name or norm.output, [norm.input], [norm.output], {"norm": norm})


def _group(graph: NodeGraph, place: int) -> Norm | None:
    node = graph.nodes[place]
    parts = [graph.constant(name) for name in node.inputs[1:3]]
    number = int(node.attributes.get("num_groups", 0))
    if len(parts) < 2 or number < 1 or any(part is None for part in parts):
        return None
    return _norm(graph, place, f"group-{number}", scale=parts[0], shift=parts[1])


def _instance(graph: NodeGraph, place: int) -> Norm | None:
    """Return an instance norm, or a group norm: an instance norm of groups, between two reshapes."""
    node = graph.nodes[place]
    parts = [graph.constant(name) for name in node.inputs[1:3]]
    if len(parts) < 2 or parts[0] is None or parts[1] is None:
        return None
    before, behind = graph.maker(node.inputs[0], "Reshape"), graph.reader(node.outputs[0], "Reshape")
    if before is None or behind is None:
        return _norm(graph, place, "instance", scale=parts[0], shift=parts[1])
    shape = graph.integers(graph.nodes[before].inputs[1])
    is_plain = (parts[0] == 1).all() and not parts[1].any()
    if len(shape) != 3 or shape[1:] != [len(parts[0]), -1] or not is_plain:
        return None
    norm = _norm(graph, place, f"group-{shape[1]}")
    return _between(graph, norm, before, behind)


def _layer(graph: NodeGraph, place: int) -> Norm | None:
    node = graph.nodes[place]
    parts = [graph.constant(name) for name in node.inputs[1:3] if name]
    if not parts or parts[0] is None or parts[-1] is None or node.attributes.get("axis", -1) != -1:
        return None
    shift = parts[1] if len(parts) > 1 else None
    return replace(_norm(graph, place, "layer", scale=parts[0], shift=shift), is_last=True)


def _batch(graph: NodeGraph, place: int) -> Norm | None:
    """Return a batch norm whose mean and variance are computed from its input."""
    node = graph.nodes[place]
    parts = [graph.constant(name) for name in node.inputs[1:3]]
    if len(node.inputs) < 5 or any(part is None for part in parts):
        return None
    mean, variance = (graph.ancestors(name, node.inputs[0], _OF_STATISTICS, _MAX_PARTS) for name in node.inputs[3:5])
    if mean is None or variance is None or _operations(graph, mean) != _MEAN:
        return None
    if [name for name in _operations(graph, variance) if name not in ("Mul", "Pow")] != _VARIANCE:
        return None
    norm = _norm(graph, place, "batch_statistics", scale=parts[0], shift=parts[1])
    return replace(norm, parts=norm.parts | mean | variance)


def _spelled_out(graph: NodeGraph, place: int) -> Norm | None:
    """Return a norm that is written as (x - mean) / sqrt(variance + epsilon), as older exporters do."""
    node = graph.nodes[place]
    away, root = graph.maker(node.inputs[0], "Sub"), graph.maker(node.inputs[1], "Sqrt")
    plus = None if root is None else graph.maker(graph.nodes[root].inputs[0], "Add")
    if away is None or root is None or plus is None:
        return None
    made = [name for name in graph.nodes[plus].inputs if graph.constant(name) is None]
    small = [held for name in graph.nodes[plus].inputs if (held := graph.constant(name)) is not None]
    variance = graph.maker(made[0], "ReduceMean") if len(made) == len(small) == 1 else None
    square = None if variance is None else graph.maker(graph.nodes[variance].inputs[0], "Pow", "Mul")
    x, mean = graph.nodes[away].inputs[0], graph.maker(graph.nodes[away].inputs[1], "ReduceMean")
    if variance is None or square is None or mean is None or small[0].size != 1:
        return None
    is_own = graph.nodes[mean].inputs[0] == x and graph.is_square(square, graph.nodes[away].outputs[0])
    axes, same = (tuple(sorted(graph.axes(reduction))) for reduction in (mean, variance))
    is_last = axes == (-1,) and graph.maker(x, "Transpose") is not None
    kind, dims = ("layer", 0) if is_last else _AXES.get(axes, ("", 0))
    if not is_own or axes != same or not kind:
        return None
    parts = frozenset((place, away, root, plus, variance, square, mean))
    epsilon = float(small[0].ravel()[0])
    return Norm(kind, x, node.outputs[0], epsilon, parts, is_last=is_last, dims=dims)


def _norm(graph: NodeGraph, place: int, kind: str, scale: Array | None = None, shift: Array | None = None) -> Norm:
    node = graph.nodes[place]
    epsilon = float(node.attributes.get("epsilon", OUR_EPSILON))
    return Norm(kind, node.inputs[0], node.outputs[0], epsilon, frozenset((place,)), scale, shift)


def _operations(graph: NodeGraph, places: frozenset[int]) -> list[str]:
    names = sorted(graph.nodes[place].operation for place in places)
    return [name for name in names if name not in ("Transpose", "Reshape")]


def _with_affine(graph: NodeGraph, norm: Norm) -> Norm:
    """Return a norm with the product and then the sum behind it that scale and shift each feature map."""
    if (times := _affine(graph, norm, "Mul")) is not None:
        place, numbers = times
        scale = numbers if norm.scale is None else norm.scale * numbers
        shift = None if norm.shift is None else norm.shift * numbers
        norm = replace(norm, output=graph.nodes[place].outputs[0], scale=scale, shift=shift, parts=norm.parts | {place})
    if (plus := _affine(graph, norm, "Add")) is not None:
        place, numbers = plus
        shift = numbers if norm.shift is None else norm.shift + numbers
        norm = replace(norm, output=graph.nodes[place].outputs[0], shift=shift, parts=norm.parts | {place})
    return norm


def _affine(graph: NodeGraph, norm: Norm, operation: str) -> tuple[int, Array] | None:
    """Return the place and the numbers of the node behind a norm, if it has one number for each feature map."""
    place = graph.reader(norm.output, operation)
    held = [] if place is None else [graph.constant(name) for name in graph.nodes[place].inputs]
    known = [numbers for numbers in held if numbers is not None]
    if place is None or len(known) != 1 or max(known[0].shape, default=1) != known[0].size:
        return None
    (numbers,) = known
    is_last = numbers.ndim > 0 and numbers.shape[-1] == numbers.size
    own = next((part.size for part in (norm.scale, norm.shift) if part is not None), numbers.size)
    return (place, numbers.ravel()) if is_last == norm.is_last and own == numbers.size else None


def _between_transpositions(graph: NodeGraph, norm: Norm) -> Norm | None:
    """Return a norm over the last axis together with the transpositions that move the feature maps there and back."""
    if not norm.is_last:
        return norm
    there, back = graph.maker(norm.input, "Transpose"), graph.reader(norm.output, "Transpose")
    if there is None or back is None:
        return None
    rank = len(graph.nodes[there].attributes.get("perm", ()))
    if graph.nodes[there].attributes.get("perm") != [0, *range(2, rank), 1] or rank < 3:
        return None
    if graph.nodes[back].attributes.get("perm") != [0, rank - 1, *range(1, rank - 1)]:
        return None
    return _between(graph, norm, there, back)


def _between(graph: NodeGraph, norm: Norm, there: int, back: int) -> Norm:
    """Return a norm together with the nodes that change the shape of its input, and change it back."""
    first, last = graph.nodes[there].inputs[0], graph.nodes[back].outputs[0]
    return replace(norm, input=first, output=last, parts=norm.parts | {there, back})


_FINDERS: dict[str, Callable[[NodeGraph, int], Norm | None]] = {
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LayerNormalization": _layer,
    "BatchNormalization": _batch,
    "Div": _spelled_out,
}


def scale_and_shift(norm: Norm, width: int) -> tuple[Array, Array] | None:
    """Return one number for each of ``width`` feature maps, or None if a norm has others.

    >>> own = Norm("group-2", "x", "y", 1e-5, frozenset(), scale=np.array([1.0, 2.0]))
    >>> scale_and_shift(own, 4)[0].tolist()
    [1.0, 1.0, 2.0, 2.0]
    """
    one = np.ones(width, np.float32)
    parts = [one if norm.scale is None else norm.scale, 0 * one if norm.shift is None else norm.shift]
    groups = int(norm.kind.removeprefix("group-")) if norm.kind.startswith("group-") else width
    if width % groups:
        return None
    wide = [np.repeat(part, width // groups) if len(part) == groups != width else part for part in parts]
    return (wide[0], wide[1]) if all(part.shape == (width,) for part in wide) else None
