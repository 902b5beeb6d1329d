"""Jobs: the task, and its progress and result."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from app.dashboard.keys import NetworkKey
from app.time_left import TimeLeft

State = Literal["waiting", "running", "finished", "failed", "cancelled"]


class Task(NamedTuple):
    """A piece of long work. Equal tasks have equal results, so that a task is computed once for all sessions."""

    kind: str  # a name in ``work.WORK``, and a key of the language file's table "jobs.kinds"
    network: NetworkKey | None  # None: ``options`` say everything
    options: tuple[Any, ...]  # hashable; further arguments of the function

    @property
    def is_private(self) -> bool:
        """Whether the result belongs to one session."""
        return any(key.is_private for key in self.networks)

    @property
    def networks(self) -> tuple[NetworkKey, ...]:
        """The networks that its function gets: its own, and those among the options."""
        return tuple(each for each in (self.network, *self.options) if isinstance(each, NetworkKey))


@dataclass
class Job:
    """A task in the queue, with its progress and its result."""

    task: Task
    title: str  # what people call the network
    owner: str  # the session that asked for it first
    state: State = "waiting"
    result: Any = None
    result_bytes: int = 0
    so_far: Any = None  # the result of what is done, for work that has one
    error: str = ""
    started: float = 0.0  # time.monotonic()
    ended: float = 0.0
    left: TimeLeft = field(default_factory=TimeLeft)
    expected: float | None = None  # seconds, as estimated before it began
    size: float = 0.0  # of the work, in any unit that is the same for all tasks of its kind; 0: not known

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("finished", "failed", "cancelled")

    @property
    def seconds(self) -> float:
        """Seconds it has run so far, or did run."""
        return (self.ended if self.is_over else time.monotonic()) - self.started if self.started else 0.0

    @property
    def done(self) -> int:
        """The steps that are done."""
        return self.left.done

    @property
    def total(self) -> int:
        """The number of steps; 0 while it is not known."""
        return self.left.total

    @property
    def share(self) -> float:
        """The share that is done, 0 to 1."""
        return min(self.done / self.total, 1.0) if self.total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds left at the speed so far; None before a step was done since the first report."""
        return self.left.seconds()

    @property
    def seconds_in_all(self) -> float | None:
        """Seconds of all its steps; None where an earlier call had done them."""
        if not self.total:
            return self.seconds
        per_step = self.left.seconds_per_step()
        return None if per_step is None else per_step * self.total

    def report(self, done: int, total: int) -> None:
        """Note how far it is."""
        self.left.report(done, total)
