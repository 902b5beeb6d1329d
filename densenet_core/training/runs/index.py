"""Summaries of many runs from one file: a list reads again only the records that changed since the last list."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from densenet_core.files import read_small, write_whole
from densenet_core.training.runs.files import SUMMARY

INDEX = ".summaries.json"  # in the folder of the run folders
MIN_RUNS = 100  # fewer are read as quickly without an index
MAX_BYTES = 64 * 2**20
VERSION = 1
Summary = TypeVar("Summary")


@dataclass
class RunIndex:
    """The summaries of the runs in one folder, each with the version of the file from which it was read.

    An index that is damaged or that can't be written costs time only.
    """

    folder: Path
    _known: dict[str, Any] = field(default_factory=dict)  # name: [version of summary.json, its content]
    _seen: dict[str, Any] = field(default_factory=dict)  # the same, of the runs of this list

    def __post_init__(self) -> None:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            content = json.loads(read_small(self.folder / INDEX, MAX_BYTES))
            if isinstance(content, dict) and content.get("version") == VERSION and isinstance(content["runs"], dict):
                self._known = content["runs"]

    def summary(self, name: str, read: Callable[[], Summary], build: Callable[[dict[str, Any]], Summary]) -> Summary:
        """Return the summary of a run, from the index if summary.json is the file that was read for it.

        Args:
            read: reads the summary from its files.
            build: makes the summary from its fields; a ValueError or TypeError means that they are damaged.
        """
        version = _version(self.folder / name / SUMMARY)
        if version is None:  # before the first epoch has ended
            return read()
        entry = self._known.get(name)
        if isinstance(entry, list) and len(entry) == 2 and entry[0] == version and isinstance(entry[1], dict):
            with contextlib.suppress(ValueError, TypeError):
                found = build(entry[1])
                self._seen[name] = entry
                return found
        found = read()
        self._seen[name] = [version, {key: value for key, value in vars(found).items() if key not in ("name", "state")}]
        return found

    def save(self) -> None:
        """Write the index if it changed and is worth its file."""
        if self._seen == self._known or len(self._seen) < MIN_RUNS:
            return
        content = json.dumps({"version": VERSION, "runs": self._seen}, separators=(",", ":"))
        with contextlib.suppress(OSError):
            write_whole(self.folder / INDEX, lambda file: file.write_text(content))


def _version(file: Path) -> list[int] | None:
    """Return what changes whenever the file is replaced; None if there is no file."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size, found.st_ino]
