"""Open a file or folder: from its path to an index of its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from densenet_core.checkpoints.formats.content import FileContent, parse_candidates, parse_names, size_of
from densenet_core.checkpoints.formats.folders import (
    DISTRIBUTED_INDEX,
    RUN_WEIGHTS,
    beside,
    find_weights,
    is_index,
    read_distributed,
    read_shards,
)
from densenet_core.checkpoints.formats.limits import MAX_PARTS
from densenet_core.checkpoints.formats.process import UNPACKED, run_reader
from densenet_core.checkpoints.formats.safetensors_file import read_safetensors
from densenet_core.checkpoints.formats.signs import by_ending, other_folder, other_format
from densenet_core.errors import CheckpointError, DamagedFileError
from densenet_core.files import open_file

_HEAD = 512
_ABOUT = ("graph", "layers", "norms", "functions", "dim_ordering", "kind", "shards")
# First bytes of what the reader process reads
_PARSED = (b"PK", b"\x80", b"(", b"c", b"}", b"]", b"\x08", b"\x89H", b"\x93NUMPY")


def open_content(path: Path) -> FileContent:
    """Return the index of a file or folder; the caller closes it.

    Raises:
        CheckpointError: there is nothing that can be read.
        OSError: the file can't be opened.
    """
    if path.is_dir():
        return _read_folder(path)
    if path.exists() and not path.is_file():
        raise CheckpointError("it is not a file: give a checkpoint file or a run folder")
    return read_file(path)


def _read_folder(folder: Path) -> FileContent:
    """Return the index of a run folder, a Hugging Face folder or a distributed checkpoint."""
    if (file := find_weights(folder)) is not None:
        return read_file(file)
    if (folder / DISTRIBUTED_INDEX).is_file():
        return read_distributed(folder)
    raise CheckpointError(
        other_folder(folder)
        or f"the folder holds no {RUN_WEIGHTS}: give a checkpoint file, or a run folder whose first epoch has ended"
    )


def read_file(path: Path) -> FileContent:
    """Return the index of a file; the format is detected from the content, not the extension.

    Raises:
        CheckpointError: the file can't be opened, is damaged, or is of a format that is not read.
    """
    if is_index(path):
        return read_shards(path, read_file)
    try:
        file = open_file(path)
    except ValueError as error:  # a NUL in the name, or a pipe
        raise CheckpointError(f"this can't be read as a file: {error}") from error
    try:
        return _read(file, path)
    except BaseException:
        file.close()
        raise


def _read(file: BinaryIO, path: Path) -> FileContent:
    head = file.read(_HEAD)
    if len(head) < 9:
        raise DamagedFileError(f"the file has {len(head)} bytes: it is empty or cut short")
    if head[8:9] == b"{":
        return read_safetensors(file)
    if (other := other_format(head, path.suffix.lower())) is not None:
        raise CheckpointError(other)
    if not head.startswith(_PARSED):
        raise CheckpointError(
            by_ending(path.suffix.lower(), head)
            or "neither safetensors nor a file of torch.save, Keras, numpy or ONNX: "
            "save the network's state_dict() as one of them"
        )
    return _parse(file, path)


def _parse(file: BinaryIO, path: Path) -> FileContent:
    """Return the index that the reader process makes of a file."""
    returned = run_reader(file)
    files = {"": file, UNPACKED: returned.unpacked}
    try:
        index, sizes = returned.index, {"": size_of(file), UNPACKED: returned.unpacked_size}
        for name in _files_beside(index):
            files[name] = open_file(beside(path.parent, name))
            sizes[name] = size_of(files[name])
        candidates = parse_candidates(index, sizes)
    except BaseException:
        for opened in list(files.values())[1:]:
            opened.close()
        raise
    about = {key: index[key] for key in _ABOUT if key in index}
    return FileContent(str(index.get("format")), candidates, files, parse_names(index.get("others")), about)


def _files_beside(index: object) -> set[str]:
    """Return the names of the files beside this one that hold its weights (ONNX)."""
    stretches = index.get("stretches") if isinstance(index, dict) else None
    if not isinstance(stretches, list):
        return set()
    names = {str(s[0]) for s in stretches if isinstance(s, list) and s} - {"", UNPACKED}
    if len(names) > MAX_PARTS:
        raise CheckpointError(f"its weights lie in {len(names):,} other files: at most {MAX_PARTS:,} are opened")
    return names
