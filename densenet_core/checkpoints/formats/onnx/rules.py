"""What each operation of an ONNX graph does to feature maps, in the rules that all interpreters share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.formats.onnx.nodes import Node
from densenet_core.checkpoints.formats.onnx.norms import JOINED, Norm, scale_and_shift
from densenet_core.checkpoints.formats.onnx.shapes import Shape, broadcast, mean_shape, window_shape
from densenet_core.checkpoints.identify.graphs.channel_graph import COMPUTED, Maps, Step
from densenet_core.checkpoints.identify.layouts import OUR_EPSILON
from densenet_core.errors import CheckpointError

if TYPE_CHECKING:
    from densenet_core.checkpoints.formats.onnx.graph import Graph

FOLDED = "folded_norm"  # a batch norm that an exporter folded into a convolution's weights and bias

CHANNELWISE = {
    "Relu", "LeakyRelu", "PRelu", "ThresholdedRelu", "Clip", "Max", "Min", "Sigmoid", "HardSigmoid", "HardSwish", "Elu",
    "Selu", "Celu", "Softplus", "Softsign", "Tanh", "Gelu", "Mish", "Dropout", "Identity", "Cast", "Div", "Sub", "Add",
    "Pow", "Sqrt", "Abs", "Neg", "Exp", "Log", "Erf", "Reciprocal", "Round", "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip
SAME = {"Dropout", "Identity", "Cast"}  # in evaluation
_POOLS = {"MaxPool", "AveragePool", "LpPool"}
_GLOBAL_POOLS = {"GlobalAveragePool", "GlobalMaxPool"}
_RESIZES = {"Resize", "Upsample", "Pad"}
_MEANS = {"ReduceMean", "ReduceMax", "ReduceSum"}
_RESHAPES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}


Rule = Callable[["Graph", Node, Maps, Shape], "list[Maps] | None"]


def _conv(graph: Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    weight = graph.constant(node.inputs[1])
    if weight is None:
        graph.walk.functions[COMPUTED] += 1
    if weight is None or weight.ndim < 3:
        return None
    is_transposed, groups = node.operation == "ConvTranspose", int(node.attributes.get("group", 1))
    outputs = weight.shape[1] * groups if is_transposed else weight.shape[0]
    axis = 0 if is_transposed else 1
    if groups < 1 or weight.shape[axis] * (1 if is_transposed else groups) != len(maps.channels):
        raise CheckpointError(f"weights {node.inputs[1]!r} of shape {weight.shape} read {len(maps.channels)} channels")
    graph.walk.steps.append(_step("conv", node, weight.shape[2:], is_special=is_transposed))
    key = graph.key(node, weight, outputs)
    made = graph.walk.convolve(key, maps, outputs, groups, is_transposed)
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


def _step(kind: str, node: Node, kernel: Sequence[int], is_special: bool = False) -> Step:
    """Return a convolution or pooling, for the comparison with a DenseNet."""
    dims, own = len(kernel), node.attributes
    strides, dilations = own.get("strides") or [1] * dims, own.get("dilations") or [1] * dims
    pads, auto_pad = own.get("pads") or [0] * 2 * dims, str(own.get("auto_pad") or "NOTSET")
    if auto_pad == "VALID":
        pads, auto_pad = [0] * 2 * dims, "NOTSET"
    elif auto_pad.startswith("SAME") and {*strides, *dilations} == {1} and all(side % 2 for side in kernel):
        pads, auto_pad = [side // 2 for side in kernel] * 2, "NOTSET"
    is_uneven = pads[:dims] != pads[dims:] or auto_pad != "NOTSET"
    is_special = is_special or is_uneven or {*dilations} != {1} or bool(own.get("ceil_mode"))
    return Step(kind, tuple(kernel), tuple(strides), tuple(pads[:dims]), is_special)


def _keep_folded(tensors: dict[str, Array], name: str, bias: Array) -> None:
    one = np.ones(len(bias), np.float32)
    own = {"weight": one, "bias": np.array(bias), "running_mean": 0 * one, "running_var": one - OUR_EPSILON}
    tensors |= {f"{name}.{part}": tensor for part, tensor in own.items()}


def _linear(graph: Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    weight, own = graph.constant(node.inputs[1]), node.attributes
    if weight is None or weight.ndim != 2 or node.inputs[0] not in graph.maps or own.get("transA"):
        return None
    weight = (weight if own.get("transB") else weight.T) * weight.dtype.type(own.get("alpha", 1))  # (out, in)
    graph.spend(weight.shape[1])
    if (flat := maps.flatten(weight.shape[1])) is None:
        return None
    key = graph.key(node, np.ascontiguousarray(weight), len(weight))
    made = graph.walk.read(key, flat, len(weight), is_linear=True)
    bias = graph.constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(len(weight), weight.dtype)
    if bias is not None:
        bias = np.broadcast_to(bias, (1, len(weight)))[0] * bias.dtype.type(own.get("beta", 1))
        graph.tensors[f"{key.removesuffix('.weight')}.bias"] = bias
        graph.biases[node.outputs[0]] = f"{key.removesuffix('.weight')}.bias"
    return graph.spread(node, made, (*shape[:1], len(weight)))


def _bias(graph: Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    """Add the bias of a linear layer that is written as a product and a sum."""
    linear = [graph.biases[name] for name in node.inputs if name in graph.biases]
    held = [array for name in node.inputs if (array := graph.constant(name)) is not None]
    if len(linear) != 1 or len(held) != 1 or held[0].shape != graph.tensors[linear[0]].shape:
        return None
    graph.tensors[linear[0]] = graph.tensors[linear[0]] + held[0]
    return graph.spread(node, maps, shape)


def _norm(graph: Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    parts = [graph.constant(name) for name in node.inputs[1:5]]
    if len(parts) < 4 or any(part is None or part.shape != (len(maps.channels),) for part in parts):
        return None
    name = node.inputs[1].removesuffix(".weight")
    for part, array in zip(("weight", "bias", "running_mean", "running_var"), parts, strict=True):
        graph.tensors[f"{name}.{part}"] = np.array(array)
    graph.tensors[f"{name}.running_var"] += node.attributes.get("epsilon", OUR_EPSILON) - OUR_EPSILON
    graph.walk.normalize(name, "batch")
    graph.walk.is_for_training |= node.attributes.get("training_mode") == 1 or len(node.outputs) > 1
    return graph.spread(node, Maps(maps.channels, name), shape)


def _joined_norm(graph: Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    norm: Norm = node.attributes["norm"]
    parts = scale_and_shift(norm, len(maps.channels))
    if parts is None or norm.dims not in (0, len(shape)):
        return None
    name = f"{node.name.strip('/')}.{len(graph.tensors)}"
    graph.tensors[f"{name}.weight"], graph.tensors[f"{name}.bias"] = parts
    graph.walk.normalize(name, norm.kind, norm.epsilon)
    return graph.spread(node, Maps(maps.channels, name), shape)


def _concat(graph: Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    if not shape or node.attributes["axis"] % len(shape) != 1:
        return None
    parts = [graph.maps.get(name) or _constant_maps(graph, name) for name in node.inputs]
    total = sum(len(part.channels) for part in parts)
    graph.spend(total)
    return graph.spread(node, graph.walk.concatenate(parts), (*shape[:1], total, *shape[2:]))


def _constant_maps(graph: Graph, name: str) -> Maps:
    held = graph.constant(name)
    number = held.shape[1] if held is not None and held.ndim > 1 else graph.channels(name)
    return graph.source("constant", number)


def _slice(graph: Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    parts = [graph.constant(name) for name in node.inputs[1:]]
    if len(parts) < 3 or any(part is None for part in parts):
        return None
    starts, ends, axes = ([int(v) for v in np.ravel(part)] for part in parts[:3] if part is not None)
    steps = [int(v) for v in np.ravel(parts[3])] if len(parts) > 3 and parts[3] is not None else [1] * len(axes)
    if any(axis % len(shape) == 0 for axis in axes) or 0 in steps:
        return None
    if {*steps} != {1}:
        graph.walk.functions["slices with steps"] += 1
    sliced, sides = maps, list(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if axis % len(shape) == 1:
            sliced = sliced.slice_maps(start, end, step)
        else:
            sides[axis % len(shape)] = 0
    if not len(sliced.channels):
        return None
    sides[1] = len(sliced.channels)
    return graph.spread(node, sliced, tuple(sides))


def _gather(graph: Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    """Choose channels, in any order."""
    places = graph.constant(node.inputs[1])
    if not shape or node.attributes.get("axis", 0) % len(shape) != 1 or places is None or places.ndim != 1:
        return None
    graph.spend(len(places))
    graph.walk.functions["a choice of channels"] += 1
    return graph.spread(node, maps.select(places), (*shape[:1], len(places), *shape[2:]))


def _computed(graph: Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    """Note a convolution of whole numbers, whose weights are not followed."""
    graph.walk.functions[COMPUTED] += 1
    return None


def _split(graph: Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
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
    return maps.split(widths)


def _scale(graph: Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    """Multiply by a constant or a gate; a gated source is a new one."""
    shapes = [graph.shapes[name] for name in node.inputs if name in graph.shapes]
    shapes += [held.shape for name in node.inputs if (held := graph.constant(name)) is not None]
    out = broadcast(shapes) if shapes else shape
    graph.set_shape(node, out)
    known = {name: graph.maps[name] for name in node.inputs if name in graph.maps}
    graph.walk.functions["mul"] += 1
    is_one = len(known) == 1 and (len(out) < 2 or out[1] in (len(maps.channels), 0))
    whole = [maps] if is_one else [own for name, own in known.items() if graph.shapes.get(name) == out]
    graph.spend(len(maps.channels))
    gated = graph.walk.gate(whole, list(known.values()))
    return None if gated is None else [gated]


def _pool(graph: Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    if node.operation == "GlobalMaxPool":
        graph.walk.functions["global max pooling"] += 1
    if node.operation in _GLOBAL_POOLS:
        graph.walk.steps.append(Step("global_pool"))
        return graph.spread(node, maps, (*shape[:2], *(1,) * (len(shape) - 2)))
    kernel = node.attributes.get("kernel_shape") or []
    kind = {"MaxPool": "max_pool", "AveragePool": "avg_pool"}.get(node.operation, "other_pool")
    graph.walk.steps.append(_step(kind, node, kernel))
    return graph.spread(node, maps, window_shape(shape, kernel, node.attributes, len(maps.channels)))


def _resize(graph: Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    graph.walk.functions[node.operation.lower()] += 1
    named = graph.shapes.get(node.outputs[0], ())
    if len(named) > 1 and named[1] not in (0, len(maps.channels)):
        return None
    return graph.spread(node, maps, (*shape[:2], *(0,) * (len(shape) - 2)))


def _average(graph: Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
    given = graph.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    axes = node.attributes.get("axes") or ([] if given is None else [int(v) for v in np.ravel(given)])
    if not axes or not shape or min(axis % len(shape) for axis in axes) < 2:
        return None
    if node.operation != "ReduceMean":
        graph.walk.functions[node.operation.lower()] += 1
    graph.walk.steps.append(Step("global_pool"))
    return graph.spread(node, maps, mean_shape(shape, axes, bool(node.attributes.get("keepdims", 1))))


def _reshape(graph: Graph, node: Node, maps: Maps, shape: Shape) -> list[Maps] | None:
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


RULES: Mapping[str, Rule] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Gemm": _linear,
    "MatMul": _linear,
    "BatchNormalization": _norm,
    JOINED: _joined_norm,
    "Concat": _concat,
    "Slice": _slice,
    "Gather": _gather,
    **dict.fromkeys(("QLinearConv", "ConvInteger", "QLinearConcat"), _computed),
    "Split": _split,
    "Mul": _scale,
    "Add": _bias,
    **dict.fromkeys((*_POOLS, *_GLOBAL_POOLS), _pool),
    **dict.fromkeys(_RESIZES, _resize),
    **dict.fromkeys(_MEANS, _average),
    **dict.fromkeys(_RESHAPES, _reshape),
}
