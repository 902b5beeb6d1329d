"""How long the list of 10,000 runs takes: `python benchmarks/runs.py [NUMBER]`; median of seven, in one process."""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import recorded
from densenet_core.hardware import hardware
from densenet_core.training.config import TrainingConfig
from densenet_core.training.runs.files import LOCK, METRICS, Metric, write_config, write_metrics
from densenet_core.training.runs.index import INDEX
from densenet_core.training.runs.status import RunSummary, list_runs, read_summary, write_summary


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


def main(number: int = 10_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_runs(Path(folder), number)
        assert len(list_runs(folder)[0]) == number  # writes the index
        newest = Path(folder) / "run00000"

        def after_an_epoch() -> None:
            summary = read_summary(newest)
            write_summary(newest, replace(summary, epoch=summary.epoch + 1))
            list_runs(folder)

        def first() -> None:
            (Path(folder) / INDEX).unlink()
            list_runs(folder)

        ways = {
            "again": lambda: list_runs(folder),
            "after an epoch of one run": after_an_epoch,
            "without an index": first,
        }
        seconds = recorded.in_turns(ways, 7)
    rows = [recorded.row(f"{number} runs", way, taken, seconds["again"]) for way, taken in seconds.items()]
    recorded.write("runs", "Listing run folders, none of which is finished, seven times in turn", rows)
    for row in rows:
        print(f"{number:,} runs listed {row['way']} in {row['ms'] / 1000:.3f} s ({hardware()})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
