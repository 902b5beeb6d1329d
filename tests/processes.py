"""Work in processes of its own that start at once: they are forked off one that has imported everything."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

IMPORTED = (
    "pytest",
    "sklearn.datasets",
    "lightning_fabric.strategies.ddp",
    "densenet_core.training.loop",
    "app.cli.main",
    "app.cli.training",
)


@dataclass(frozen=True)
class Child:
    """A process, and the file that gets its standard error."""

    process: BaseProcess
    log: Path

    def wait(self, seconds: float = 240) -> str:
        """Wait until it ends and return its standard error."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"it did not end in {seconds} s: {self.log.read_text()}"
        return self.log.read_text()


def start(work: Callable[..., object], *arguments: object, log: Path, **environment: str) -> Child:
    """Call ``work`` in a process of its own, whose exit code is the value returned.

    Args:
        environment: variables beside this process's.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload([*IMPORTED])
    process = context.Process(target=_run, args=(work, arguments, log, environment))
    process.start()
    return Child(process, log)


def command(*words: object, log: Path, **environment: str) -> Child:
    """Run ``densenet-lens`` with these words in a process of its own."""
    return start(_run_command, [str(word) for word in words], log=log, **environment)


def _run_command(words: list[str]) -> int:
    from app.cli.main import run

    return run(words)


def _run(work: Callable[..., object], arguments: tuple[object, ...], log: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        sys.exit(work(*arguments))  # type: ignore[arg-type]
    finally:
        atexit._run_exitfuncs()  # as a process ends that was started by itself
