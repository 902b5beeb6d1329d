"""Networks in several files of a folder: shards with an index, and distributed checkpoints."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.formats.content import (
    Candidate,
    Entry,
    FileContent,
    Stretch,
    check_number,
    parse_candidates,
    size_of,
)
from densenet_core.checkpoints.formats.limits import MAX_HEADER, MAX_PARTS, MAX_PARTS_SECONDS
from densenet_core.checkpoints.formats.number_types import name_of
from densenet_core.checkpoints.formats.process import UNPACKED, run_reader
from densenet_core.errors import CheckpointError, DamagedFileError
from densenet_core.files import open_file, read_small

RUN_WEIGHTS = "model.safetensors"  # the weights' name in a run folder
INDEX_ENDING = ".index.json"  # of Hugging Face's model.safetensors.index.json and pytorch_model.bin.index.json
DISTRIBUTED_INDEX = ".metadata"  # of a folder of torch.distributed.checkpoint
_OPTIMIZER = ("optimizer.", "optim.")


def beside(folder: Path, name: str, may_link: bool = False) -> Path:
    """Return a file of a folder by the plain name that another file refers to it with.

    Args:
        may_link: the file may be a symbolic link, as in Hugging Face's cache; not for files of raw numbers, which
            could be any file of the machine.

    Raises:
        CheckpointError: the name is a path, or the folder has no such file.
    """
    file = folder / name
    is_plain = Path(name).name == name and not set(name) & set("/\\:\0") and name not in (".", "..")
    if not is_plain or (file.is_symlink() and not may_link) or not file.is_file():
        raise CheckpointError(
            f"its weights lie in another file, {name[:100]!r}, which is not beside it: "
            "put both in one folder (an upload is one file), or save the network with its weights inside"
        )
    return file


def read_shards(index: Path, read: Callable[[Path], FileContent]) -> FileContent:
    """Return the content of a network that is split into several files, by the index of its shards.

    Args:
        index: a JSON file with a ``weight_map``: the file name of each tensor.
        read: opens one file.

    Raises:
        CheckpointError: the index is damaged, or a shard is missing or lacks a tensor.
    """
    shards: dict[str, list[str]] = {}
    for tensor, name in _weight_map(index).items():
        shards.setdefault(name, []).append(tensor)
    if len(shards) > MAX_PARTS:
        raise CheckpointError(f"its index names {len(shards):,} files: at most {MAX_PARTS:,} are read")
    joined = _Joined()
    deadline = time.monotonic() + MAX_PARTS_SECONDS
    with ExitStack() as opened:
        for name, tensors in shards.items():
            if is_index(Path(name)):
                raise CheckpointError(f"its index names another index, {name[:100]!r}: pass the folder of one network")
            if time.monotonic() > deadline:
                raise CheckpointError(f"reading its {len(shards):,} files takes more than {MAX_PARTS_SECONDS} s")
            content = read(_shard(index.parent, name))
            opened.callback(content.close)
            joined.add(name, content, ((tensor, tensor) for tensor in tensors))
        opened.pop_all()  # the caller closes them
    return joined.content("sharded")


def _weight_map(index: Path) -> dict[str, str]:
    try:
        content = read_small(index, MAX_HEADER)
    except ValueError as error:
        raise CheckpointError(f"the index of its shards can't be read: {error}") from error
    try:
        names = json.loads(content)["weight_map"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{index.name!r} is no index of shards: it has no weight_map") from error
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()) or not names:
        raise CheckpointError(f"{index.name!r} is no index of shards: its weight_map does not name files")
    check_number(len(names))
    return names


def _shard(folder: Path, name: str) -> Path:
    try:
        return beside(folder, name, may_link=True)
    except CheckpointError as error:
        raise CheckpointError(
            f"the folder lacks {name[:100]!r}, one of the network's files: download all of them"
        ) from error


class _Joined:
    """The tensors of several files as those of one."""

    def __init__(self) -> None:
        self.files: dict[str, BinaryIO] = {}
        self.tensors: dict[str, Entry | str] = {}

    def add(self, name: str, content: FileContent, tensors: Iterable[tuple[str, str]]) -> None:
        """Add tensors of a file, which are pairs of their name in all and their name in the file."""
        self.files |= {f"{name}\0{where}": file for where, file in content.files.items()}
        held = content.candidates[0].tensors
        for key, own in tensors:
            if own not in held:
                raise CheckpointError(f"its file {name[:100]!r} lacks tensor {key[:100]!r}, which the index names")
            self.tensors[key] = _move(held[own], name)

    def content(self, format: str, others: tuple[str, ...] = ()) -> FileContent:
        return FileContent(format, (Candidate("", self.tensors),), self.files, others)


def _move(entry: Entry | str, name: str) -> Entry | str:
    if isinstance(entry, str):
        return entry
    where, offset, length = entry.stretch
    return entry._replace(stretch=Stretch(f"{name}\0{where}", offset, length))


class _Piece(NamedTuple):
    """A part of a tensor in a distributed checkpoint."""

    tensor: str
    begin: tuple[int, ...]  # its first index along each axis of the whole tensor
    file: str
    offset: int
    length: int
    whole: tuple[int, ...]  # shape of the whole tensor


def read_distributed(folder: Path) -> FileContent:
    """Return the content of a folder that ``torch.distributed.checkpoint`` wrote.

    Tensors that were split over processes are put together in a temporary file.

    Raises:
        CheckpointError: its index is damaged, or one of its files is missing.
    """
    pieces, others = _pieces(folder / DISTRIBUTED_INDEX)
    by_file: dict[str, list[_Piece]] = {}
    for piece in pieces:
        by_file.setdefault(piece.file, []).append(piece)
    if len(by_file) > MAX_PARTS:
        raise CheckpointError(f"its index names {len(by_file):,} files: at most {MAX_PARTS:,} are read")
    joined = _Joined()
    with ExitStack() as opened:
        for name, own in by_file.items():
            content = _read_pieces(_shard(folder, name), own)
            opened.callback(content.close)
            joined.add(name, content, ((_key(piece), str(number)) for number, piece in enumerate(own)))
        found = _assemble(joined.content("distributed", others), pieces)
        opened.pop_all()  # the caller closes them
    return found


def _key(piece: _Piece) -> str:
    return f"{piece.tensor}\0{','.join(map(str, piece.begin))}"


def _pieces(index: Path) -> tuple[list[_Piece], tuple[str, ...]]:
    with open_file(index) as file:
        returned = run_reader(file)
    returned.unpacked.close()
    try:
        pieces = [
            _Piece(str(name), tuple(map(int, begin)), str(file), int(offset), int(length), tuple(map(int, whole)))
            for name, begin, file, offset, length, whole in returned.index["pieces"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{index.name!r} is no index of a distributed checkpoint") from error
    check_number(len(pieces))
    kept = [piece for piece in pieces if not piece.tensor.startswith(_OPTIMIZER)]
    return kept, ("optimizer",) if len(kept) < len(pieces) else ()


def _read_pieces(path: Path, pieces: list[_Piece]) -> FileContent:
    """Return the tensors of one file, named by their numbers."""
    with ExitStack() as opened:
        file = opened.enter_context(open_file(path))
        returned = run_reader(file, [[piece.offset, piece.length] for piece in pieces])
        opened.callback(returned.unpacked.close)
        sizes = {"": size_of(file), UNPACKED: returned.unpacked_size}
        candidates = parse_candidates(returned.index, sizes)
        opened.pop_all()  # the caller closes them
    return FileContent("torch", candidates, {"": file, UNPACKED: returned.unpacked})


def _assemble(content: FileContent, pieces: list[_Piece]) -> FileContent:
    """Replace the pieces of every tensor with the tensor, in a temporary file where it has several."""
    held, by_tensor = content.candidates[0].tensors, dict[str, list[_Piece]]()
    for piece in pieces:
        by_tensor.setdefault(piece.tensor, []).append(piece)
    tensors: dict[str, Entry | str] = {}
    files = dict(content.files)
    for name, own in by_tensor.items():
        entry = held[_key(own[0])]
        if len(own) == 1 and (isinstance(entry, str) or entry.shape == own[0].whole):
            tensors[name] = entry
            continue
        if "assembled" not in files:
            files["assembled"] = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the content)
        arrays = content.arrays(content.candidates[0], [_key(piece) for piece in own])
        tensors[name] = _write(own, [arrays[_key(piece)] for piece in own], files["assembled"])
    return FileContent(content.format, (Candidate("", tensors),), files, content.others)


def _write(pieces: list[_Piece], arrays: list[Array], file: BinaryIO) -> Entry:
    """Put the pieces of a tensor together at the end of a file."""
    shape, damaged = pieces[0].whole, f"tensor {pieces[0].tensor[:100]!r} is damaged"
    if math.prod(shape) != sum(array.size for array in arrays):
        raise DamagedFileError(f"{damaged}: parts of it are missing")
    whole = np.empty(shape, arrays[0].dtype)
    for piece, array in zip(pieces, arrays, strict=True):
        ends = [at + side for at, side in zip(piece.begin, array.shape, strict=False)]
        if len(ends) != len(shape) or any(end > side for end, side in zip(ends, shape, strict=True)):
            raise DamagedFileError(f"{damaged}: its parts do not fit together")
        whole[tuple(slice(at, end) for at, end in zip(piece.begin, ends, strict=True))] = array
    start = file.seek(0, 2)
    file.write(whole.tobytes())
    file.flush()
    return Entry(name_of(whole.dtype), shape, Stretch("assembled", start, whole.nbytes))


def is_index(path: Path) -> bool:
    """Return whether a file is named as an index of shards."""
    return path.name.endswith(INDEX_ENDING)


def find_weights(folder: Path) -> Path | None:
    """Return the file of a folder that leads to its network: weights or an index; None where it has none."""
    for name in ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (folder / name).is_file():
            return folder / name
    indexes = sorted(folder.glob(f"*{INDEX_ENDING}"))
    usual = folder / "pytorch_model.bin"
    return indexes[0] if len(indexes) == 1 else usual if usual.is_file() else None
