"""The index of a file's tensors, validated before any of them is read.

The index comes from a process that parsed an untrusted file, so nothing in it is trusted: every place must lie in the
file, places must not overlap, and shapes must fit the number of bytes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.formats.limits import (
    LARGE,
    MAX_DIMS,
    MAX_EMPTY_SIDE,
    MAX_LISTED,
    MAX_NAME,
    MAX_NAME_PARTS,
    MAX_SHARED,
    MAX_TENSORS,
)
from densenet_core.checkpoints.formats.number_types import ITEM_SIZES, as_numbers
from densenet_core.errors import CheckpointError, DamagedFileError


class Stretch(NamedTuple):
    """A range of bytes: in which file ("" the checkpoint itself), from where, and how many."""

    where: str
    offset: int
    length: int


class Entry(NamedTuple):
    """A tensor: its numbers are in a stretch, from element ``first`` on."""

    dtype: str
    shape: tuple[int, ...]
    stretch: Stretch
    first: int = 0
    strides: tuple[int, ...] | None = None  # in elements; None: contiguous


class ModuleFacts(NamedTuple):
    """Facts about a submodule of a pickled module, as the file has them."""

    kind: str  # its class
    groups: Any
    epsilon: Any
    has_statistics: bool
    settings: Mapping[str, Any]  # such as the stride along each axis, and "own": code that its class does not have


@dataclass(frozen=True)
class Candidate:
    """A mapping of tensors that may be the network."""

    name: str  # its place in the file: keys joined by dots, "" for the whole file
    tensors: Mapping[str, Entry | str]  # a text is the reason why the tensor can't be read
    made_by: str = ""  # the class of the module, if the file holds a whole one
    modules: Mapping[str, ModuleFacts] = field(default_factory=dict)

    @cached_property
    def dims(self) -> frozenset[int]:
        """The numbers of dimensions of the tensors."""
        return frozenset(len(entry.shape) for entry in self.tensors.values() if isinstance(entry, Entry))

    def large_tensors(self) -> frozenset[str]:
        """Return the names of the tensors of more than ``LARGE`` bytes."""
        entries = {name: entry for name, entry in self.tensors.items() if isinstance(entry, Entry)}
        return frozenset(name for name, entry in entries.items() if entry.stretch.length > LARGE)


@dataclass(frozen=True)
class FileContent:
    """The content of a file; ``arrays`` reads tensors as long as the files are open."""

    format: str
    candidates: tuple[Candidate, ...]
    files: Mapping[str, BinaryIO]  # by the name that stretches use
    others: tuple[str, ...] = ()  # names of what else the file holds
    about: Mapping[str, Any] = field(default_factory=dict)  # metadata, graph or configuration, not validated

    def close(self) -> None:
        """Close the files."""
        for file in self.files.values():
            file.close()

    def arrays(
        self, candidate: Candidate, only: Sequence[str] | None = None, hollow: Collection[str] = ()
    ) -> dict[str, Array]:
        """Read a candidate's tensors.

        Args:
            only: the names of the tensors to read; by default all.
            hollow: names of tensors that are not read: arrays of their shape take no memory and contain ones.

        Raises:
            CheckpointError: a tensor can't be read, or the tensors repeat the same few numbers.
        """
        names = list(candidate.tensors) if only is None else only
        entries: dict[str, Entry] = {}
        for name in names:
            entry = candidate.tensors[name]
            if isinstance(entry, str):
                raise CheckpointError(f"tensor {name!r} {entry}")
            entries[name] = entry
        _check_shared(entries)
        memory: dict[Stretch, Array] = {}
        return {
            name: _hollow(entry) if name in hollow else self._array(entry, memory) for name, entry in entries.items()
        }

    def _array(self, entry: Entry, memory: dict[Stretch, Array]) -> Array:
        if entry.stretch not in memory:
            memory[entry.stretch] = self._bytes(entry.stretch)
        numbers = as_numbers(memory[entry.stretch], entry.dtype)
        if entry.strides is None:
            return numbers[entry.first : entry.first + math.prod(entry.shape)].reshape(entry.shape)
        size = numbers.itemsize
        strides = tuple(stride * size for stride in entry.strides)
        return np.lib.stride_tricks.as_strided(numbers[entry.first :], entry.shape, strides)

    def _bytes(self, stretch: Stretch) -> Array:
        file, content = self.files[stretch.where], np.empty(stretch.length, np.uint8)
        file.seek(stretch.offset)
        view, done = memoryview(content.data), 0
        while done < stretch.length:
            read = file.readinto(view[done:])  # type: ignore[attr-defined]
            if not read:
                raise CheckpointError("the file became shorter while it was read: read it again")
            done += read
        return content


def _hollow(entry: Entry) -> Array:
    dtype = as_numbers(np.empty(0, np.uint8), entry.dtype).dtype
    return np.broadcast_to(np.ones((), dtype), entry.shape)


def parse_candidates(index: Mapping[str, Any], sizes: Mapping[str, int]) -> tuple[Candidate, ...]:
    """Return the candidates of an index.

    Args:
        sizes: size in bytes of each file that stretches may refer to.

    Raises:
        CheckpointError: the index is malformed or inconsistent.
    """
    try:
        stretches = [Stretch(str(where), _count(a), _count(n)) for where, a, n in index["stretches"]]
        for stretch in stretches:
            if stretch.where not in sizes or stretch.offset + stretch.length > sizes[stretch.where]:
                raise DamagedFileError("the file is cut short or damaged: a tensor extends beyond its end")
        check_overlaps(stretches)
        found = tuple(_candidate(part, stretches) for part in index["candidates"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise DamagedFileError("the file is damaged: its index can't be read") from error
    check_number(sum(len(candidate.tensors) for candidate in found) if len(found) == 1 else 0)
    return found


def parse_names(values: Any) -> tuple[str, ...]:
    """Return the names in a list, limited in number and length."""
    return tuple(str(value)[:MAX_NAME] for value in values[:MAX_LISTED]) if isinstance(values, list) else ()


def check_number(number: int) -> None:
    """Raise CheckpointError if a file holds more tensors than are read."""
    if number > MAX_TENSORS:
        raise CheckpointError(f"the file holds more than {MAX_TENSORS:,} tensors, which no network needs")


def check_overlaps(stretches: Sequence[Stretch]) -> None:
    """Raise CheckpointError if two different stretches share bytes."""
    filled = sorted({stretch for stretch in stretches if stretch.length})
    for one, other in pairwise(filled):
        if one.where == other.where and one.offset + one.length > other.offset:
            raise DamagedFileError("the file is damaged: two of its tensors overlap")


def parse_entry(name: str, dtype: Any, shape: Any, stretch: Stretch, first: Any = 0, strides: Any = None) -> Entry:
    """Return a validated tensor.

    Raises:
        CheckpointError: the name is too long, the type unknown, or the stretch too short; the message names the tensor.
    """
    if len(name) > MAX_NAME:
        raise CheckpointError(f"a tensor's name has {len(name):,} characters ({name[:40]!r}...): no network needs that")
    if sum(map(name.count, "._/")) >= MAX_NAME_PARTS:
        raise CheckpointError(
            f"a tensor's name has over {MAX_NAME_PARTS} parts ({name[:40]!r}...): no network needs that"
        )
    if dtype not in ITEM_SIZES:
        raise CheckpointError(f"tensor {name!r} is {str(dtype)[:50]}: floating point is needed")
    sides = tuple(_count(side) for side in shape)
    if len(sides) > MAX_DIMS:
        raise CheckpointError(f"tensor {name!r} has {len(sides)} dimensions: at most {MAX_DIMS} are read")
    if 0 in sides and max(sides) > MAX_EMPTY_SIDE:
        raise CheckpointError(f"tensor {name!r} claims shape {sides} and holds no numbers")
    steps = None if strides is None else tuple(_count(stride) for stride in strides)
    if steps is not None and len(steps) != len(sides):
        raise DamagedFileError(f"tensor {name!r} has shape {sides} and strides {steps}")
    number, start = math.prod(sides), _count(first)
    last = number - 1 if steps is None else sum((side - 1) * step for side, step in zip(sides, steps, strict=True))
    if number and (start + last + 1) * ITEM_SIZES[dtype] > stretch.length:
        raise DamagedFileError(f"tensor {name!r} claims shape {sides} and holds fewer numbers")
    return Entry(dtype, sides, stretch, start if number else 0, steps)


def _candidate(part: Mapping[str, Any], stretches: Sequence[Stretch]) -> Candidate:
    check_number(len(part["tensors"]))
    tensors: dict[str, Entry | str] = {}
    for name, entry in part["tensors"].items():
        if isinstance(entry, str):
            tensors[name] = entry[:MAX_NAME]
            continue
        dtype, shape, number, first, strides = entry
        tensors[name] = parse_entry(name, dtype, shape, stretches[_count(number)], first, strides)
    modules = {
        str(name): ModuleFacts(str(kind), groups, epsilon, bool(tracks), dict(settings))
        for name, (kind, groups, epsilon, tracks, settings) in part.get("modules", {}).items()
    }
    return Candidate(str(part["name"])[:MAX_NAME], tensors, str(part["made_by"])[:MAX_NAME], modules)


def _count(value: Any) -> int:
    """Return a whole number of 0 or more; raise ValueError otherwise."""
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError(f"{str(value)[:50]} is not a size or place")
    return value


def _check_shared(entries: Mapping[str, Entry]) -> None:
    """Refuse tensors that repeat the same few numbers."""
    claimed = sum(math.prod(entry.shape) * ITEM_SIZES[entry.dtype] for entry in entries.values())
    stored = sum(stretch.length for stretch in {entry.stretch for entry in entries.values()})
    if claimed > 2 * stored + MAX_SHARED:
        raise CheckpointError(
            f"the tensors claim {claimed:,} bytes and share {stored:,}: save model.state_dict() of the network itself"
        )


def size_of(file: BinaryIO) -> int:
    """Return the size of an open file in bytes."""
    return os.fstat(file.fileno()).st_size
