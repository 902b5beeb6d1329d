"""A progress bar on standard error, in a module of its own: commands without one start before rich is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from app.time_left import TimeLeft


class _LeftColumn(ProgressColumn):
    """The time left, without the steps that an earlier call had done."""

    def __init__(self, left: TimeLeft) -> None:
        super().__init__()
        self._left = left

    def render(self, task: Task) -> Text:
        seconds = self._left.seconds()
        return Text("-:--:--" if seconds is None else str(timedelta(seconds=round(seconds))))


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while the context is open; yield a function of (done, total) that moves it."""
    left, console = TimeLeft(), Console(stderr=True)
    times = (TimeElapsedColumn(), TextColumn("left:"), _LeftColumn(left))
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), *times)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(escape(what), total=None)

        def report(done: int, total: int) -> None:
            left.report(done, total)
            bar.update(task, completed=done, total=total)

        yield report
