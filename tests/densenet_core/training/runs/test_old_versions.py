"""Runs that were written by the first version."""

from __future__ import annotations

import pytest
import torch

from densenet_core import load_checkpoint
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from densenet_core.training.runs.claim import recover_config
from densenet_core.training.runs.files import CONFIG, METRICS
from tests.densenet_core.training.runs.damage import (
    METRICS_DAMAGE,
    assert_same_end,
    go_back,
    make_old,
)

pytestmark = pytest.mark.slow


def test_the_settings_of_an_old_run_are_restored_from_its_weights(config: TrainingConfig) -> None:
    make_old(config.folder)
    (config.folder / CONFIG).write_text("{")
    train(config, show_progress=False)
    assert recover_config(config.folder)["epochs"] == config.epochs


@pytest.mark.parametrize("damage", ["none", "cut", "missing"])
def test_a_state_of_the_first_version_resumes(
    damage: str, config: TrainingConfig, finished: TrainingConfig, caplog: pytest.LogCaptureFixture
) -> None:
    go_back(config.folder)
    make_old(config.folder)
    if damage != "none":
        METRICS_DAMAGE[damage](config.folder / METRICS)
    if damage == "cut":
        (config.folder / METRICS).write_text("".join((config.folder / METRICS).read_text().splitlines(True)[:2]))
    train(config, show_progress=False)
    if damage == "none":
        assert_same_end(config, finished)
    else:
        assert "lacks epochs before 3" in caplog.text
        own, other = load_checkpoint(config.folder).state_dict, load_checkpoint(finished.folder).state_dict
        assert all(torch.equal(own[key], other[key]) for key in other)
