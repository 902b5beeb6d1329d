"""Start the reader process on a file and collect what it returns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from densenet_core.checkpoints.formats.limits import (
    MAX_INDEX,
    READER_RATE,
    READER_SECONDS,
    READER_WALL_SECONDS,
)
from densenet_core.checkpoints.formats.reader.output import HARM
from densenet_core.errors import CheckpointError, DamagedFileError

_START = "import sys; sys.path.insert(0, sys.argv[1]); from formats.reader.main import main; main(sys.argv[2])"
_CHECKPOINTS = str(Path(__file__).parent.parent)  # the folder from which `formats` is imported
UNPACKED = "<unpacked>"  # the name of the file that holds unpacked weights


@dataclass(frozen=True)
class Returned:
    """What the reader process returned: its index, and the file that begins with what it unpacked."""

    index: dict[str, Any]
    unpacked: BinaryIO
    unpacked_size: int


def run_reader(file: BinaryIO, parts: list[list[int]] | None = None) -> Returned:
    """Read a file in a sandboxed process, while other threads continue.

    Args:
        file: an open file, with a descriptor.
        parts: [offset, length] of each archive in a file of a distributed checkpoint.

    Raises:
        CheckpointError: the file is refused, or reading it takes more time or memory than any network needs.
    """
    size = os.fstat(file.fileno()).st_size
    output = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the caller)
    try:
        output.write(json.dumps({"parts": parts or []}).encode())
        output.flush()
        _run(file, output, size)
        return _read_answer(output)
    except BaseException:
        output.close()
        raise


def _run(file: BinaryIO, output: BinaryIO, size: int) -> None:
    environment = {"OPENBLAS_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::", "HDF5_USE_FILE_LOCKING": "FALSE"}
    if sys.platform == "win32":
        environment["SYSTEMROOT"] = os.environ.get("SYSTEMROOT", "")
    seconds = READER_SECONDS + size // READER_RATE
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, _CHECKPOINTS, _libraries()],
            stdin=file,
            stdout=output,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=os.path.abspath(os.sep),
        )
    except OSError as error:
        raise CheckpointError(
            f"the process that reads files can't be started ({error.strerror}): free some memory"
        ) from error
    wall = READER_WALL_SECONDS + size // READER_RATE
    try:
        code = process.wait(wall)
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(
            f"reading it is not done after {wall} s, which no network needs: the file is made to harm, or the machine "
            "is busy with other work (try again when it is not)"
        ) from error
    finally:
        process.kill()
        process.wait()
    if code:
        raise DamagedFileError(_explain_end(code, seconds))


def _explain_end(code: int, seconds: int) -> str:
    """Return why the process ended without an answer."""
    by_time = {-int(getattr(signal, name, 0)) for name in ("SIGXCPU", "SIGKILL")} - {0}
    if code in by_time:
        return f"reading it takes more than {seconds} s of computation, which no network needs: {HARM}"
    return f"the file is cut short or damaged: its reader ended with {code}"


def _libraries() -> str:
    """Return the folder in which h5py is installed, or "" if it is not."""
    found = find_spec("h5py")
    return str(Path(found.origin).parent.parent) if found is not None and found.origin else ""


def _read_answer(output: BinaryIO) -> Returned:
    end = output.seek(0, os.SEEK_END)
    output.seek(max(0, end - 8))
    length = int.from_bytes(output.read(8), "little")
    if end < 8 or length > min(MAX_INDEX, end - 8):
        raise DamagedFileError(f"its index is larger than any network's: {HARM}")
    output.seek(end - 8 - length)
    try:
        index = json.loads(output.read(length))
        if not isinstance(index, dict):
            raise ValueError("no index")
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"its index can't be read: {HARM}") from error
    if "error" in index:
        kind = DamagedFileError if index.get("is_damaged") else CheckpointError
        raise kind(str(index["error"]))
    return Returned(index, output, end - 8 - length)
