"""Estimate the time that is left of long work from the steps done so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import linear_regression

MAX_POINTS = 500


@dataclass
class TimeLeft:
    """The time left at the speed since the first report, the slope of a straight line through all reports.

    Steps that an earlier call had done and kept come with the first report: they do not count as speed. Work that
    begins anew, with fewer steps done than before, is measured anew.

    >>> now = [0.0]
    >>> left = TimeLeft(clock=lambda: now[0])
    >>> left.report(500, 1000)
    >>> left.seconds() is None
    True
    >>> now[0] = 30.0
    >>> left.report(600, 1000)
    >>> now[0] = 40.0
    >>> round(left.seconds())
    110
    """

    clock: Callable[[], float] = field(default=lambda: time.monotonic())
    done: int = 0
    total: int = 0
    _points: list[tuple[float, int]] = field(default_factory=list)  # times, and steps done by then

    def report(self, done: int, total: int) -> None:
        """Note how far the work is."""
        if done < self.done:
            self._points = []
        if not self._points or done > self.done:
            self._points.append((self.clock(), done))
        if len(self._points) > MAX_POINTS:
            del self._points[1:-1:2]
        self.done, self.total = done, total

    def seconds(self) -> float | None:
        """Return the seconds left, or None before a step was done since the first report."""
        per_step = self.seconds_per_step()
        if per_step is None:
            return None
        at, done = self._points[-1]
        return max((self.total - done) * per_step - (self.clock() - at), 0.0)

    def seconds_per_step(self) -> float | None:
        """Return the seconds that a step takes, or None before a step was done since the first report."""
        if len(self._points) < 2 or self._points[0][0] == self._points[-1][0]:
            return None
        return 1 / linear_regression(*zip(*self._points, strict=True)).slope
