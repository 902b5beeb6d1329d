"""Records of benchmarks: what they say of the machine, and which of two is kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # the scripts import each other by their names

from support import recorded
from support.busy import Busy


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The share of the processor that others use, which a test may change."""
    others = [0.0]
    load = lambda before, after: {"before": 0.1, "after": 1.0, "others": others[0]}  # noqa: E731
    monkeypatch.setattr(recorded, "load_since", load)
    return others


def test_a_loud_record_does_not_replace_a_quiet_one(
    tmp_path: Path, machine: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    def written(others: float, ms: float) -> float:
        machine[0] = others
        recorded.write("cost", "a test", [{"case": "a", "ms": ms}], tmp_path)
        return float(json.loads((tmp_path / "cost.json").read_text())["rows"][0]["ms"])

    (tmp_path / "cost.json").write_text('{"date": "2026-01-01", "rows": []}')  # from before loads were recorded
    assert written(0.6, 1.0) == 1.0
    assert written(0.5, 2.0) == 2.0  # loud after loud
    assert written(0.05, 3.0) == 3.0
    capsys.readouterr()
    assert written(0.6, 4.0) == 3.0
    assert "on a quiet machine is kept: here others used 0.6 of the processor" in capsys.readouterr().out
    assert written(0.1, 5.0) == 5.0
    content = json.loads((tmp_path / "cost.json").read_text())
    assert content["load"] == {"before": 0.1, "after": 1.0, "others": 0.1}
    assert content["versions"]["torch"] and content["hardware"] and content["cpu"]


def test_the_share_of_others_leaves_out_this_process_and_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    before, after = Busy(100.0, 0.5, 1000.0, 40.0), Busy(110.0, 1.5, 1016.0, 49.0)
    assert after.others_since(before) == pytest.approx((16 - 9) / 20)
    assert Busy(110.0, 1.5, 1008.0, 49.0).others_since(before) == 0.0  # the clocks of the two counts differ
    assert Busy(110.0, None, None, 49.0).others_since(before) is None
