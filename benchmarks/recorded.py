"""Results of the benchmarks as JSON in benchmarks/results/: rows with the machine and the versions that gave them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from densenet_core.hardware import hardware

FOLDER = Path(__file__).parent / "results"


def in_turns(ways: dict[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Seconds of each way in each turn; all take their turn before the next one begins. The first turn warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, run in ways.items():
            start = perf_counter()
            run()
            if turn:
                seconds[name].append(perf_counter() - start)
    return seconds


def row(case: str, way: str, seconds: Sequence[float], ours: Sequence[float], **more: Any) -> dict[str, Any]:
    """One line of a result: median and quartiles in milliseconds, and how many times ours it is."""
    low, middle, high = (1000 * quartile for quartile in statistics.quantiles(seconds, n=4))
    times = statistics.median(seconds) / statistics.median(ours)
    return {"case": case, "way": way, "ms": middle, "ms_low": low, "ms_high": high, "times_ours": times, **more}


def write(subject: str, about: str, rows: list[dict[str, Any]]) -> None:
    """Writes results/SUBJECT.json.

    Args:
        about: what was measured, and how.
    """
    FOLDER.mkdir(exist_ok=True)
    versions = {name: version(name) for name in ("torch", "torchvision", "numpy")}
    content = {
        "about": about,
        "hardware": hardware(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "versions": versions,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "rows": [{key: _rounded(value) for key, value in entry.items()} for entry in rows],
    }
    file = FOLDER / f"{subject}.json"
    file.write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {file.relative_to(FOLDER.parents[1])}")


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
