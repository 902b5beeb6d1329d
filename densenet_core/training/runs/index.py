"""An index of many files in one: only files that changed since are read again."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from densenet_core.files import read_small, write_whole

INDEX = ".summaries.json"  # of the runs in a folder
MIN_FILES = 100  # fewer are read as quickly without an index
MAX_BYTES = 64 * 2**20
VERSION = 1
Fields = dict[str, Any]
Built = TypeVar("Built")


class FileIndex:
    """The content of files, each with the version of the file from which it was read.

    An index that is damaged or that can't be written costs time only.

    Args:
        file: The JSON file that keeps the index; None: nothing is kept.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self._known: dict[str, Any] = {}  # key: [version of the file, its content]
        self._seen: dict[str, Any] = {}  # the same, of the files that were asked for
        if file is None:
            return
        with contextlib.suppress(OSError, ValueError, RecursionError):
            content = json.loads(read_small(file, MAX_BYTES))
            if isinstance(content, dict) and content.get("version") == VERSION and isinstance(content["files"], dict):
                self._known = content["files"]

    def find(self, key: str, file: Path, read: Callable[[], Fields], build: Callable[[Fields], Built]) -> Built:
        """Return what ``build`` makes of the content of a file, which is read unless the index has this version of it.

        Args:
            key: names the file in the index.
            read: returns the content, as JSON can hold it.
            build: raises ValueError, TypeError or KeyError if the content is damaged.
        """
        version = _version(file)
        entry = self._known.get(key)
        if version and isinstance(entry, list) and len(entry) == 2 and entry[0] == version:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                found = build(entry[1])
                self._seen[key] = entry
                return found
        content = read()
        found = build(content)
        if version:
            self._seen[key] = [version, content]
        return found

    def save(self) -> None:
        """Write the index if it changed and is worth its file; what was not asked for is left out."""
        if self.file is None or self._seen == self._known or len(self._seen) < MIN_FILES:
            return
        content = json.dumps({"version": VERSION, "files": self._seen}, separators=(",", ":"))
        with contextlib.suppress(OSError):
            write_whole(self.file, lambda temporary: temporary.write_text(content))


def _version(file: Path) -> list[int] | None:
    """Return what changes whenever the file is replaced; None if there is no file."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size, found.st_ino]
