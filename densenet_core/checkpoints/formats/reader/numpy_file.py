"""Files of ``numpy.savez``, with one .npy file per tensor, and objects that ``numpy.save`` pickled."""

from __future__ import annotations

import io
import re
from typing import Any, NamedTuple

from . import archive, torch_file
from .candidates import contents
from .objects import NumpyType
from .output import SIZES, Damaged, Output, Refused, check_names, tensor

_OBJECTS = "|O"
NPY_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(  # {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
    r"\{'descr': '([^']{1,20})', 'fortran_order': (True|False), 'shape': \(([\d, ]{0,200})\), *\}\s*"
)


def read_npz(content: Any, members: dict[str, archive.Member], output: Output) -> dict[str, Any]:
    """Return the arrays of an archive by the names of its files; objects in it are read as pickles."""
    check_names(list(members))
    files = {name.removesuffix(".npy"): _open(content, member) for name, member in members.items()}
    objects = {name: torch_file.load(io.BytesIO(own.rest())) for name, own in files.items() if own.type == _OBJECTS}
    if objects and contents(objects).candidates:
        return torch_file.describe_pickle(objects, output)
    tensors = {name: _entry(own, output) for name, own in files.items()}
    return {"format": "numpy", "candidates": [{"name": "", "made_by": "", "tensors": tensors}], "others": []}


def read_npy(content: Any, output: Output) -> dict[str, Any]:
    """Return the arrays in the pickle of a single .npy file.

    Raises:
        Refused: it holds a single array.
    """
    own = _open(content, archive.Member("the file", 0, len(content), len(content), is_deflated=False))
    if own.type != _OBJECTS:
        sides = "x".join(map(str, own.shape)) or "1"
        raise Refused(f"the file holds one numpy array of {sides}: save all arrays of the network with numpy.savez")
    return torch_file.describe_pickle(torch_file.load(io.BytesIO(own.rest())), output)


class _NpyFile(NamedTuple):
    """A .npy file: the whole content, and where it begins and its numbers begin and end in it."""

    type: str
    is_fortran: bool
    shape: tuple[int, ...]
    content: Any
    start: int
    end: int
    is_unpacked: bool

    def rest(self) -> bytes:
        """Return what follows its header."""
        return bytes(self.content[self.start : self.end])


def _open(content: Any, member: archive.Member) -> _NpyFile:
    first, end = (0, member.size) if member.is_deflated else (member.offset, member.offset + member.size)
    content = archive.read_member(content, member) if member.is_deflated else content
    described, start = _header(content[first : min(end, first + 65536)], member.name)
    return _NpyFile(*described, content, first + start, end, member.is_deflated)


def _entry(own: _NpyFile, output: Output) -> Any:
    name = NumpyType(own.type).name
    if name is None or (own.type[:1] == ">" and SIZES[name] > 1):
        return f"is a numpy array of {own.type[:50]}: floating point in this machine's byte order is needed"
    strides: tuple[int, ...] | None = None
    if own.is_fortran:
        strides, step = (), 1
        for side in own.shape:
            strides, step = (*strides, step), step * side
    stretch = output.store(own.rest()) if own.is_unpacked else output.stretch(own.start, own.end - own.start)
    return tensor(name, own.shape, stretch, 0, strides)


def _header(head: bytes, name: str) -> tuple[tuple[str, bool, tuple[int, ...]], int]:
    """Return (dtype, whether the first index varies fastest, shape) of a .npy file, and where its numbers begin."""
    if head[:6] != NPY_MAGIC or len(head) < 12:
        raise Refused(f"{name[:100]!r} is not a numpy array")
    wide = head[6] > 1
    size = int.from_bytes(head[8 : 12 if wide else 10], "little")
    start = (12 if wide else 10) + size
    if size > 10_000 or start > len(head):
        raise Damaged(f"{name[:100]!r} is cut short or damaged")
    match = _HEADER.fullmatch(head[start - size : start].decode("latin1"))
    if match is None:
        raise Refused(f"{name[:100]!r} is not an array of plain numbers")
    shape = tuple(int(side) for side in match[3].replace(" ", "").split(",") if side)
    return (match[1], match[2] == "True", shape), start
