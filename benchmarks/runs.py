"""How long 10,000 runs take to list, and their results to read and draw, in one process.

`python benchmarks/runs.py [NUMBER]`: the list of runs none of which is finished; then the table and the chart of the
Efficiency page with finished runs, each of a network of its own.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

from analysis.figures.efficiency.screen import efficiency_screen
from analysis.results.results import known_results
from densenet_core import Checkpoint, DenseNet, DenseNetSpec, save_checkpoint
from densenet_core.hardware import hardware
from densenet_core.training.config import TrainingConfig
from densenet_core.training.runs.files import CONFIG, LOCK, METRICS, WEIGHTS, Metric, write_config, write_metrics
from densenet_core.training.runs.index import INDEX
from densenet_core.training.runs.status import RunSummary, list_runs, read_summary, write_summary
from support import recorded

Ways: TypeAlias = dict[str, Callable[[], object]]
TURNS = 5


def make_runs(folder: Path, number: int) -> None:
    """Run folders of trainings of 300 epochs, each after its 200th, as ``train`` leaves them but for the weights."""
    metrics = [Metric(epoch, split, 0.1, 5.0, 60.0) for epoch in range(1, 201) for split in ("train", "test")]
    config = TrainingConfig("densenet-40-12", "cifar10", "run00000", runs_dir=str(folder))
    first = config.folder
    first.mkdir()
    write_config(first, asdict(config))
    write_metrics(first / METRICS, metrics)
    write_summary(first, RunSummary(config.name, config.arch, "CIFAR-10", 0, 300, 200, 5.0, 60.0))
    (first / LOCK).touch()
    for i in range(1, number):  # copied: each file above waits for the disk
        shutil.copytree(first, folder / f"run{i:05}")


def finished_runs(folder: Path, number: int) -> None:
    """Write run folders as ``train`` leaves them, each of a network of its own, but with the weights of a small one."""
    state = DenseNet(DenseNetSpec((1, 1, 1), 2, 4)).state_dict()
    common = {"dataset": "CIFAR-10+", "seed": 0, "epochs": 300, "epochs_planned": 300, "image_size": 32}
    with patch("os.fsync"):  # the disk's time for each file is not measured
        for i in range(number):
            depth, growth_rate, name = 40 + 6 * (i % 40), 4 + i // 40, f"run{i:05}"
            arch, spec = f"densenet-bc-{depth}-{growth_rate}", DenseNetSpec.cifar(depth, growth_rate, True, 0.5)
            own = {"arch": arch, "name": name, "hardware": "none", "test_error": 5 + i % 37 / 10}
            save_checkpoint(Checkpoint(spec, state, common | own), folder / name / WEIGHTS)
            (folder / name / CONFIG).write_text("{}")


def listing(folder: Path, number: int) -> list[dict[str, Any]]:
    """Return the rows about the list of runs."""
    make_runs(folder, number)
    newest = folder / "run00000"

    def after_an_epoch() -> None:
        summary = read_summary(newest)
        write_summary(newest, replace(summary, epoch=summary.epoch + 1))
        list_runs(folder)

    def without_index() -> None:
        (folder / INDEX).unlink(missing_ok=True)
        assert len(list_runs(folder)[0]) == number

    ways = {"list again": lambda: list_runs(folder), "list after an epoch of one run": after_an_epoch}
    return rows_of(f"{number:,} runs", {"list without an index": without_index}, ways)


def efficiency(folder: Path, number: int) -> list[dict[str, Any]]:
    """Return the rows about the Efficiency page's table and chart."""
    finished_runs(runs := folder / "runs", number)
    cache = folder / "cache"

    def read() -> Any:
        return known_results(sorted(runs.iterdir()), keep_in=cache)

    def after_one_run() -> None:
        (runs / "run00000" / WEIGHTS).touch()
        read()

    table = read()
    shown = table[table["dataset"] == "C10+"]
    assert len(shown) > number
    ways = {
        "results again": read,
        "results after one new run": after_one_run,
        "chart": lambda: efficiency_screen(shown, "params").to_json(),
    }
    shutil.rmtree(cache)
    return rows_of(f"{number:,} finished runs", {"results without an index": read}, ways)


def rows_of(case: str, first: Ways, ways: Ways) -> list[dict[str, Any]]:
    """Return a row for each way, in turns; what comes ``first`` runs twice and leaves the index that the others use."""
    seconds = recorded.in_turns(first, 2) | recorded.in_turns(ways, TURNS)
    ours = seconds[next(iter(ways))]
    return [recorded.row(case, way, taken, ours) for way, taken in seconds.items()]


def main(number: int = 10_000) -> None:
    rows = []
    for measure in (listing, efficiency):
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(Path(folder), number)
    recorded.write("runs", f"Run folders, {TURNS} times in turn, without an index twice; ours: again", rows)
    for row in rows:
        print(f"{row['case']}, {row['way']}: {row['ms'] / 1000:.3f} s ({hardware()})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
