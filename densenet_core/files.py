"""Write files atomically; open files that may be damaged, or replaced while they are opened."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any

from densenet_core.errors import FileError

Folders = tuple[Path, ...]
_ALLOWED: ContextVar[Folders | None] = ContextVar("allowed_folders", default=None)
_HAS_DIR_FD = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")  # not on Windows
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # does not wait for pipes


def write_whole(path: Path, write: Callable[[Path], object], keep: Path | None = None) -> None:
    """Call ``write`` with a temporary file beside ``path``, flush it to disk and rename it to ``path``.

    If the process is killed, ``path`` is the complete old or the complete new file. Once this function has returned,
    the new file also survives a power loss.

    Args:
        keep: where to keep the file that is replaced.

    Raises:
        OSError: the file can't be written; its ``filename`` is ``path``, never the temporary file, and its
            ``strerror`` is the system's, whatever ``write`` made of it.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder in the place of a file: move it away", str(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        write(temporary)
        _flush(temporary, os.O_RDWR)
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
        with contextlib.suppress(OSError):  # Windows and some network drives can't open a folder
            _flush(path.parent, os.O_RDONLY)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary), temporary):
            error.filename, error.filename2, error.strerror = str(path), None, os.strerror(error.errno)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Remove the temporary files of killed writers; call it only from the process that may write in the folder."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


@contextmanager
def only_in(folders: Sequence[Path] | None) -> Iterator[None]:
    """Restrict ``open_file`` and ``scan_folder`` to these folders within the block; None: change nothing.

    A link that leads out is refused, also one that is put in place between the check and the opening. The folders
    themselves may be links.
    """
    token = _ALLOWED.set(_ALLOWED.get() if folders is None else tuple(folders))
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def allowed_folders() -> Folders | None:
    """Return the folders of the innermost ``only_in``; None outside of one."""
    return _ALLOWED.get()


def open_file(path: str | os.PathLike[str]) -> FileIO:
    """Open a regular file for reading, unbuffered, without waiting for pipes; what was opened is checked, not its name.

    Raises:
        OSError: the file can't be opened, or lies outside the folders of ``only_in``.
        FileError: it is not a regular file, or the path contains a NUL.
    """
    if "\0" in os.fspath(path):
        raise FileError("its name has a NUL character")
    handle = _open(path, _READ)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise FileError("it is not a regular file")
    return FileIO(handle)


@contextmanager
def scan_folder(path: str | os.PathLike[str]) -> Iterator[Iterator[os.DirEntry[str]]]:
    """Open a folder as ``os.scandir`` does; within ``only_in``, the entries' paths are their names.

    Raises:
        OSError: as ``open_file``.
    """
    if _ALLOWED.get() is None or os.scandir not in os.supports_fd:
        with os.scandir(path) as entries:
            yield entries
        return
    handle = _open(path, _READ | os.O_DIRECTORY)
    try:
        with os.scandir(handle) as entries:
            yield entries
    finally:
        os.close(handle)


def _open(path: str | os.PathLike[str], flags: int) -> int:
    allowed = _ALLOWED.get()
    if allowed is None:
        return os.open(path, flags)
    place = Path(os.path.realpath(path))
    roots = [root for folder in allowed if place.is_relative_to(root := Path(os.path.realpath(folder)))]
    if not roots:
        raise _leads_out(path)
    try:
        return _open_without_links(roots[0], place.relative_to(roots[0]).parts, flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):  # a link was put in place of a part of the path
            raise _leads_out(path) from error
        raise


def _open_without_links(root: Path, parts: Sequence[str], flags: int) -> int:
    """Open ``root/parts`` from folder to folder, each by the descriptor of the one before; a link is refused."""
    if not _HAS_DIR_FD:
        return os.open(root.joinpath(*parts), flags)
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for number, part in enumerate(parts, 1):
        step = flags if number == len(parts) else os.O_RDONLY | os.O_DIRECTORY
        try:
            inner = os.open(part, step | os.O_NOFOLLOW, dir_fd=handle)
        finally:
            os.close(handle)
        handle = inner
    return handle


def _leads_out(path: str | os.PathLike[str]) -> OSError:
    return PermissionError(errno.EACCES, "it leads out of the folders that may be read", os.fspath(path))


def read_small(path: Path, max_bytes: int = 2**20) -> bytes:
    """Return the content of a regular file, without waiting for pipes or reading devices.

    Raises:
        OSError: the file can't be read.
        FileError: it is not a regular file, or longer than ``max_bytes``.
    """
    with BufferedReader(open_file(path)) as stream:
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise FileError(f"it is longer than {max_bytes:,} bytes")
    return content


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a small JSON file.

    Raises:
        OSError: the file can't be read.
        FileError: it is not JSON, or not an object.
    """
    try:
        content = json.loads(read_small(path))
    except RecursionError as error:
        raise FileError("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise FileError(f"it is not JSON (line {error.lineno}, column {error.colno})") from error
    except UnicodeDecodeError as error:
        raise FileError("it is not text") from error
    if not isinstance(content, dict):
        raise FileError(f"it holds a {type(content).__name__}, not settings by name")
    return content


def _flush(path: Path, flags: int) -> None:
    handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
