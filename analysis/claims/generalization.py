"""Overfitting: the gap between test and training loss, in evaluation mode, of two networks on the same images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from densenet_core import Checkpoint
from densenet_core.data.datasets import load_folder, load_splits
from densenet_core.data.images import Images
from densenet_core.data.names import Normalization
from densenet_core.hardware import device
from densenet_core.training.evaluation import check_fit

NUM_RESAMPLES = 2000
MIN_IMAGES = 30  # of each set: below, an interval says little


def training_images(name: str, normalize: Normalization | None, root: str | os.PathLike[str] = "data") -> Images | None:
    """Return the training images, without augmentation, that go with a data set's test images.

    For ``folder`` they are those of the folder "train" beside a folder "test"; None where there is none.

    Raises:
        DataError: the data set is not there.
    """
    if name != "folder":
        return load_splits(name, root, normalize=normalize).train
    train = Path(root).resolve().with_name("train")
    return load_folder(train, normalize or "imagenet") if Path(root).name == "test" and train.is_dir() else None


@dataclass(frozen=True)
class Losses:
    """Cross-entropy (nats) of a network on each training and each test image."""

    train: np.ndarray
    test: np.ndarray

    @property
    def gap(self) -> float:
        """Mean test loss minus mean training loss."""
        return float(self.test.mean() - self.train.mean())


def image_losses(network: Checkpoint, images: Images, batch_size: int = 100) -> np.ndarray:
    """Return the cross-entropy (nats) of every image, in evaluation mode.

    Raises:
        DataError: the images do not fit the network.
    """
    check_fit(network.architecture, images)
    model = network.to_model().to(device())
    losses = []
    with torch.inference_mode():
        for batch, labels in images.batches(batch_size):
            scores = model(batch.to(device()))
            losses.append(F.cross_entropy(scores, labels.to(device()), reduction="none").cpu().numpy())
    return np.concatenate(losses)


def gap_difference(ours: Losses, theirs: Losses, seed: int = 0) -> tuple[float, float, float]:
    """Return how much larger our generalization gap is than theirs, and its 95 % interval.

    The interval is a paired bootstrap over images: each resample draws the same images for both networks, training and
    test images separately. It covers the choice of images, not that of seeds: each network is one training run.
    """
    train, test = ours.train - theirs.train, ours.test - theirs.test
    generator = np.random.default_rng(seed)
    differences = _resampled_means(test, generator) - _resampled_means(train, generator)
    low, high = np.quantile(differences, (0.025, 0.975))
    return ours.gap - theirs.gap, float(low), float(high)


def _resampled_means(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    rows = [generator.integers(len(values), size=len(values)) for _ in range(NUM_RESAMPLES)]
    return np.array([values[own].mean() for own in rows])
