"""What a job is asked to do, and what it says while it does it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from app.dashboard.keys import NetworkKey

State = Literal["waiting", "running", "finished", "failed", "cancelled"]


class Task(NamedTuple):
    """A piece of long work. Equal tasks have equal results, so that a task is computed once for all sessions."""

    kind: str  # a name in ``work.WORK``, and a key of the language file's table "jobs.kinds"
    network: NetworkKey | None  # None: ``options`` say everything
    options: tuple[Any, ...]  # hashable; further arguments of the function

    @property
    def is_private(self) -> bool:
        """Whether the result belongs to one session."""
        return self.network is not None and self.network.is_private


@dataclass
class Job:
    """A task in the queue, with its progress and its result."""

    task: Task
    title: str  # what people call the network
    owner: str  # the session that asked for it first
    state: State = "waiting"
    done: int = 0
    total: int = 0  # 0 while it is not known
    result: Any = None
    result_bytes: int = 0
    error: str = ""
    started: float = 0.0  # time.monotonic()
    ended: float = 0.0
    first: tuple[int, float] | None = None  # steps done at the first report, and its time

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("finished", "failed", "cancelled")

    @property
    def seconds(self) -> float:
        """Seconds it has run so far, or did run."""
        return (self.ended if self.is_over else time.monotonic()) - self.started if self.started else 0.0

    @property
    def share(self) -> float:
        """The share that is done, 0 to 1."""
        return min(self.done / self.total, 1.0) if self.total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds left at the speed so far; None before the first step.

        Steps that an earlier job had done and kept come with the first report: they say nothing about the speed.
        """
        if self.first is None or not self.done:
            return None
        begun, at = self.first
        if self.done == begun:
            return self.seconds * (self.total - self.done) / self.done
        return (time.monotonic() - at) * (self.total - self.done) / (self.done - begun)

    def report(self, done: int, total: int) -> None:
        """Note how far it is."""
        self.done, self.total = done, total
        self.first = self.first or (done, time.monotonic())
