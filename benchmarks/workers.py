"""Benchmarks whose networks have a process each, as people run them: what one leaves in memory helps no other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence


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
    """In such a process: answers until it is ended."""
    for _ in sys.stdin:
        print(*numbers(), flush=True)


def run(main: Callable[[], None], serve: Callable[..., None]) -> None:
    """What such a script does: ``serve`` with a worker's arguments, or ``main``."""
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:])
    else:
        main()


def in_turns(workers: dict[str, Worker], turns: int, asked: int) -> dict[str, list[float]]:
    """Their first numbers, seconds, of every question but the first of a turn: it finds others' data in the caches."""
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(turns):
        for name, worker in workers.items():
            seconds[name] += [worker.ask()[0] for _ in range(asked)][1:]
    return seconds
