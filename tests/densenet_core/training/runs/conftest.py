"""A finished run, and a copy of it to damage."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TrainingConfig:
    runs_dir = str(tmp_path_factory.mktemp("finished"))
    config = TrainingConfig("densenet-7-2", "digits", "demo", epochs=3, batch_size=512, runs_dir=runs_dir)
    train(config, show_progress=False)
    return config


@pytest.fixture
def config(finished: TrainingConfig, tmp_path: Path) -> TrainingConfig:
    """A copy of the finished run."""
    shutil.copytree(finished.folder, tmp_path / "demo")
    return replace(finished, runs_dir=str(tmp_path))
