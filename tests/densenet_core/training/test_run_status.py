from __future__ import annotations

import json
from pathlib import Path

import pytest

from densenet_core import RunError
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from densenet_core.training.run_folder import Metric
from densenet_core.training.run_status import list_runs, read_summary


def test_runs_in_every_state(tmp_path: Path) -> None:
    config = {"arch": "densenet-7-2", "dataset": "digits", "epochs": 2, "runs_dir": str(tmp_path)}
    train(TrainingConfig(name="finished", **config), show_progress=False)

    def stop(folder: Path, model: object, metrics: list[Metric]) -> None:
        if metrics[-1].epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TrainingConfig(name="stopped", **config), show_progress=False, on_epoch=stop)
    (tmp_path / "young").mkdir()
    (tmp_path / "young" / "config.json").write_text(json.dumps(config | {"seed": 3}))
    (tmp_path / "no run").mkdir()
    runs = {run.name: run for run in list_runs(tmp_path)}
    assert {name: (run.state, run.epoch) for name, run in runs.items()} == {
        "finished": ("finished", 2),
        "stopped": ("stopped", 1),
        "young": ("stopped", 0),
    }
    stopped = runs["stopped"]
    assert stopped.seconds_per_epoch is not None
    assert stopped.seconds_left == pytest.approx(stopped.seconds_per_epoch)
    assert runs["young"].seconds_left is None
    assert list_runs(tmp_path / "nothing") == []


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run folder"):
        read_summary(tmp_path)
