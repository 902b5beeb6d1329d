"""A small training to do, and one that is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from tests.densenet_core.training.trainings import CONFIG


@pytest.fixture
def config(tmp_path: Path) -> TrainingConfig:
    return replace(CONFIG, runs_dir=str(tmp_path))


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nobody interrupted."""
    return train(replace(CONFIG, name="unbroken", runs_dir=str(tmp_path_factory.mktemp("runs"))), show_progress=False)
