"""How long the list of 1,000 runs takes: `python benchmarks/runs.py [NUMBER]`; median of seven, in one process."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import recorded
from densenet_core.hardware import hardware
from densenet_core.training.config import TrainingConfig
from densenet_core.training.runs.files import LOCK, METRICS, Metric, write_config, write_metrics
from densenet_core.training.runs.status import RunSummary, list_runs, write_summary


def make_runs(folder: Path, number: int) -> None:
    """Run folders of trainings of 300 epochs, each after its 200th, as ``train`` leaves them but for the weights."""
    metrics = [Metric(epoch, split, 0.1, 5.0, 60.0) for epoch in range(1, 201) for split in ("train", "test")]
    config = TrainingConfig("densenet-40-12", "cifar10", "run", runs_dir=str(folder))
    for i in range(number):
        own = replace(config, name=f"run{i:04}", seed=i)
        own.folder.mkdir()
        write_config(own.folder, asdict(own))
        write_metrics(own.folder / METRICS, metrics)
        write_summary(own.folder, RunSummary(own.name, own.arch, "CIFAR-10", i, 300, 200, 5.0, 60.0))
        (own.folder / LOCK).touch()


def main(number: int = 1000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_runs(Path(folder), number)
        assert len(list_runs(folder)[0]) == number
        seconds = recorded.in_turns({"list_runs": lambda: list_runs(folder)}, 7)["list_runs"]
    row = recorded.row(f"{number} runs", "ours", seconds, seconds)
    recorded.write("runs", "Listing run folders, seven times", [row])
    print(f"{number:,} runs listed in {row['ms'] / 1000:.3f} s ({hardware()})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
