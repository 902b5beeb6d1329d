"""What the tests of all relatives share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from densenet_core import load_checkpoint
from densenet_core.training.config import recipe_config
from densenet_core.training.loop import train


@pytest.fixture
def learns_digits(tmp_path: Path) -> Callable[..., Path]:
    """Train a network on the digits; check its error, and that the scores of its file are the same."""

    def run(arch: str, epochs: int = 5) -> Path:
        config = recipe_config("fast", arch, "digits", arch, epochs=epochs, runs_dir=str(tmp_path))
        seen: dict[str, torch.Tensor] = {}
        images = torch.randn(3, 1, 8, 8)

        def keep_scores(folder: Path, model: torch.nn.Module, metrics: object) -> None:
            with torch.inference_mode():
                seen["scores"] = model.eval()(images)

        folder = train(config, show_progress=False, on_epoch=keep_scores)
        loaded = load_checkpoint(folder)
        assert loaded.record["test_error"] < 10  # ten classes: chance is 90 %
        with torch.inference_mode():
            torch.testing.assert_close(loaded.to_model()(images), seen["scores"])
        return folder

    return run
