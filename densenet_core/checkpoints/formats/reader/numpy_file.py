"""Archives of ``numpy.savez``: one .npy file per tensor."""

from __future__ import annotations

import re
from typing import Any

from . import archive
from .objects import NumpyType
from .output import SIZES, Output, Refused, check_names, tensor

_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(  # {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
    r"\{'descr': '([^']{1,20})', 'fortran_order': (True|False), 'shape': \(([\d, ]{0,200})\), *\}\s*"
)


def read_npz(content: Any, members: dict[str, archive.Member], output: Output) -> dict[str, Any]:
    """Return the arrays of an archive by the names of its files."""
    check_names(list(members))
    tensors = {name.removesuffix(".npy"): _entry(content, member, output) for name, member in members.items()}
    return {"format": "numpy", "candidates": [{"name": "", "made_by": "", "tensors": tensors}], "others": []}


def _entry(content: Any, member: archive.Member, output: Output) -> Any:
    if member.is_deflated:
        unpacked = archive.read_member(content, member)
        described, start = _header(unpacked, member.name)
        return _tensor(described, output.store(unpacked[start:]))
    described, start = _header(content[member.offset : member.offset + min(member.size, 65536)], member.name)
    return _tensor(described, output.stretch(member.offset + start, member.size - start))


def _header(head: bytes, name: str) -> tuple[tuple[str, bool, tuple[int, ...]], int]:
    """Return (dtype, whether the first index varies fastest, shape) of a .npy file, and where its numbers begin."""
    if head[:6] != _MAGIC or len(head) < 12:
        raise Refused(f"{name[:100]!r} in the archive is not a numpy array")
    wide = head[6] > 1
    size = int.from_bytes(head[8 : 12 if wide else 10], "little")
    start = (12 if wide else 10) + size
    if size > 10_000 or start > len(head):
        raise Refused(f"{name[:100]!r} in the archive is cut short or damaged")
    match = _HEADER.fullmatch(head[start - size : start].decode("latin1"))
    if match is None:
        raise Refused(f"{name[:100]!r} in the archive is not an array of plain numbers")
    shape = tuple(int(side) for side in match[3].replace(" ", "").split(",") if side)
    return (match[1], match[2] == "True", shape), start


def _tensor(described: tuple[str, bool, tuple[int, ...]], stretch: int) -> Any:
    type_, is_fortran, shape = described
    name = NumpyType(type_).name
    if name is None or (type_[:1] == ">" and SIZES[name] > 1):
        return f"is a numpy array of {type_[:50]}: floating point in this machine's byte order is needed"
    strides: tuple[int, ...] | None = None
    if is_fortran:
        strides, step = (), 1
        for side in shape:
            strides, step = (*strides, step), step * side
    return tensor(name, shape, stretch, 0, strides)
