"""Write files atomically, and read small files that may be damaged."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], object], keep: Path | None = None) -> None:
    """Call ``write`` with a temporary file beside ``path``, flush it to disk and rename it to ``path``.

    If the process is killed, ``path`` is the complete old or the complete new file. Once this function has returned,
    the new file also survives a power loss.

    Args:
        keep: where to keep the file that is replaced.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        write(temporary)
        _flush(temporary, os.O_RDWR)
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
        with contextlib.suppress(OSError):  # Windows and some network drives can't open a folder
            _flush(path.parent, os.O_RDONLY)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Remove the temporary files of killed writers; call it only from the process that may write in the folder."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def read_small(path: Path, max_bytes: int = 2**20) -> bytes:
    """Return the content of a regular file, without waiting for pipes or reading devices.

    Raises:
        OSError: the file can't be read.
        ValueError: it is not a regular file, or longer than ``max_bytes``.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is not a regular file")
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it is longer than {max_bytes:,} bytes")
    return content


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a small JSON file.

    Raises:
        OSError: the file can't be read.
        ValueError: it is not JSON, or not an object.
    """
    try:
        content = json.loads(read_small(path))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not settings by name")
    return content


def _flush(path: Path, flags: int) -> None:
    handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
