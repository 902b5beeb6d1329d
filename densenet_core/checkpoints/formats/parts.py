"""The files that contain a network, found without parsing them; if any of them changes, the network changes."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from densenet_core.checkpoints.formats.folders import INDEX_ENDING, RUN_WEIGHTS
from densenet_core.checkpoints.formats.limits import MAX_PARTS
from densenet_core.files import open_file, scan_folder

# An entry of a tensor's external_data in ONNX: key "location", and a file name of at most 127 bytes.
MAX_GRAPH = 64_000_000  # bytes of an ONNX file whose tensors are in other files
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])", re.DOTALL)


def files_of(path: Path) -> list[Path]:
    """Return the files that contain the network at ``path``: one, all shards of a folder, or an ONNX file's data too.

    Files that are missing are left out, except ``path`` itself.

    >>> from densenet_core.checkpoints.zoo import zoo_path
    >>> [file.suffix for file in files_of(zoo_path("densenet-40-12-digits"))]
    ['.safetensors']

    Raises:
        OSError: the folder or file can't be read.
    """
    if path.is_dir():
        weights = path / RUN_WEIGHTS
        return [weights] if weights.is_file() else _files_in(path)
    if path.name.endswith(INDEX_ENDING):
        return _files_in(path.parent)
    if path.suffix.lower() != ".onnx":
        return [path]
    stat = path.stat()
    beside = (path.parent / name for name in _external_names(path, stat.st_mtime_ns, stat.st_size))
    return [path, *(file for file in beside if file.is_file())]


def _files_in(folder: Path) -> list[Path]:
    """Return the files of a folder by name; the first ones, where it holds more than a network has parts."""
    with scan_folder(folder) as entries:
        return [Path(folder, name) for name in sorted(entry.name for entry in entries if entry.is_file())[:MAX_PARTS]]


@lru_cache(maxsize=64)
def _external_names(file: Path, modified: int, size: int) -> tuple[str, ...]:
    """Return the plain names of the files that contain an ONNX file's tensors; time and size are those of ``file``."""
    if size > MAX_GRAPH:
        return ()
    with open_file(file) as stream:
        content = stream.read(MAX_GRAPH)
    ends = ((match.end(), match.end() + match[1][0]) for match in _LOCATION.finditer(content))
    names = {content[first:end].decode("utf-8", "replace") for first, end in ends}
    return tuple(name for name in sorted(names)[:MAX_PARTS] if "\0" not in name and Path(name).name == name)
