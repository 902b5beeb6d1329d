"""The wire format of protocol buffers: the fields of a message, without a schema and without recursion."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from .output import Damaged

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BROKEN = "the ONNX file is cut short or damaged"


class Field(NamedTuple):
    """A field: a number, or the place of its bytes."""

    number: int
    value: int
    start: int = 0
    end: int = 0
    width: int = 0  # bytes of a fixed number

    def text(self, content: Any) -> str:
        """Return the bytes as text."""
        return bytes(content[self.start : self.end]).decode("utf-8", "replace")

    def to_signed(self) -> int:
        """Return a varint as a signed 64-bit number."""
        return self.value - 2**64 if self.value >= 2**63 else self.value


def fields(content: Any, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message in ``content[start:end]``.

    Raises:
        Refused: a field extends beyond the message, or its kind is unknown.
    """
    place = start
    while place < end:
        key, place = varint(content, place, end)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = varint(content, place, end)
            yield Field(number, value)
        elif kind == _BYTES:
            length, place = varint(content, place, end)
            if length > end - place or number == 0:
                raise Damaged(_BROKEN)
            yield Field(number, 0, place, place + length)
            place += length
        elif kind in (_FIXED32, _FIXED64):
            width = 4 if kind == _FIXED32 else 8
            if width > end - place:
                raise Damaged(_BROKEN)
            yield Field(number, 0, place, place + width, width)
            place += width
        else:
            raise Damaged(_BROKEN)


def varint(content: Any, place: int, end: int) -> tuple[int, int]:
    """Return a number of variable length, and the place after it."""
    value = shift = 0
    while place < end and shift < 70:
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place
        shift += 7
    raise Damaged(_BROKEN)


def integers(content: Any, found: Field) -> list[int]:
    """Return the values of a repeated int64 field, packed or single."""
    if not found.end:
        return [found.to_signed()]
    values, place = [], found.start
    while place < found.end:
        value, place = varint(content, place, found.end)
        values.append(value - 2**64 if value >= 2**63 else value)
    return values


def floats(content: Any, found: Field) -> list[float]:
    """Return the values of a repeated float field, packed or single."""
    piece = bytes(content[found.start : found.end])
    return list(struct.unpack(f"<{len(piece) // 4}f", piece[: len(piece) // 4 * 4]))
