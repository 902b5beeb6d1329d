"""safetensors files, whose header is the index: plain JSON, which this process parses itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, BinaryIO

from densenet_core.checkpoints.formats.content import (
    Candidate,
    Entry,
    FileContent,
    Stretch,
    check_number,
    check_overlaps,
    parse_entry,
    size_of,
)
from densenet_core.checkpoints.formats.limits import MAX_HEADER
from densenet_core.errors import CheckpointError, DamagedFileError

_METADATA = "__metadata__"


def read_safetensors(file: BinaryIO) -> FileContent:
    """Return the tensors and the metadata of a safetensors file.

    Raises:
        CheckpointError: the header is too large or damaged, or a tensor lies outside the file.
    """
    header, start = _header(file)
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise DamagedFileError("the safetensors file is damaged: its metadata are not text")
    check_number(len(header))
    size = size_of(file)
    tensors = {name: _entry(name, described, start, size) for name, described in header.items()}
    check_overlaps([entry.stretch for entry in tensors.values()])
    return FileContent("safetensors", (Candidate("", tensors),), {"": file}, about={"metadata": metadata})


def _header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > size_of(file) - 8:
        raise DamagedFileError("the safetensors file is cut short or damaged: it is shorter than its header says")
    if length > MAX_HEADER:
        raise CheckpointError(f"its header is larger than {MAX_HEADER:,} bytes, which no network needs")
    try:
        header = json.loads(file.read(length))
    except RecursionError as error:
        raise DamagedFileError("the safetensors file is damaged: its header is nested too deeply") from error
    except ValueError as error:
        raise DamagedFileError("the safetensors file is cut short or damaged: its header is not JSON") from error
    if not isinstance(header, dict):
        raise DamagedFileError("the safetensors file is damaged: its header is not an object")
    return header, 8 + length


def _entry(name: str, described: Any, start: int, size: int) -> Entry:
    if not isinstance(described, Mapping):
        raise DamagedFileError(f"the safetensors file is damaged: tensor {name[:100]!r} is not described")
    try:
        begin, end = described["data_offsets"]
        if not (type(begin) is int and type(end) is int and 0 <= begin <= end <= size - start):
            raise DamagedFileError(f"the file is cut short or damaged: tensor {name[:100]!r} extends beyond its end")
        return parse_entry(name, described["dtype"], described["shape"], Stretch("", start + begin, end - begin))
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(
            f"the safetensors file is damaged: tensor {name[:100]!r} has no whole dtype, shape and data_offsets"
        ) from error
