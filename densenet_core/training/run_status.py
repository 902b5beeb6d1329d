"""Where runs stand: who trains one now, how far it is, and what is left; cheap for thousands of runs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from densenet_core.errors import RunError
from densenet_core.files import write_whole
from densenet_core.training.run_folder import CONFIG, DIVERGED, LOCK, OWNER, SUMMARY, read_config

State = Literal["running", "finished", "stopped", "diverged"]


@contextmanager
def locked(folder: Path, patience_s: float = 0.0) -> Iterator[None]:
    """Holds a run folder for this process; the lock ends with the process, however it ends.

    Args:
        patience_s: how long to wait for another process that holds it.

    Raises:
        RunError: another process trains this run; it is named.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=patience_s)
    except Timeout:
        raise RunError(
            f"the run {folder.name!r} is being trained by {_owner(folder)}: wait for it or stop it"
        ) from None
    try:
        owner = {"process": os.getpid(), "host": platform.node()}
        write_whole(folder / OWNER, lambda file: file.write_text(json.dumps(owner)))
        yield
    finally:
        lock.release()


def _owner(folder: Path) -> str:
    try:
        owner = json.loads((folder / OWNER).read_text())
        return f"process {owner['process']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def is_training(folder: Path) -> bool:
    """Whether a process trains this run now."""
    if not (folder / LOCK).exists():
        return False
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


@dataclass(frozen=True)
class RunSummary:
    """Where a run stands."""

    name: str
    arch: str
    dataset: str
    seed: int
    epochs_planned: int
    epoch: int = 0  # finished ones
    test_error: float | None = None  # percent, after the last finished epoch
    seconds_per_epoch: float | None = None
    state: State = "stopped"

    def __post_init__(self) -> None:
        kinds = {"arch": str, "dataset": str, "seed": int, "epochs_planned": int, "epoch": int}
        may_be_missing = {"test_error": int | float | None, "seconds_per_epoch": int | float | None}
        for field, kind in (kinds | may_be_missing).items():
            if not isinstance(getattr(self, field), kind):
                raise TypeError(f"{field} is {getattr(self, field)!r}")

    @property
    def seconds_left(self) -> float | None:
        """What the epochs to come will take, if they take as long as those before."""
        if self.seconds_per_epoch is None:
            return None
        return (self.epochs_planned - self.epoch) * self.seconds_per_epoch


def write_summary(folder: Path, summary: RunSummary) -> None:
    """Writes summary.json; the state is not in it, for a killed process could not correct it."""
    content = {key: value for key, value in asdict(summary).items() if key != "state"}
    write_whole(folder / SUMMARY, lambda file: file.write_text(json.dumps(content) + "\n"))


def read_summary(folder: Path) -> RunSummary:
    """Where the run in ``folder`` stands.

    Raises:
        RunError: it holds neither a summary nor a config.json.
    """
    try:
        summary = RunSummary(**json.loads((folder / SUMMARY).read_text()))
    except (OSError, ValueError, TypeError):  # before its first epoch has ended, or of an older version
        config = read_config(folder)
        known = {key: config.get(key) for key in ("arch", "dataset", "seed")}
        try:
            summary = RunSummary(name=folder.name, epochs_planned=config.get("epochs", 0), **known)  # type: ignore[arg-type]
        except TypeError as error:
            raise RunError(f"{str(folder / CONFIG)!r} is damaged: {error}") from None
    return replace(summary, name=folder.name, state=_state(folder, summary))


def list_runs(runs_dir: str | os.PathLike[str] = "runs") -> list[RunSummary]:
    """Where every run under ``runs_dir`` stands, by name; what is no run folder is passed over."""
    return [read_summary(config.parent) for config in sorted(Path(runs_dir).glob(f"*/{CONFIG}"))]


def _state(folder: Path, summary: RunSummary) -> State:
    if summary.epoch >= summary.epochs_planned > 0:
        return "finished"
    if is_training(folder):
        return "running"
    return "diverged" if (folder / DIVERGED).exists() else "stopped"
