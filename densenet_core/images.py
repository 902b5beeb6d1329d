"""Labelled images as batches: small ones in memory, photographs in folders; normalising and augmenting.

Images that are small and of one size lie in memory as uint8 and are normalised batch by batch; folders of
photographs are read from disk by a DataLoader. Both give the same thing: an epoch as an iterator of batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from densenet_core.errors import DataError

Normalization = Literal["cifar10", "cifar100", "imagenet", "digits", "none"]
Batch = tuple[Tensor, Tensor]  # images (N, C, H, W) normalised float, labels (N,)

# Channel means and standard deviations over the training images, in units of 0..1. The CIFAR ones are those of
# fb.resnet.torch, on which the paper's code stands (in its units of 0..255: 125.3, 123.0, 113.9, ...).
# "none" divides by 255 and no more, as the paper does for SVHN (section 4.1).
CHANNEL_STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "cifar10": ((0.4914, 0.4824, 0.4467), (0.2471, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "digits": ((0.3052,), (0.3760,)),
    "none": ((0.0,), (1.0,)),
}


@dataclass(frozen=True)
class Augmentation:
    """Random mirroring and shifting, the paper's "+" (section 4.1): shifts are in pixels, padded with zeros."""

    mirror: bool
    shift: int


CIFAR_AUGMENTATION = Augmentation(mirror=True, shift=4)
DIGITS_AUGMENTATION = Augmentation(mirror=False, shift=1)  # a mirrored digit is no digit; 8x8 pixels bear a shift of 1


class Images(Protocol):
    """Labelled images, given out in normalised batches."""

    @property
    def num_channels(self) -> int: ...

    @property
    def image_size(self) -> int: ...  # pixels a side

    @property
    def class_names(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def batches(self, batch_size: int, generator: Generator | None = None) -> Iterator[Batch]:
        """One epoch: shuffled and augmented where a ``generator`` is given, else as they lie and as they are."""
        ...


@dataclass(frozen=True)
class TensorImages:
    """Small images of one size, held in memory as uint8 (N, C, H, W)."""

    pixels: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    normalization: Normalization
    augmentation: Augmentation | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_channels(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def image_size(self) -> int:
        return int(self.pixels.shape[-1])

    def batches(self, batch_size: int, generator: Generator | None = None) -> Iterator[Batch]:
        shuffled = generator is not None
        order = torch.randperm(len(self), generator=generator) if shuffled else torch.arange(len(self))
        for rows in order.split(batch_size):
            images = normalized(self.pixels[rows], self.normalization)
            if generator is not None and self.augmentation is not None:
                images = augmented(images, self.augmentation, generator)
            yield images, self.labels[rows]

    def subset(self, rows: Tensor, augmentation: Augmentation | None = None) -> TensorImages:
        """The images of these rows, in their order."""
        return TensorImages(self.pixels[rows], self.labels[rows], self.class_names, self.normalization, augmentation)


@dataclass(frozen=True)
class FolderImages:
    """Photographs in class folders, read from disk: 224x224 by the ImageNet recipe (section 4.1)."""

    folder: Path
    class_names: tuple[str, ...]
    normalization: Normalization
    augment: bool = False
    num_workers: int = 2
    num_channels: int = 3
    image_size: int = 224

    def __len__(self) -> int:
        return len(self._dataset(train=False))

    def batches(self, batch_size: int, generator: Generator | None = None) -> Iterator[Batch]:
        train = generator is not None
        loader = torch.utils.data.DataLoader(
            self._dataset(train and self.augment),
            batch_size,
            shuffle=train,
            generator=generator,
            num_workers=self.num_workers,
        )
        try:
            yield from loader
        except (OSError, RuntimeError) as error:  # of a worker: its last line says what it was
            reason = str(error).strip().splitlines()[-1]
            raise DataError(f"an image under {str(self.folder)!r} can't be read: {reason}") from None

    def _dataset(self, train: bool) -> Any:
        from torchvision import datasets, transforms

        crop = (
            [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()]
            if train
            else [transforms.Resize(256), transforms.CenterCrop(224)]
        )
        mean, std = CHANNEL_STATISTICS[self.normalization]
        finish = [transforms.ToTensor(), transforms.Normalize(mean, std)]
        return datasets.ImageFolder(str(self.folder), transforms.Compose([*crop, *finish]))


def normalized(pixels: Tensor, normalization: Normalization) -> Tensor:
    """uint8 (N, C, H, W) -> float32 of the same shape, by channel: (pixels / 255 - mean) / std."""
    mean, std = (torch.tensor(values)[:, None, None] for values in CHANNEL_STATISTICS[normalization])
    return (pixels.float() / 255 - mean) / std


def augmented(images: Tensor, augmentation: Augmentation, generator: Generator) -> Tensor:
    """Mirrors half of the images and shifts each by up to ``shift`` pixels; (N, C, H, W) -> the same shape."""
    n, _, height, width = images.shape
    shift = augmentation.shift
    if augmentation.mirror:
        mirrored = torch.rand(n, generator=generator) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    padded = F.pad(images, (shift,) * 4)
    top, left = torch.randint(2 * shift + 1, (2, n), generator=generator)
    rows = (top[:, None] + torch.arange(height))[:, None, :, None]
    columns = (left[:, None] + torch.arange(width))[:, None, None, :]
    return padded[torch.arange(n)[:, None, None, None], torch.arange(images.shape[1])[:, None, None], rows, columns]
