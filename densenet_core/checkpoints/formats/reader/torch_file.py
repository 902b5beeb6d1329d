"""Files of ``torch.save``, as zip archives and in the older format, and pickles of numpy arrays (Paddle)."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from typing import Any

from . import archive, distributed
from .candidates import Contents, contents
from .objects import REBUILDS, NumpyArray, Quantized, Storage, Tensor, storage_of
from .output import SIZES, UNPACKED, Damaged, Output, Refused, check_names, tensor
from .unpickle import Inert, Rebuild, Unpickler

_MAGIC = 0x1950A86A20F9469CFC6C
_WAY_OUT = "load it where it was made and save model.state_dict()"
Find = Callable[[Storage], "tuple[int, int]"]  # the stretch of a storage and its length in bytes


def read_zip(content: Any, members: dict[str, archive.Member], output: Output, prefix: str) -> dict[str, Any]:
    """Read a zip archive of ``torch.save``, whose files are in the folder ``prefix``."""
    root, find = _open_zip(content, members, output, prefix)
    return describe(root, output, find)


def single_tensor(content: Any, members: dict[str, archive.Member], output: Output, prefix: str) -> list[Any]:
    """Return the only tensor of an archive, in a list; an empty list if it holds anything else."""
    root, find = _open_zip(content, members, output, prefix)
    return [_entry(root, output, find, {})] if isinstance(root, (Tensor, NumpyArray)) else []


def _open_zip(content: Any, members: dict[str, archive.Member], output: Output, prefix: str) -> tuple[Any, Find]:
    """Return the outermost object of an archive, and a function that locates its storages."""
    pickled = archive.read_member(content, members[f"{prefix}data.pkl"])
    order = members.get(f"{prefix}byteorder")
    if order is not None and archive.read_member(content, order) == b"big":
        raise Refused(f"the file was saved on a big-endian machine: {_WAY_OUT} on another one")
    root = _load(io.BytesIO(pickled))
    places: dict[str, tuple[int, int]] = {}

    def find(storage: Storage) -> tuple[int, int]:
        if storage.key not in places:
            member = members.get(f"{prefix}data/{storage.key}")
            if member is None:
                raise Damaged(f"the file is cut short or damaged: its storage {storage.key[:50]!r} is missing")
            places[storage.key] = _stretch(content, member, output), member.size
        return places[storage.key]

    return root, find


def _stretch(content: Any, member: archive.Member, output: Output) -> int:
    if not member.is_deflated:
        return output.stretch(member.offset, member.size)
    start = output.end
    for piece in archive.chunks(content, member):
        output.append(piece)
    return output.stretch(start, member.size, UNPACKED)


def read_pickle(content: Any, output: Output) -> dict[str, Any]:
    """Read a file of ``torch.save`` from before 2020, or any other pickle."""
    content.seek(0)
    root = load(content)
    if not isinstance(root, int) or root != _MAGIC:
        return describe_pickle(root, output)
    _load(content)  # version
    system = _load(content)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise Refused(f"the file was saved on a big-endian machine: {_WAY_OUT} on another one")
    used: dict[str, Storage] = {}
    root = _load(content, used)
    places = _legacy_places(content, _load(content), used, output)

    def find(storage: Storage) -> tuple[int, int]:
        if storage.key not in places:
            raise Damaged(f"the file is cut short or damaged: its storage {storage.key[:50]!r} is missing")
        return places[storage.key]

    return describe(root, output, find)


def load(stream: Any) -> Any:
    """Return the object of a pickle, which torch.save need not have made."""
    return _load(stream, rebuilds={**REBUILDS, "torch.storage._load_from_bytes": _storage_from_bytes})


def describe_pickle(root: Any, output: Output) -> dict[str, Any]:
    """Return the index of an object that ``load`` returned."""
    return describe(root, output, _find_pickled(output))


def _legacy_places(content: Any, keys: Any, used: dict[str, Storage], output: Output) -> dict[str, tuple[int, int]]:
    """Return the place of each storage: after the pickles, each preceded by its number of elements."""
    places: dict[str, tuple[int, int]] = {}
    for key in keys if isinstance(keys, list) else ():
        storage, head = used.get(str(key)), content.read(8)
        if storage is None or len(head) < 8:
            raise Damaged("the file is cut short or damaged: a storage is missing")
        length = struct.unpack("<q", head)[0] * SIZES.get(storage.dtype, 1)
        start = content.tell()
        if not 0 <= length <= len(content) - start:
            raise Damaged("the file is cut short or damaged: a storage extends beyond its end")
        places[str(key)] = output.stretch(start, length), length
        content.seek(start + length)
    return places


def _load(stream: Any, used: dict[str, Storage] | None = None, rebuilds: dict[str, Rebuild] = REBUILDS) -> Any:
    def persistent(pid: Any) -> Any:
        found = storage_of(pid)
        if used is not None and isinstance(found, Storage):
            used.setdefault(found.key, found)
        return found

    try:
        return Unpickler(stream, rebuilds, persistent).load()
    except (Refused, MemoryError, RecursionError):
        raise
    except Exception as error:  # whatever a damaged pickle makes the unpickler raise
        raise Refused(f"its pickle is cut short or damaged: {_WAY_OUT}") from error


def _find_pickled(output: Output) -> Find:
    """Return a function that locates the storages of a pickle that was not made by torch.save: they are files of
    torch.save within it."""
    places: dict[int, tuple[int, int]] = {}

    def find(storage: Storage) -> tuple[int, int]:
        if storage.content is None:
            raise Damaged("the file is cut short or damaged: a storage is missing")
        if id(storage.content) not in places:
            places[id(storage.content)] = output.store(storage.content), len(storage.content)
        return places[id(storage.content)]

    return find


def _storage_from_bytes(args: Any) -> Any:
    """Return the storage in the file of torch.save, in the older format, that pickle makes of a storage."""
    stream = io.BytesIO(args[0] if isinstance(args[0], bytes) else args[0].encode("latin1"))
    used: dict[str, Storage] = {}
    root = [_load(stream, used) for _ in range(4)][-1] if stream.getbuffer().nbytes else None
    keys = _load(stream)
    if not isinstance(root, Storage) or keys != [root.key]:
        raise Refused(f"a storage in its pickle is in a form that is not known: {_WAY_OUT}")
    length = struct.unpack("<q", stream.read(8))[0] * SIZES.get(root.dtype, 1)
    return root._replace(content=stream.read(max(0, length)))


def describe(root: Any, output: Output, find: Find) -> dict[str, Any]:
    """Return the index of a pickle.

    Raises:
        Refused: it holds no tensors.
    """
    if isinstance(root, Inert) and root.name == distributed.METADATA:
        return distributed.describe(root)
    found = contents(root)
    if not found.candidates:
        raise Refused(_no_tensors(root, found))
    arrays: dict[int, int] = {}
    candidates = []
    for candidate in found.candidates:
        check_names(list(candidate.tensors))
        tensors: dict[str, Any] = {}
        for key, value in candidate.tensors.items():
            if isinstance(value, Quantized):
                tensors |= {f"{key}{part}": entry for part, entry in _quantized_entries(value, output, find)}
            else:
                tensors[key] = _entry(value, output, find, arrays)
        about = {"name": candidate.name, "made_by": candidate.made_by, "modules": candidate.modules}
        candidates.append({**about, "tensors": tensors})
    return {"format": "torch", "candidates": candidates, "others": found.others, "kind": found.kind}


def _no_tensors(root: Any, found: Contents) -> str:
    if isinstance(root, dict):
        keys = ", ".join(repr(key[:50]) for key in list(root)[:5] if isinstance(key, str)) or "keys that are no names"
        return f"the file holds no tensors, only {keys}: save model.state_dict()"
    return f"the file holds an object of type {found.kind}, not a state dict: save model.state_dict()"


def _entry(value: Any, output: Output, find: Find, arrays: dict[int, int]) -> Any:
    if isinstance(value, Tensor):
        if value.dtype not in SIZES:
            return f"is {value.dtype[:50]}: floating point is needed"
        if value.storage.location == "meta":
            return "is on the meta device, which holds no numbers: save a real one"
        stretch, _ = find(value.storage)
        return tensor(value.dtype, value.shape, stretch, value.first, value.strides)
    if isinstance(value, NumpyArray):
        return _array_entry(value, output, arrays)
    return f"is {value.reason}"


def _quantized_entries(value: Quantized, output: Output, find: Find) -> Iterator[tuple[str, Any]]:
    """Yield the whole numbers, scales and zero points of a tensor, whose shapes fit together."""
    yield "_whole", _entry(value.whole, output, find, {})
    sides = [1] * len(value.whole.shape)
    held_numbers = [held for held in (value.scales, value.zero_points) if isinstance(held, Tensor)]
    if held_numbers and not (value.axis in range(len(sides)) and all(len(own.shape) == 1 for own in held_numbers)):
        raise Refused("the scales and zero points of a quantized tensor are not one for each part of an axis")
    for part, kind, held in (("_scales", "<d", value.scales), ("_zero_points", "<q", value.zero_points)):
        if isinstance(held, Tensor):
            entry = _entry(held, output, find, {})
            sides[value.axis] = held.shape[0]
            strides = [held.strides[0] if axis == value.axis else 0 for axis in range(len(sides))]
            yield part, [entry[0], list(sides), entry[2], entry[3], strides] if isinstance(entry, list) else entry
        else:
            number = output.store(struct.pack(kind, held))
            yield part, tensor({"<d": "F64", "<q": "I64"}[kind], tuple(sides), number)


def _array_entry(value: NumpyArray, output: Output, arrays: dict[int, int]) -> Any:
    name = value.type.name if value.type is not None else None
    if name is None or value.type is None or not isinstance(value.content, (bytes, str)):
        return f"is a numpy array of {value.type.text[:50] if value.type else 'objects'}: floating point is needed"
    order = value.type.text[:1] if value.type.text[:1] in "<>" else value.type.order
    if order == ">" and SIZES[name] > 1:
        return "is a big-endian numpy array: save it anew on this machine"
    if id(value.content) not in arrays:
        content = value.content
        arrays[id(content)] = output.store(content if isinstance(content, bytes) else content.encode("latin1"))
    shape, strides = tuple(value.shape), None
    if value.is_fortran:
        strides = tuple(_product(shape[:axis]) for axis in range(len(shape)))
    return tensor(name, shape, arrays[id(value.content)], 0, strides)


def _product(sides: tuple[int, ...]) -> int:
    product = 1
    for side in sides:
        product *= side
    return product
