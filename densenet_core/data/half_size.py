"""Images at half the size, for the first epochs of a training: progressive resizing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from densenet_core.data.batching import Shard
from densenet_core.data.datasets import DataSplits
from densenet_core.data.images import Batch, Images


@dataclass(frozen=True)
class HalfSizeImages:
    """Images whose batches, augmented and normalized, are averaged over 2x2 pixels: (N, C, H, W) -> (N, C, H/2, W/2).

    Augmentation comes first, so a shift by 4 of 32 pixels becomes one by 2 of 16.
    """

    source: Images

    def __len__(self) -> int:
        return len(self.source)

    @property
    def num_channels(self) -> int:
        return self.source.num_channels

    @property
    def image_size(self) -> int:
        return self.source.image_size // 2

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.source.class_names

    def to(self, device: torch.device, num_workers: int = 2) -> HalfSizeImages:
        return HalfSizeImages(self.source.to(device, num_workers))

    def subset(self, rows: Tensor) -> HalfSizeImages:
        return HalfSizeImages(self.source.subset(rows))

    def batches(
        self, batch_size: int, generator: Generator | None = None, shard: Shard | None = None
    ) -> Iterator[Batch]:
        for images, labels in self.source.batches(batch_size, generator, shard):
            yield F.avg_pool2d(images, 2), labels


def half_size(splits: DataSplits) -> DataSplits:
    """Return the data set with all its images at half the size."""
    validation = splits.validation and HalfSizeImages(splits.validation)
    return DataSplits(splits.title, HalfSizeImages(splits.train), validation, HalfSizeImages(splits.test))
