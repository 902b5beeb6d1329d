"""ONNX files (the extra ``onnx``): their graph tells who reads whose feature maps, whatever the names are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.identify.channel_graph import ChannelWalk, Maps
from densenet_core.checkpoints.identify.layouts import OUR_EPSILON
from densenet_core.errors import CheckpointError, first_line

ONNX_MAGIC = b"\x08"  # of protobuf's first field, the version of the format
FOLDED = "folded_norm"  # the batch norm that an exporter took into a convolution's weights and bias
_CHANNELWISE = {
    "Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Elu", "Selu", "Softplus", "Tanh",
    "Gelu", "Mish", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Dropout", "Identity", "Cast",
    "Resize", "Upsample", "Pad", "InstanceNormalization", "ReduceMean", "ReduceMax", "Div", "Sub", "Add",
}  # fmt: skip
_RESHAPING = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}


def walk_onnx(file: Path) -> tuple[ChannelWalk, dict[str, Array], int]:
    """A pass through an ONNX graph, its tensors in the order in which they are used, and its input channels.

    A convolution with a bias is followed by the batch norm that has no effect but this bias: exporters fold a norm
    behind a convolution into it, and the function stays what it was.

    Raises:
        CheckpointError: the package is not installed, or the file is no ONNX graph that holds its own weights.
    """
    try:
        import onnx
    except ImportError:
        raise CheckpointError("ONNX files need a package: pip install 'densenet-lens[onnx]'") from None
    try:
        model = onnx.load(file, load_external_data=False)
        if not model.graph.node:
            raise CheckpointError("it is neither safetensors nor a file of torch.save, Keras or ONNX")
        _check_own_weights(onnx, model)
        shaped = onnx.shape_inference.infer_shapes(model, data_prop=True)
        graph = _Graph(onnx, shaped.graph)
        graph.run()
    except CheckpointError:
        raise
    except Exception as error:  # onnx's readers raise many kinds on damaged files
        raise CheckpointError(f"the ONNX file is cut short, damaged, or something else: {first_line(error)}") from None
    return graph.walk, graph.tensors, graph.in_channels


def _check_own_weights(onnx: Any, model: Any) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise CheckpointError(
                f"tensor {tensor.name!r} lies in another file: save the network with its weights inside"
            )


class _Graph:
    """A graph that is walked node by node."""

    def __init__(self, onnx: Any, graph: Any) -> None:
        self.nodes, self.attribute, self.array = graph.node, onnx.helper.get_attribute_value, onnx.numpy_helper.to_array
        self.constants: dict[str, Array] = {t.name: self.array(t) for t in graph.initializer}
        self.shapes = {v.name: _shape(v) for v in (*graph.input, *graph.value_info, *graph.output)}
        self.walk, self.tensors = ChannelWalk(), dict[str, Array]()
        self.maps: dict[str, Maps] = {}
        self.in_channels = 0
        for value in graph.input:
            if value.name not in self.constants and len(shape := self.shapes[value.name]) > 2 and shape[1]:
                self.in_channels = shape[1]
                self.maps[value.name] = self.walk.source("input", shape[1])

    def run(self) -> None:
        for node in self.nodes:
            attributes = {a.name: self.attribute(a) for a in node.attribute}
            if node.op_type == "Constant" and hasattr(attributes.get("value"), "raw_data"):
                self.constants[node.output[0]] = self.array(attributes["value"])
            known = [self.maps[name] for name in node.input if name in self.maps]
            if known:
                for name, maps in zip(node.output, self._through(node, attributes, known), strict=False):
                    self.maps[name] = maps

    def _through(self, node: Any, attributes: dict[str, Any], known: list[Maps]) -> Sequence[Maps]:
        maps = known[0]
        rule = {
            "Conv": self._conv,
            "ConvTranspose": self._conv,
            "Gemm": self._linear,
            "MatMul": self._linear,
            "BatchNormalization": self._norm,
            "Concat": self._concat,
            "Slice": self._slice,
            "Split": self._split,
            "Mul": self._scaled,
        }.get(node.op_type)
        if rule is not None and (found := rule(node, attributes, maps)) is not None:
            return found
        if (
            node.op_type in _CHANNELWISE
            and len(known) == 1
            and self._channels(node.output[0]) in (len(maps.channels), 0)
        ):
            return [maps]
        if node.op_type in _RESHAPING and (flat := self._reshaped(node, maps)) is not None:
            return [flat]
        number = self._channels(node.output[0]) or len(maps.channels)
        return [self.walk.source(node.name or node.op_type, number, known)] * len(node.output)

    def _channels(self, value: str) -> int:
        """Of a value, 0 where its shape is not known."""
        shape = self.shapes.get(value, ())
        return shape[1] if len(shape) > 1 else 0

    def _conv(self, node: Any, attributes: dict[str, Any], maps: Maps) -> list[Maps] | None:
        if node.input[1] not in self.constants:
            return None
        weight, is_transposed = self.constants[node.input[1]], node.op_type == "ConvTranspose"
        groups = attributes.get("group", 1)
        outputs = weight.shape[1] * groups if is_transposed else weight.shape[0]
        key = self._keep(node.input[1], weight)
        if len(node.input) > 2 and node.input[2] in self.constants:
            self._keep_folded(f"{key.removesuffix('.weight')}.{FOLDED}", self.constants[node.input[2]])
        return [self.walk.read(key, maps, outputs, groups=groups, input_axis=0 if is_transposed else 1)]

    def _linear(self, node: Any, attributes: dict[str, Any], maps: Maps) -> list[Maps] | None:
        if node.input[1] not in self.constants or self.constants[node.input[1]].ndim != 2:
            return None
        weight = self.constants[node.input[1]]
        weight = weight if attributes.get("transB") else weight.T  # (out, in)
        repeats, rest = divmod(weight.shape[1], len(maps.channels))
        if rest:
            return None
        key = self._keep(node.input[1], weight)
        bias = self.constants.get(node.input[2]) if len(node.input) > 2 else np.zeros(len(weight), weight.dtype)
        if bias is not None:
            self.tensors[f"{key.removesuffix('.weight')}.bias"] = np.array(bias)
        flat = Maps(np.repeat(maps.channels, repeats), maps.norm)  # every pixel an input
        return [self.walk.read(key, flat, len(weight), is_linear=True)]

    def _norm(self, node: Any, attributes: dict[str, Any], maps: Maps) -> list[Maps] | None:
        parts = [self.constants.get(name) for name in node.input[1:5]]
        if any(part is None for part in parts):
            return None
        name = node.input[1].removesuffix(".weight")
        for part, array in zip(("weight", "bias", "running_mean", "running_var"), parts, strict=True):
            self.tensors[f"{name}.{part}"] = np.array(array)
        self.tensors[f"{name}.running_var"] += attributes.get("epsilon", OUR_EPSILON) - OUR_EPSILON
        return [Maps(maps.channels, name)]

    def _keep(self, name: str, weight: Array) -> str:
        """The tensor's key in the state dict: as PyTorch would name it."""
        key = name if name.endswith(".weight") else f"{name}.weight"
        self.tensors[key] = np.array(weight)
        return key

    def _keep_folded(self, name: str, bias: Array) -> None:
        one = np.ones(len(bias), np.float32)
        own = {"weight": one, "bias": np.array(bias), "running_mean": 0 * one, "running_var": one - OUR_EPSILON}
        self.tensors |= {f"{name}.{part}": tensor for part, tensor in own.items()}

    def _concat(self, node: Any, attributes: dict[str, Any], maps: Maps) -> list[Maps] | None:
        dims = len(self.shapes.get(node.input[0], ())) or 4
        if attributes["axis"] % dims != 1:
            return None
        parts = [self.maps.get(name) or self.walk.source("constant", self._channels(name)) for name in node.input]
        return [self.walk.concatenate(parts)]

    def _slice(self, node: Any, attributes: dict[str, Any], maps: Maps) -> list[Maps] | None:
        starts, ends, axes, *steps = [self.constants.get(name) for name in node.input[1:]]
        if starts is None or ends is None or axes is None or list(axes) != [1]:
            return None
        step = int(steps[0][0]) if steps and steps[0] is not None else 1
        return [Maps(maps.channels[int(starts[0]) : int(ends[0]) : step])]

    def _split(self, node: Any, attributes: dict[str, Any], maps: Maps) -> list[Maps] | None:
        widths = [self._channels(name) for name in node.output]
        if attributes.get("axis", 0) != 1 or sum(widths) != len(maps.channels):
            return None
        return [Maps(maps.channels[a:b]) for a, b in pairwise(np.cumsum([0, *widths]))]

    def _scaled(self, node: Any, attributes: dict[str, Any], maps: Maps) -> list[Maps] | None:
        """Mul with a constant or a gate; a gated source is a new one."""
        whole = [
            name
            for name in node.input
            if name in self.maps and self.shapes.get(name) == self.shapes.get(node.output[0])
        ]
        if len(whole) != 1:
            return None
        source = self.walk.name(self.maps[whole[0]])
        others = [self.maps[name] for name in node.input if name in self.maps]
        if source is None or len(others) == 1:
            return [self.maps[whole[0]]]
        return [self.walk.source(source, self._channels(node.output[0]), others)]

    def _reshaped(self, node: Any, maps: Maps) -> Maps | None:
        shape = self.shapes.get(node.output[0], ())
        if len(shape) > 1 and shape[1] == len(maps.channels):
            return maps
        return maps if len(shape) == 2 else None  # flattened: the linear layer that reads it tells the pixels


def _shape(value: Any) -> tuple[int, ...]:
    """Of a value, 0 where a side is not known."""
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
