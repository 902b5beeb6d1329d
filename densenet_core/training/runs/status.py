"""The status of runs: running or not, finished epochs, time left; fast for thousands of runs."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from filelock import FileLock, Timeout

from densenet_core.errors import RunError
from densenet_core.files import read_json_object, write_whole
from densenet_core.training.runs.files import CONFIG, DIVERGED, LOCK, OWNER, SUMMARY, read_config
from densenet_core.training.runs.index import INDEX, FileIndex

State = Literal["running", "finished", "stopped", "diverged"]
MAX_COUNT = 2**53  # of epochs and seeds: larger ones come from damaged files


@contextmanager
def locked(folder: Path, patience_s: float = 0.0) -> Iterator[None]:
    """Hold a run folder for this process; the lock ends with the process, however it ends.

    Args:
        patience_s: how long to wait for another process that holds it.

    Raises:
        RunError: another process trains this run (it is named), or the folder can't be written.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=patience_s)
    except Timeout as error:
        message = f"the run {folder.name!r} is being trained by {_owner(folder)}: wait for it or stop it"
        raise RunError(message) from error
    except OSError as error:
        raise _unlockable(folder, error) from error
    try:
        _write_owner(folder)
        yield
    finally:
        lock.release()


def _write_owner(folder: Path) -> None:
    owner = {"process": os.getpid(), "host": platform.node()}
    try:
        write_whole(folder / OWNER, lambda file: file.write_text(json.dumps(owner)))
    except OSError as error:
        raise _unlockable(folder, error) from error


def _unlockable(folder: Path, error: OSError) -> RunError:
    return RunError(f"can't write {error.filename or str(folder)!r}: {error.strerror}")


def _owner(folder: Path) -> str:
    try:
        owner = read_json_object(folder / OWNER)
        return f"process {owner['process']} on {owner['host']}"
    except (OSError, ValueError, KeyError):
        return "another process"


def is_training(folder: Path) -> bool:
    """Return whether a process trains this run now."""
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # does not wait for pipes
    except OSError:
        return False
    try:
        is_locked = _is_locked(handle)
    finally:
        os.close(handle)
    if is_locked is not None:
        return is_locked
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # the folder may not be written, so nobody trains there from here
        return False
    lock.release()
    return False


def _is_locked(handle: int) -> bool | None:
    """Return what a FileLock would find on Unix, in a tenth of its time; None: ask it."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return None
    return False


@dataclass(frozen=True)
class RunSummary:
    """How far a run is.

    Raises:
        ValueError: a value is of the wrong kind or out of range.
    """

    name: str
    arch: str
    dataset: str
    seed: int
    epochs_planned: int
    epoch: int = 0  # finished ones
    test_error: float | None = None  # percent, of the weights that the run keeps
    seconds_per_epoch: float | None = None
    state: State = "stopped"

    def __post_init__(self) -> None:
        for field in ("arch", "dataset"):
            if not isinstance(getattr(self, field), str):
                raise ValueError(f"{field} is not text")
        for field in ("seed", "epochs_planned", "epoch"):
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
                raise ValueError(f"{field} is not an integer from 0 to {MAX_COUNT}")
        for field in ("test_error", "seconds_per_epoch"):
            value = getattr(self, field)
            if value is not None and not _is_amount(value):
                raise ValueError(f"{field} is not a number, 0 or more")

    @property
    def seconds_left(self) -> float | None:
        """The estimated time of the remaining epochs, from the mean time of those before."""
        if self.seconds_per_epoch is None:
            return None
        return max(self.epochs_planned - self.epoch, 0) * self.seconds_per_epoch


def _is_amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and 0 <= value <= MAX_COUNT if isinstance(value, float) else 0 <= value <= MAX_COUNT


def write_summary(folder: Path, summary: RunSummary) -> None:
    """Write summary.json; the state is left out, since a killed process could not correct it."""
    content = {key: value for key, value in asdict(summary).items() if key != "state"}
    write_whole(folder / SUMMARY, lambda file: file.write_text(json.dumps(content) + "\n"))


def read_summary(folder: Path) -> RunSummary:
    """Return the status of the run in ``folder``.

    Raises:
        RunError: it holds neither a summary nor a config.json that can be read.
    """
    summary = _stored_summary(folder)
    return replace(summary, state=_state(folder, summary))


def _stored_fields(folder: Path) -> dict[str, Any]:
    return asdict(_stored_summary(folder))


def _from_fields(name: str, fields: dict[str, Any]) -> RunSummary:
    return RunSummary(**fields | {"name": name})


def _stored_summary(folder: Path) -> RunSummary:
    """Return the status of a run as its files say, whose state may be out of date."""
    try:
        summary = _from_fields(folder.name, read_json_object(folder / SUMMARY))
    except (OSError, ValueError, TypeError):  # before the first epoch has ended, or of an older version
        config = read_config(folder)
        known = {key: config.get(key) for key in ("arch", "dataset", "seed")}
        try:
            summary = RunSummary(name=folder.name, epochs_planned=config.get("epochs", 0), **known)  # type: ignore[arg-type]
        except ValueError as error:
            raise RunError(f"{str(folder / CONFIG)!r} is damaged: {error}") from error
    return summary


class Unreadable(NamedTuple):
    """A run folder whose files are damaged."""

    name: str
    reason: str


def list_runs(runs_dir: str | os.PathLike[str] = "runs") -> tuple[list[RunSummary], list[Unreadable]]:
    """Return the status of every run under ``runs_dir``, by name, and the run folders that can't be read.

    Summaries of many runs are kept in one file (``FileIndex``), so that a list reads only the records that changed.

    Raises:
        RunError: ``runs_dir`` is a file, or a folder that can't be read.
    """
    if Path(runs_dir).exists() and not Path(runs_dir).is_dir():
        raise RunError(f"{os.fspath(runs_dir)!r} is a file: give the folder that holds the run folders")
    runs, unreadable, index = [], [], FileIndex(Path(runs_dir) / INDEX)
    for folder in _run_folders(Path(runs_dir)):
        try:
            read, build = partial(_stored_fields, folder), partial(_from_fields, folder.name)
            summary = index.find(folder.name, folder / SUMMARY, read, build)
            runs.append(replace(summary, state=_state(folder, summary)))
        except (RunError, OSError) as error:
            unreadable.append(Unreadable(folder.name, str(error)))
    index.save()
    return runs, unreadable


def _run_folders(runs_dir: Path) -> list[Path]:
    """Return the folders that hold a summary or settings, by name."""
    try:
        names = sorted(os.listdir(runs_dir))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"can't read the folder {str(runs_dir)!r}: {error.strerror}") from error
    held = (os.path.join(runs_dir, name) for name in names)
    return [Path(folder) for folder in held if any(os.path.exists(f"{folder}/{name}") for name in (SUMMARY, CONFIG))]


def _state(folder: Path, summary: RunSummary) -> State:
    if summary.epoch >= summary.epochs_planned > 0:
        return "finished"
    if is_training(folder):
        return "running"
    return "diverged" if (folder / DIVERGED).exists() else "stopped"
