"""The losses of a network on its training and test images, and the gap between them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from densenet_core import Checkpoint
from densenet_core.data.datasets import load_splits
from densenet_core.data.image_folders import load_folder
from densenet_core.data.images import Images
from densenet_core.data.names import Normalization
from densenet_core.hardware import device
from densenet_core.training.evaluation import check_images

NUM_RESAMPLES = 2000


def training_images(name: str, normalize: Normalization | None, root: str | os.PathLike[str] = "data") -> Images | None:
    """Return the training images, without augmentation, that go with a data set's test images.

    For ``folder`` they are in the part for training, of ``root`` or of the data set that ``root`` is the test part of;
    None where there is none.

    Raises:
        DataError: the data set is not there.
    """
    from densenet_core.data.folders import TEST_NAMES, find_parts

    if name != "folder":
        return load_splits(name, root, normalize=normalize).train
    folder = Path(root).resolve()
    parts = find_parts(folder.parent if folder.name.lower() in TEST_NAMES else folder)
    return None if parts is None or parts.train is None else load_folder(parts.train, normalize or "imagenet")


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
    check_images(network, images)
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
    test images separately. It covers the choice of images, not of seeds: each network is one training run.
    """
    train, test = ours.train - theirs.train, ours.test - theirs.test
    generator = np.random.default_rng(seed)
    differences = _resampled_means(test, generator) - _resampled_means(train, generator)
    low, high = np.quantile(differences, (0.025, 0.975))
    return ours.gap - theirs.gap, float(low), float(high)


def _resampled_means(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    rows = [generator.integers(len(values), size=len(values)) for _ in range(NUM_RESAMPLES)]
    return np.array([values[own].mean() for own in rows])
