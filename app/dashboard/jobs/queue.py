"""The server's queue of jobs: one for all sessions, with a limit on how many run at a time and how many may wait.

A job continues when its page or the browser is closed, and is found again by its task. Results are kept, the last
``MAX_KEPT`` of them while they take less than ``MAX_KEPT_BYTES``; those of an upload are forgotten with the session
that uploaded it.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from app.dashboard.jobs.task import Job, Task
from app.dashboard.jobs.worker import Message
from app.dashboard.server.options import server_options

MAX_KEPT = 64  # results
MAX_KEPT_BYTES = 256_000_000  # of all results, as their workers sent them; the newest is kept whatever its size
MAX_WAITING = 40  # jobs of all sessions
MAX_ASKED = 4  # jobs of one session that wait or run
WORKER = (sys.executable, "-P", "-m", "app.dashboard.jobs.worker")


class QueueError(ValueError):
    """A job that is not taken, because too many wait."""


class Worker(Protocol):
    """A running job, as the queue uses it."""

    def end(self) -> None:
        """Stop it."""


Launch = Callable[[Task, Any, Callable[[Message | None], None]], Worker]


class Process:
    """A job in a process of its own; ``hear`` gets its messages, and None when it has ended."""

    def __init__(self, task: Task, network: Any, hear: Callable[[Message | None], None]) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        command = [*WORKER, *server_options().arguments()]
        self._process = subprocess.Popen(command, env=environment, **pipes)
        threading.Thread(target=self._talk, args=((task.kind, network, task.options), hear), daemon=True).start()

    def _talk(self, order: tuple[Any, ...], hear: Callable[[Message | None], None]) -> None:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            pickle.dump(order, stdin)
            stdin.flush()
            while True:
                hear(pickle.load(stdout))
        except (EOFError, OSError, pickle.UnpicklingError):
            pass  # it ended, by itself or by ``end``
        stdin.close()
        self._process.wait()
        hear(None)

    def end(self) -> None:
        """Stop the process."""
        self._process.terminate()


class Queue:
    """Jobs by their tasks, in the order in which they were asked for."""

    def __init__(self, limit: int, launch: Launch = Process) -> None:
        self.limit, self._launch = limit, launch
        self._lock = threading.RLock()
        self._jobs: dict[Task, Job] = {}
        self._workers: dict[Task, Worker] = {}
        self._networks: dict[Task, Any] = {}  # of the jobs that wait
        self._taken: dict[tuple[object, ...], tuple[float, float]] = {}  # seconds, and the size of the work

    def submit(
        self, task: Task, network: Any, title: str, owner: str, size: float = 0.0, expected: float | None = None
    ) -> Job:
        """Put a task into the queue, or find it there.

        Args:
            size: of the work, for ``expected_seconds``.
            expected: seconds that it will take, where that is known.

        Raises:
            QueueError: the session, or the server, has too many jobs that are not done.
        """
        with self._lock:
            found = self._jobs.get(task)
            if found is not None and found.state not in ("failed", "cancelled"):
                return found
            self._check_limits(owner)
            self._jobs.pop(task, None)  # to the end of the line
            job = self._jobs[task] = Job(task, title, owner, size=size, expected=expected)
            self._networks[task] = network
            self._start_next()
            return job

    def find(self, task: Task) -> Job | None:
        """Return the job of a task; None where it was not asked for, or its result was dropped."""
        return self._jobs.get(task)

    def jobs(self) -> list[Job]:
        """Return all jobs, the oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def before(self, job: Job) -> int:
        """Return how many jobs wait in front of one."""
        waiting = [other for other in self.jobs() if other.state == "waiting"]
        return waiting.index(job) if job in waiting else 0

    def expected_seconds(self, task: Task, size: float = 0.0) -> float | None:
        """Return how long a task takes by what the same kind of work took before, in proportion to its size.

        Args:
            size: of the work. 0: it is not known, and only work on the same network counts.
        """
        seconds, size_before = self._taken.get((task.kind, task.network)) or self._taken.get((task.kind,), (0.0, 0.0))
        if size and size_before:
            return seconds * size / size_before
        return self._taken.get((task.kind, task.network), (None,))[0]

    def cancel(self, task: Task) -> None:
        """End a job that waits or runs. What it has kept on disk is used when it is asked for again."""
        with self._lock:
            job = self._jobs.get(task)
            if job is None or job.is_over:
                return
            self._end(job, "cancelled")
            worker = self._workers.pop(task, None)
            if worker is not None:
                worker.end()
            self._start_next()

    def forget(self, task: Task) -> None:
        """End a job and drop its result."""
        self.cancel(task)
        with self._lock:
            self._jobs.pop(task, None)

    def _check_limits(self, owner: str) -> None:
        open_jobs = [job for job in self._jobs.values() if not job.is_over]
        if sum(job.owner == owner for job in open_jobs) >= MAX_ASKED:
            raise QueueError(f"this session has {MAX_ASKED} jobs that are not done: wait for one, or cancel it")
        if len(open_jobs) >= MAX_WAITING:
            raise QueueError(f"{len(open_jobs)} jobs are waiting on this server: try again later")

    def _start_next(self) -> None:
        running = sum(job.state == "running" for job in self._jobs.values())
        for job in [job for job in self._jobs.values() if job.state == "waiting"][: max(self.limit - running, 0)]:
            job.state, job.started = "running", time.monotonic()
            network = self._networks.pop(job.task)
            worker = self._launch(job.task, network, lambda message, job=job: self._hear(job, message))  # type: ignore[misc]
            if not job.is_over:
                self._workers[job.task] = worker

    def _hear(self, job: Job, message: Message | None) -> None:
        said: Message = message or ("crash", "")
        kind, content = said
        result = pickle.loads(content) if kind in ("result", "so_far") else None  # the worker is our own
        with self._lock:
            if job.is_over:
                return
            if kind == "progress":
                job.report(*content)
                return
            if kind == "so_far":
                job.so_far = result
                return
            if kind == "result":
                self._finish(job, result, len(content))
            else:
                if kind == "error":
                    job.error = content
                elif content:
                    print(content, file=sys.stderr)
                self._end(job, "failed")
            self._workers.pop(job.task, None)
            self._start_next()

    def _finish(self, job: Job, result: Any, num_bytes: int) -> None:
        """Keep a result, and the time it took."""
        job.result, job.result_bytes = result, num_bytes
        self._end(job, "finished")
        if (seconds := job.seconds_in_all) is not None:
            for known in ((job.task.kind, job.task.network), (job.task.kind,)):
                self._taken[known] = (seconds, job.size)
        self._drop_oldest()

    def _end(self, job: Job, state: str) -> None:
        job.state, job.ended, job.so_far = state, time.monotonic(), None  # type: ignore[assignment]
        self._networks.pop(job.task, None)

    def _drop_oldest(self) -> None:
        over = [(task, job.result_bytes) for task, job in self._jobs.items() if job.is_over]
        while len(over) > MAX_KEPT or (len(over) > 1 and sum(size for _, size in over) > MAX_KEPT_BYTES):
            del self._jobs[over.pop(0)[0]]
