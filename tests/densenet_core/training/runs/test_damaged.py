from __future__ import annotations

import pytest

from tests.fuzz import mutate_runs


@pytest.mark.slow
def test_damaged_runs_are_resumed_or_refused_and_hide_no_other() -> None:
    """`make fuzz` damages 10,000."""
    counts = mutate_runs.run(40, seed=1)
    assert counts.total() == 40 and counts["done"] > 20
