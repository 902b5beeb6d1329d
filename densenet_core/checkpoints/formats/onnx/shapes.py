"""Shapes of the values of an ONNX graph, as far as needed to follow feature maps; a side of 0 is unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Shape = tuple[int, ...]


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """Return the shape of the result of an elementwise operation."""
    rank = max(map(len, shapes))
    wide = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(_side(sides) for sides in zip(*wide, strict=True))


def _side(sides: Sequence[int]) -> int:
    longer = [side for side in sides if side != 1]
    return max(longer) if longer else 1


def window_shape(shape: Shape, kernel: Sequence[int], attributes: Mapping[str, Any], channels: int) -> Shape:
    """Return the shape after a convolution or pooling with this kernel."""
    dims = len(shape) - 2
    strides = _numbers(attributes.get("strides"), dims, 1)
    dilations = _numbers(attributes.get("dilations"), dims, 1)
    pads = _numbers(attributes.get("pads"), 2 * dims, 0)
    is_same = str(attributes.get("auto_pad", "")).startswith("SAME")
    sides = []
    for axis, side in enumerate(shape[2:]):
        if not side or axis >= len(kernel):
            sides.append(0)
        elif is_same:
            sides.append(-(-side // strides[axis]))
        else:
            room = side + pads[axis] + pads[dims + axis] - dilations[axis] * (kernel[axis] - 1) - 1
            up = strides[axis] - 1 if attributes.get("ceil_mode") else 0
            sides.append(max(0, (room + up) // strides[axis] + 1))
    return (shape[0], channels, *sides)


def mean_shape(shape: Shape, axes: Sequence[int], keep: bool) -> Shape:
    """Return the shape after a mean over some axes."""
    gone = {axis % len(shape) for axis in axes}
    return tuple(1 if axis in gone else side for axis, side in enumerate(shape) if keep or axis not in gone)


def compute(operation: str, attributes: Mapping[str, Any], values: Sequence[Sequence[int] | None]) -> list[int] | None:
    """Return the result of an operation on shapes, which exporters compute in the graph, or None if it is unknown.

    Args:
        values: the inputs, None where unknown.
    """
    first = values[0] if values else None
    if operation == "Concat":
        parts = [value for value in values if value is not None]
        return [side for part in parts for side in part] if len(parts) == len(values) else None
    if first is None:
        return None
    if operation in ("Cast", "Identity", "Unsqueeze", "Squeeze"):
        return list(first)
    known = [value for value in values[1:] if value is not None]
    if operation == "Gather" and known:
        return [first[place] for place in known[0] if -len(first) <= place < len(first)]
    if operation == "Slice" and len(known) > 1 and known[0] and known[1]:
        return list(first[known[0][0] : known[1][0]])
    return None


def _numbers(values: Any, number: int, default: int) -> list[int]:
    """Return ``number`` positive numbers, whatever the file says."""
    given = [int(v) for v in values] if isinstance(values, list) else []
    sure = [v if 0 <= v < 2**31 else default for v in given]
    return [max(v, default) for v in (sure + [default] * number)[:number]]
