from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from analysis.claims.losses import Losses, gap_difference, image_losses, training_images
from tests.analysis.reuse.test_effects import SPECS, checkpoint_of, some_images


def test_losses_are_those_of_the_images_in_evaluation_mode() -> None:
    checkpoint, images = checkpoint_of(SPECS[0]), some_images(12)
    batch, labels = next(images.batches(12))
    with torch.inference_mode():
        expected = F.cross_entropy(checkpoint.to_model().eval()(batch), labels, reduction="none")
    assert image_losses(checkpoint, images, batch_size=5) == pytest.approx(expected.numpy(), rel=1e-4)


def test_the_interval_is_that_of_paired_differences() -> None:
    generator = np.random.default_rng(0)
    hard = generator.exponential(size=400)  # what makes an image hard, for both networks
    noise = 0.1 * generator.normal(size=400)
    ours, theirs = Losses(0.1 * hard, hard), Losses(0.1 * hard, hard + noise + 0.2)
    value, low, high = gap_difference(ours, theirs)
    assert value == pytest.approx(-0.2 - noise.mean())
    error = noise.std() / 20  # of a mean over 400 pairs; unpaired it would be 14 times as large
    assert (low, high) == (
        pytest.approx(value - 1.96 * error, abs=0.003),
        pytest.approx(value + 1.96 * error, abs=0.003),
    )
    assert gap_difference(theirs, ours)[0] == pytest.approx(-value)


def test_training_images_go_with_the_test_images(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / split / label / "0.png")
    train = training_images("folder", "none", tmp_path / "test")
    assert train is not None and len(train) == 2
    assert training_images("folder", "none", tmp_path / "train") is None
    of_parts = training_images("folder", "none", tmp_path)
    assert of_parts is not None and len(of_parts) == 2
    digits = training_images("digits", None)
    assert digits is not None and len(digits) > 1000
