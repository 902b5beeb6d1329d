"""The reader process: it reads a file from standard input and writes the result to standard output, also a file."""

from __future__ import annotations

import io
import json
import mmap
import os
import sys
from typing import Any

from . import archive, torch_file
from .confine import confine
from .hdf5_file import read_hdf5
from .numpy_file import NPY_MAGIC, read_npy, read_npz
from .onnx_file import NO_GRAPH, read_onnx
from .output import HARM, Damaged, Output, Refused

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
KERAS_WEIGHTS = "model.weights.h5"  # inside a .keras archive
_KERAS = "Keras files need h5py: pip install 'densenet-lens[keras]'"
_COMPILED = "load it where it was made and save model.state_dict()"
_PROGRAMS = {
    "constants.pkl": "the file is a TorchScript archive, which holds code",
    "archive_format": "the file is a .pt2 archive of torch.export, which holds a program",
    "serialized_exported_program.json": "the file is a .pt2 archive of torch.export, which holds a program",
    "extern_modules": "the file is an archive of torch.package, which holds code",
    "MAR-INF/MANIFEST.json": "the file is an archive of TorchServe, which holds code",
    "saved_model.pb": "the archive holds a TensorFlow SavedModel, which holds a program",
}


def main(libraries: str) -> None:
    """Read standard input and exit.

    Args:
        libraries: the folder in which h5py is installed, or "" if it is not.
    """
    size = os.fstat(0).st_size
    request = _request()
    content = mmap.mmap(0, size, access=mmap.ACCESS_READ)
    output = Output(1, size)
    h5py = _h5py(content, libraries)
    confine(size)
    try:
        index = _read_parts(content, request, output) if request else _read(content, output, h5py)
    except Refused as error:
        index = {"error": str(error)[:2000], "is_damaged": isinstance(error, Damaged)}
    except (MemoryError, RecursionError):
        index = {"error": f"reading it takes more memory than any network needs: {HARM}", "is_damaged": True}
    except Exception:  # whatever a damaged file makes the parsers raise
        index = {"error": "the file is cut short or damaged", "is_damaged": True}
    output.finish(index)
    os._exit(0)


def _request() -> list[list[int]]:
    """Return [offset, length] of each archive to read in a file of a distributed checkpoint; else nothing."""
    os.lseek(1, 0, os.SEEK_SET)
    text = b"".join(iter(lambda: os.read(1, 2**20), b""))
    os.ftruncate(1, 0)
    os.lseek(1, 0, os.SEEK_SET)
    parts: list[list[int]] = json.loads(text)["parts"]
    return parts


def _h5py(content: Any, libraries: str) -> Any:
    """Return the library if the file may need it: nothing can be imported once the rights are dropped."""
    is_needed = content[:8] == HDF5_MAGIC or (
        content[:2] == b"PK" and content.rfind(KERAS_WEIGHTS.encode(), max(0, len(content) - 2**20)) >= 0
    )
    if not (is_needed and libraries):
        return None
    sys.path.append(libraries)
    import h5py

    return h5py


def _read(content: Any, output: Output, h5py: Any) -> dict[str, Any]:
    if content[:8] == HDF5_MAGIC:
        return read_hdf5(_require(h5py), content, 0, output)
    if content[:2] == b"PK":
        return _read_zip(content, output, h5py)
    if content[:6] == NPY_MAGIC:
        return read_npy(content, output)
    if content[:1] == b"\x08":  # protobuf's first field, the version of the format
        return read_onnx(content, output)
    if content[:1] in (b"\x80", b"(", b"c", b"}", b"]"):
        return torch_file.read_pickle(content, output)
    raise Refused(NO_GRAPH)


def _read_parts(content: Any, parts: list[list[int]], output: Output) -> dict[str, Any]:
    """Read the consecutive archives in a file of a distributed checkpoint, each of one tensor."""
    tensors: dict[str, Any] = {}
    for number, (offset, length) in enumerate(parts):
        output.base = offset
        piece = content[offset : offset + length]
        members = archive.members(piece)
        (prefix,) = [name.removesuffix("data.pkl") for name in members if name.endswith("data.pkl")]
        (tensors[str(number)],) = torch_file.single_tensor(piece, members, output, prefix)
    return {"format": "torch", "candidates": [{"name": "", "made_by": "", "tensors": tensors}], "others": []}


def _require(h5py: Any) -> Any:
    if h5py is None:
        raise Refused(_KERAS)
    return h5py


def _read_zip(content: Any, output: Output, h5py: Any) -> dict[str, Any]:
    members = archive.members(content)
    for name in members:
        for end, what in _PROGRAMS.items():
            if name == end or name.endswith(f"/{end}"):
                raise Refused(f"{what}: {_COMPILED}")
    if KERAS_WEIGHTS in members:
        return _read_keras(content, members, output, _require(h5py))
    for name in members:
        prefix = name.removesuffix("data.pkl")
        if prefix != name and prefix.count("/") <= 1:
            return torch_file.read_zip(content, members, output, prefix)
    if members and all(name.endswith(".npy") for name in members):
        return read_npz(content, members, output)
    names = ", ".join(repr(name[:50]) for name in list(members)[:3]) or "nothing"
    raise Refused(f"the file is a zip archive of {names}, not a file of torch.save or Keras: unpack it")


def _read_keras(content: Any, members: dict[str, archive.Member], output: Output, h5py: Any) -> dict[str, Any]:
    weights, config = members[KERAS_WEIGHTS], members.get("config.json")
    text = archive.read_member(content, config).decode("utf-8", "replace") if config is not None else ""
    inner = io.BytesIO(archive.read_member(content, weights))
    return read_hdf5(h5py, inner, -1 if weights.is_deflated else weights.offset, output, text)
