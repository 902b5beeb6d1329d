"""Benchmarks whose networks have a process each, as people run them: what one leaves in memory helps no other."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path


class Worker:
    """A benchmark's script in a process of its own, which answers every question with numbers."""

    def __init__(self, script: str, *arguments: object) -> None:
        command = [sys.executable, script, "--serve", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self) -> list[float]:
        assert self.process.stdin and self.process.stdout
        print(file=self.process.stdin, flush=True)
        return [float(number) for number in self.process.stdout.readline().split()]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def answer(numbers: Callable[[], Sequence[float]]) -> None:
    """Answer in such a process until it is ended."""
    for _ in sys.stdin:
        print(*numbers(), flush=True)


def run(main: Callable[[], None], serve: Callable[..., None]) -> None:
    """Run such a script: ``serve`` with a worker's arguments, or ``main``."""
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:])
    else:
        main()


def in_turns(workers: dict[str, Worker], turns: int, asked: int, not_counted: int = 1) -> dict[str, list[list[float]]]:
    """Return the answers of every turn but the first ones, which find others' data in the caches."""
    answers: dict[str, list[list[float]]] = {name: [] for name in workers}
    for _ in range(turns):
        for name, worker in workers.items():
            answers[name] += [worker.ask() for _ in range(asked)][not_counted:]
    return answers


def watch(*arguments: str) -> tuple[float, float]:
    """Run a fresh interpreter with these arguments; return its seconds and the most memory it held, in MB (Linux)."""
    start, peak = time.perf_counter(), 0.0
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        with contextlib.suppress(OSError):  # it has just ended
            found = re.search(r"VmHWM:\s*(\d+)", status.read_text())
            peak = max(peak, int(found[1]) / 1024 if found else 0.0)
        time.sleep(0.01)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}")
    return time.perf_counter() - start, peak
