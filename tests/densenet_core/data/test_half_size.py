from __future__ import annotations

import torch

from densenet_core.data.datasets import load_splits
from densenet_core.data.half_size import half_size


def test_batches_are_means_over_2x2_pixels_of_the_augmented_images() -> None:
    whole = load_splits("digits", augment=True, validation=True)
    half = half_size(whole)
    assert half.validation is not None
    assert (half.train.image_size, half.test.num_channels, len(half.test)) == (4, 1, len(whole.test))
    assert half.train.class_names == whole.train.class_names
    epochs = [parts.train.batches(64, torch.Generator().manual_seed(3)) for parts in (whole, half)]
    for (images, labels), (shrunk, shrunk_labels) in zip(*epochs, strict=True):
        assert torch.equal(labels, shrunk_labels)
        torch.testing.assert_close(shrunk, images.reshape(-1, 1, 4, 2, 4, 2).mean((3, 5)))


def test_without_validation_images() -> None:
    assert half_size(load_splits("digits")).validation is None
