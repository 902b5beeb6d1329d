from __future__ import annotations

import sys
from pathlib import Path

import pytest

from densenet_core.errors import RunError
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from densenet_core.training.runs.files import read_metrics
from densenet_core.training.tensorboard import TensorBoardLog


@pytest.mark.slow
def test_tensorboard_reads_what_metrics_csv_holds(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = TrainingConfig("densenet-7-2", "digits", "demo", epochs=2, runs_dir=str(tmp_path))
    folder = train(config, show_progress=False, on_epoch=TensorBoardLog())
    events = reader.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    for metric in read_metrics(folder / "metrics.csv"):
        found = {event.step: event.value for event in events.Scalars(f"loss/{metric.split}")}
        assert found[metric.epoch] == pytest.approx(metric.loss)
    assert {"error/test", "learning_rate/train", "grad_norm/train"} <= set(events.Tags()["scalars"])
    assert "learning_rate/test" not in events.Tags()["scalars"]


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RunError, match=r"pip install 'densenet-lens\[tensorboard\]'"):
        TensorBoardLog()
