"""Trainings started from the dashboard: each runs in its own process and continues when the browser is closed."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.dashboard.server.options import server_options
from densenet_core import RunError
from densenet_core.files import open_file, read_json_object
from densenet_core.training.config import TrainingConfig, config_from, is_complete, training_settings
from densenet_core.training.runs.files import OWNER, read_config
from densenet_core.training.runs.status import is_training

LOG = "log.txt"
MAX_WORDS = 2**16  # bytes of the log's end that are read
# A dashboard in the background of a shell has SIGINT ignored, and its children with it: they could not be stopped.
TRAIN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from app.cli.main import main
main()
"""


def start_training(config: TrainingConfig) -> subprocess.Popen[bytes]:
    """Start ``densenet-lens train`` for a new run, or resume one that is stopped, and return its process.

    Raises:
        RunError: the server is read-only, the run is being trained already, or its folder can't be written.
    """
    _check_may_train()
    folder = config.folder
    if is_training(folder):
        raise RunError(f"the run {config.name!r} is being trained already")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / LOG).exists() and not (folder / LOG).is_file():  # opening a pipe would wait for a reader
            raise RunError(f"{str(folder / LOG)!r} is not a file: move it away to train the run")
        log = (folder / LOG).open("a")
    except OSError as error:
        raise RunError(f"can't write the run folder {str(folder)!r}: {error.strerror}") from error
    with log:
        options = [word for each in training_settings() for word in each.arguments(getattr(config, each.name))]
        command = [sys.executable, "-c", TRAIN, "train", *options]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # not ended with the dashboard
            env=environment,
        )


def first_word(folder: Path, process: subprocess.Popen[bytes], seconds: float = 30.0) -> None:
    """Wait until a training that was started trains, or has ended.

    A process says only by itself that it can't train: the settings do not fit those of a run of the same name, the data
    are not there, the memory does not suffice.

    Raises:
        RunError: it ended with an error, in its own words.
    """
    deadline = time.monotonic() + seconds
    while process.poll() is None and not is_training(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    if why := why_ended(folder, process):
        raise RunError(why)


def why_ended(folder: Path, process: subprocess.Popen[bytes]) -> str:
    """Return why a training that was started ended with an error, in its own words; "" while it runs or if all is well.

    It may have claimed its folder by then: a run of the same name with other settings is refused after that.
    """
    if not process.poll():
        return ""
    said = last_words(folder, 1).removeprefix("densenet-lens: ")
    return f"the run {folder.name!r} did not start: {said or f'exit code {process.returncode}'}"


def rename_run(folder: Path, name: str) -> Path:
    """Give a run another name, and return its folder.

    Raises:
        RunError: it is being trained, the name is taken or no name of a folder, or the folder can't be moved.
    """
    _check_may_change(folder)
    config_from(_settings(folder) | {"name": name, "runs_dir": str(folder.parent)})  # checks the name
    new = folder.with_name(name)
    if new.exists():
        raise RunError(f"there is a run {name!r} already: choose another name")
    try:
        return folder.rename(new)
    except OSError as error:
        raise RunError(f"can't rename the run folder {str(folder)!r}: {error.strerror}") from error


def delete_run(folder: Path) -> None:
    """Delete a run with all its files.

    Raises:
        RunError: it is being trained, or the folder can't be deleted.
    """
    _check_may_change(folder)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise RunError(f"can't delete the run folder {str(folder)!r}: {error.strerror}") from error


def _check_may_change(folder: Path) -> None:
    _check_may_train()
    if is_training(folder):
        raise RunError(f"the run {folder.name!r} is being trained: stop it first")
    if folder.is_symlink():
        raise RunError(f"the run folder {str(folder)!r} is a link: change what it leads to")


def resume_training(folder: Path) -> subprocess.Popen[bytes]:
    """Resume a stopped run by its own config.json, and return its process.

    Raises:
        RunError: it is being trained already, or its config.json can't be read.
    """
    _check_may_train()  # before the settings, which are written again where they are damaged
    content = _settings(folder) | {"name": folder.name, "runs_dir": str(folder.parent)}
    try:
        config = config_from(content)
    except RunError as error:
        raise RunError(f"{str(folder)!r} can't be resumed: {error}") from error
    return start_training(config)


def _settings(folder: Path) -> dict[str, Any]:
    with suppress(RunError):
        if is_complete(found := read_config(folder)):
            return found
    from densenet_core.training.runs.claim import recover_config

    return recover_config(folder)


def stop_training(folder: Path) -> None:
    """End the process that trains a run; its last finished epoch stays.

    Raises:
        RunError: no process trains it, or one on another machine.
    """
    _check_may_train()
    if not is_training(folder):
        raise RunError(f"no process trains the run {folder.name!r}")
    process, host = _owner(folder)
    if host != platform.node():
        raise RunError(f"the run {folder.name!r} is being trained on {host}: stop it there")
    try:
        os.kill(process, signal.SIGINT)
    except (OSError, OverflowError) as error:  # it has just ended, is another user's, or there is no such number
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"the run {folder.name!r} can't be stopped: process {process}: {reason}") from error


def _check_may_train() -> None:
    if server_options().read_only:
        raise RunError("this server is read-only: it starts and stops no trainings")


def _owner(folder: Path) -> tuple[int, str]:
    """Return the process that trains a run, and its machine."""
    try:
        owner = read_json_object(folder / OWNER)
        process, host = int(owner["process"]), str(owner["host"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise RunError(f"the run {folder.name!r} does not say which process trains it") from error
    if process < 2:  # 0 and below are groups of processes
        raise RunError(f"the run {folder.name!r} names {process} as its process, which is no process of its own")
    return process, host


def last_words(folder: Path, lines: int = 3) -> str:
    """Return the last lines of a training's output, for a run that ended before its first epoch."""
    try:
        with open_file(folder / LOG) as log:
            log.seek(-min(MAX_WORDS, os.fstat(log.fileno()).st_size), os.SEEK_END)
            said = log.read().decode(errors="replace").strip().splitlines()
    except (OSError, ValueError):
        return ""
    return "\n".join(said[-lines:])
