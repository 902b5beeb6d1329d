"""Results of the benchmarks as JSON in benchmarks/results/: rows with the machine and the versions that gave them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from densenet_core.files import write_whole
from densenet_core.hardware import hardware
from support.busy import Busy

FOLDER = Path(__file__).parents[1] / "results"
QUIET = 0.15  # of the cores, used by other processes: more, and a record is loud
_STARTED = Busy.now()  # the benchmark imports this module first


def in_turns(ways: dict[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Time each way in each turn, in seconds; all take their turn before the next begins. The first turn warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, run in ways.items():
            start = perf_counter()
            run()
            if turn:
                seconds[name].append(perf_counter() - start)
    return seconds


def row(case: str, way: str, seconds: Sequence[float], ours: Sequence[float], **more: Any) -> dict[str, Any]:
    """Return one line of a result: median and quartiles in milliseconds, and how many times ours it is."""
    low, middle, high = (1000 * quartile for quartile in statistics.quantiles(seconds, n=4))
    times = statistics.median(seconds) / statistics.median(ours)
    return {"case": case, "way": way, "ms": middle, "ms_low": low, "ms_high": high, "times_ours": times, **more}


def write(subject: str, about: str, rows: list[dict[str, Any]], folder: Path = FOLDER, is_quiet: bool = False) -> None:
    """Write FOLDER/SUBJECT.json, unless a record on a quiet machine is there and this machine was loud.

    Args:
        about: what was measured, and how.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file, load = folder / f"{subject}.json", load_since(_STARTED, Busy.now())
    if is_loud(load) and (kept := quiet_date(file)):
        print(f"the record of {kept} on a quiet machine is kept: here others used {load['others']} of the processor")
        return
    content = {
        "about": about,
        "hardware": hardware(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "versions": _versions(),
        "load": load,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "rows": [{key: round_number(value) for key, value in entry.items()} for entry in rows],
    }
    write_whole(file, lambda temporary: temporary.write_text(json.dumps(content, indent=1) + "\n"))
    if not is_quiet:
        print(f"wrote {file.relative_to(FOLDER.parents[1]) if folder == FOLDER else file}")


def load_since(before: Busy, after: Busy) -> dict[str, Any]:
    """Return the load averages before and after, and the share of the processor that other processes used between."""
    others = after.others_since(before)
    return {"before": before.load, "after": after.load, "others": None if others is None else round(others, 3)}


def is_loud(load: dict[str, Any]) -> bool:
    """Return whether other processes used more than ``QUIET``, as far as is known."""
    return load["others"] is not None and load["others"] > QUIET


def quiet_date(file: Path) -> str | None:
    """Return the date of a record that was written on a quiet machine, else None."""
    try:
        content = json.loads(file.read_text())
        others = content["load"]["others"]
    except (OSError, ValueError, KeyError):  # none, or from before loads were recorded
        return None
    return str(content["date"]) if others is not None and others <= QUIET else None


def round_number(value: Any) -> Any:
    """Return a number with four significant digits; anything else as it is."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _versions() -> dict[str, str]:
    installed = (
        "torch",
        "torchvision",
        "numpy",
        *(name for name in ("timm", "onnxruntime", "openvino") if find_spec(name)),
    )
    cuda = {"cuda": torch.version.cuda} if torch.version.cuda and torch.cuda.is_available() else {}
    return {name: version(name) for name in installed} | cuda
