"""The estimate of the time left, on a clock that moves as work of a known length does."""

from __future__ import annotations

import random

import pytest

from app.time_left import TimeLeft


def work(kept: int, seconds_per_batch: float, processes: int, seed: int) -> list[tuple[float, int]]:
    """Time and steps done at each report of 1,000 steps in batches of 8 that vary by a fifth; the first is slower."""
    generator = random.Random(seed)
    free, reports = [0.0] * processes, [(0.0, kept)]
    for done in range(kept, 1000, 8):
        first = min(range(processes), key=free.__getitem__)
        free[first] += seconds_per_batch * generator.uniform(0.8, 1.2) * (1.5 if done - kept < 8 * processes else 1.0)
        reports.append((max(reports[-1][0], free[first]), min(done + 8, 1000)))  # results are told in order
    return reports


@pytest.mark.parametrize("kept", [0, 504])
@pytest.mark.parametrize(("seconds_per_batch", "processes"), [(0.5, 1), (6.0, 1), (12.0, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_after_a_minute_it_is_right_within_a_fifth(
    kept: int, seconds_per_batch: float, processes: int, seed: int
) -> None:
    reports, now = work(kept, seconds_per_batch, processes, seed), [0.0]
    left, end = TimeLeft(clock=lambda: now[0]), reports[-1][0]
    for moment in range(0, int(end), 7):
        while reports and reports[0][0] <= moment:
            now[0], done = reports.pop(0)
            left.report(done, 1000)
        now[0] = float(moment)
        if moment >= 60 and end - moment > 2 * seconds_per_batch:  # near the end, one batch is more than a fifth
            assert left.seconds() == pytest.approx(end - moment, rel=0.2, abs=seconds_per_batch)


def test_work_that_begins_anew_is_measured_anew() -> None:
    now = [0.0]
    left = TimeLeft(clock=lambda: now[0])
    for now[0], done in ((0.0, 0), (1.0, 100), (2.0, 0), (12.0, 10)):
        left.report(done, 100)
    assert left.seconds() == pytest.approx(90.0)  # a second a step, not the first work's hundredth
    now[0] = 500.0
    assert left.seconds() == 0.0


def test_nothing_is_estimated_before_a_step_is_done() -> None:
    left = TimeLeft(clock=lambda: 0.0)
    assert left.seconds() is None
    left.report(20, 100)
    left.report(20, 100)
    assert left.seconds() is None
    assert (left.done, left.total) == (20, 100)
