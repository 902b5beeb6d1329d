"""ONNX files: the nodes of the graph and the places of its weights; functions are not expanded."""

from __future__ import annotations

import struct
from typing import Any

from ..limits import MAX_DIMS, MAX_NAME, MAX_NODES
from .output import SIZES, Damaged, Output, Refused, check_names, tensor
from .protobuf import Field, fields, floats, integers

_TYPES = {
    1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 9: "BOOL", 10: "F16", 11: "F64", 12: "U32",
    13: "U64", 16: "BF16", 17: "F8_E4M3", 19: "F8_E5M2",
}  # fmt: skip
_CODES = {"I8": "b", "U8": "B", "BOOL": "?", "I16": "h", "U16": "H", "F16": "H", "BF16": "H", "I32": "i", "I64": "q"}
_CODES |= {"U32": "I", "U64": "Q"}
_MAX_INPUTS, _MAX_VALUES, _MAX_DIGITS = 10_000, 4_096, 19
NO_GRAPH = "neither safetensors nor a file of torch.save, Keras, numpy or ONNX"


def read_onnx(content: Any, output: Output) -> dict[str, Any]:
    """Return the graph of a model: inputs, nodes and weights (initializers and constants).

    Raises:
        Refused: it is damaged, has no graph, or has more nodes than any network.
    """
    graphs = [f for f in fields(content, 0, len(content)) if f.number == 7 and f.end]
    if len(graphs) != 1:
        raise Refused(NO_GRAPH)
    weights: dict[str, Any] = {}
    nodes: list[Any] = []
    inputs: list[Any] = []
    shapes: dict[str, list[int]] = {}
    for part in fields(content, graphs[0].start, graphs[0].end):
        if part.number == 1:
            nodes.append(_node(content, part, weights, output))
            if len(nodes) > MAX_NODES:
                raise Refused(f"the graph has more than {MAX_NODES:,} nodes, which no network needs")
        elif part.number == 5:
            name, entry = _weights(content, part, output)
            weights[name] = entry
        elif part.number == 15:  # sparse: its numbers are a tensor with its name
            for held in _nested_fields(content, part, 1):
                weights[_weights(content, held, output)[0]] = "is sparse: save the network with dense weights"
        elif part.number in (11, 12, 13):  # inputs, outputs and values in between
            name, shape = _value(content, part)
            shapes[name] = shape
            inputs += [name] if part.number == 11 else []
    if not nodes:
        raise Refused(NO_GRAPH)
    check_names(list(weights))
    graph = {"nodes": nodes, "inputs": inputs, "shapes": shapes}
    return {
        "format": "onnx", "graph": graph, "candidates": [{"name": "", "made_by": "", "tensors": weights}], "others": [],
    }  # fmt: skip


def _name(content: Any, found: Field) -> str:
    text = found.text(content) if found.end - found.start <= 4 * MAX_NAME else "x" * (MAX_NAME + 1)
    check_names([text])
    return text


def _node(content: Any, node: Field, weights: dict[str, Any], output: Output) -> list[Any]:
    """Return [operation, name, inputs, outputs, attributes] of a node."""
    operation = name = ""
    inputs: list[str] = []
    outputs: list[str] = []
    attributes: dict[str, Any] = {}
    constant: Any = None
    for part in fields(content, node.start, node.end):
        if part.number in (1, 2):
            (inputs if part.number == 1 else outputs).append(_name(content, part))
            if len(inputs) + len(outputs) > _MAX_INPUTS:
                raise Refused("a node of the graph has more inputs than any network needs")
        elif part.number == 3:
            name = _name(content, part)
        elif part.number == 4:
            operation = _name(content, part)
        elif part.number == 5:
            key, value, held = _attribute(content, part, output)
            attributes |= {} if value is None else {key: value}
            constant = held if key == "value" and held is not None else constant
    if operation == "Constant" and outputs and constant is not None:
        weights[outputs[0]] = constant
    return [operation, name, inputs, outputs, attributes]


def _attribute(content: Any, attribute: Field, output: Output) -> tuple[str, Any, Any]:
    """Return the name, the value (a number, text or list of numbers), and the tensor of an attribute."""
    name, value, numbers, held = "", None, list[Any](), None
    for part in fields(content, attribute.start, attribute.end):
        if part.number == 1:
            name = _name(content, part)
        elif part.number == 2 and part.width == 4:
            (value,) = struct.unpack("<f", bytes(content[part.start : part.end]))
        elif part.number == 3:
            value = part.to_signed()
        elif part.number == 4 and part.end - part.start <= MAX_NAME:
            value = part.text(content)
        elif part.number == 5:
            held = _weights(content, part, output)[1]
        elif part.number in (7, 8) and part.end - part.start <= 8 * _MAX_VALUES:
            numbers += (floats if part.number == 7 else integers)(content, part)
    return name, numbers or value, held


def _value(content: Any, value: Field) -> tuple[str, list[int]]:
    """Return the name and shape of a value, with 0 for an unknown side, which some exporters write as -1."""
    name, shape = "", list[int]()
    for part in fields(content, value.start, value.end):
        if part.number == 1:
            name = _name(content, part)
        elif part.number == 2:
            for side in _nested_fields(content, part, 1, 2, 1):  # TypeProto.tensor_type.shape.dim
                numbers = [
                    max(0, f.to_signed()) for f in fields(content, side.start, side.end) if f.number == 1 and not f.end
                ]
                shape.append(numbers[0] if numbers else 0)
                if len(shape) > MAX_DIMS:
                    raise Refused(f"the value {name[:50]!r} has more than {MAX_DIMS} dimensions")
    return name, shape


def _nested_fields(content: Any, outer: Field, *numbers: int) -> list[Field]:
    """Return the fields at the end of a path through nested messages."""
    found = [outer]
    for number in numbers:
        found = [inner for f in found for inner in fields(content, f.start, f.end) if inner.number == number]
    return found


def _weights(content: Any, tensor_proto: Field, output: Output) -> tuple[str, Any]:
    """Return the name and the entry of a TensorProto."""
    name, kind, shape, location = "", 0, list[int](), 0
    raw: Field | None = None
    typed: list[Field] = []
    outside: dict[str, str] = {}
    for part in fields(content, tensor_proto.start, tensor_proto.end):
        if part.number == 1:
            shape += integers(content, part) if part.end - part.start <= 10 * MAX_DIMS else [0] * (MAX_DIMS + 1)
        elif part.number == 2:
            kind = part.value
        elif part.number == 8:
            name = _name(content, part)
        elif part.number == 9:
            raw = part
        elif part.number in (4, 5, 7, 10, 11):
            typed.append(part)
        elif part.number == 13:
            key, text = _pair(content, part)
            outside[key] = text
        elif part.number == 14:
            location = part.value
    type_ = _TYPES.get(kind)
    if len(shape) > MAX_DIMS or min(shape, default=0) < 0:
        raise Damaged(f"tensor {name!r} claims shape {shape[:MAX_DIMS]}")
    if type_ is None:
        return name, f"is of ONNX's type {kind}: floating point is needed"
    return name, _place(content, type_, tuple(shape), raw, typed, outside if location == 1 else None, output)


def _pair(content: Any, entry: Field) -> tuple[str, str]:
    """Return what is said about a place in another file: "location", "offset" or "length", and its value."""
    found = {part.number: part for part in fields(content, entry.start, entry.end) if part.number in (1, 2)}
    if (length := max((part.end - part.start for part in found.values()), default=0)) > MAX_NAME:
        raise Damaged(f"the place of a tensor in another file is told in {length:,} characters")
    return (found[1].text(content) if 1 in found else "", found[2].text(content) if 2 in found else "")


def _number(text: str, default: int) -> int:
    if text and not (text.isdecimal() and len(text) < _MAX_DIGITS):
        raise Damaged(f"the place of a tensor in another file is {text[:_MAX_DIGITS]!r}, which is no number")
    return int(text or default)


def _place(
    content: Any, type_: str, shape: tuple[int, ...], raw: Field | None, typed: list[Field],
    outside: dict[str, str] | None, output: Output,
) -> Any:  # fmt: skip
    needed = SIZES[type_]
    for side in shape:
        needed *= side
    if outside is not None:
        start, size = _number(outside.get("offset", ""), 0), _number(outside.get("length", ""), needed)
        return tensor(type_, shape, output.stretch(start, size, outside.get("location") or "?"))
    if raw is not None:
        return tensor(type_, shape, output.stretch(raw.start, raw.end - raw.start))
    if type_ in ("F32", "F64") and len(typed) == 1:  # packed numbers are stored as they are
        return tensor(type_, shape, output.stretch(typed[0].start, typed[0].end - typed[0].start))
    if type_ in ("F32", "F64"):
        return tensor(type_, shape, output.store(b"".join(bytes(content[f.start : f.end]) for f in typed)))
    numbers = [number for part in typed for number in integers(content, part)]
    mask = 2 ** (8 * SIZES[type_])
    signed = type_[0] == "I"
    numbers = [number % mask - (mask if signed and number % mask >= mask // 2 else 0) for number in numbers]
    return tensor(type_, shape, output.store(struct.pack(f"<{len(numbers)}{_CODES.get(type_, 'B')}", *numbers)))
