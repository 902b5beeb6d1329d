"""Batches of labeled images, normalized, and augmented for training.

Small images of one size are kept on the device as uint8, and normalized and augmented there, batch by batch.
Photographs are read from disk by worker processes. Both yield an epoch as batches of tensors.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Generator, Tensor

from densenet_core.data.augmentation import Augmentation, augment_images, draw_moves
from densenet_core.data.batching import Shard, batches_of
from densenet_core.data.names import CHANNEL_STATISTICS, Normalization
from densenet_core.errors import DataError, own_words

Batch = tuple[Tensor, Tensor]  # images (N, C, H, W) float32, normalized; labels (N,)


class Images(Protocol):
    """Labeled images that yield normalized batches."""

    @property
    def num_channels(self) -> int: ...

    @property
    def image_size(self) -> int: ...  # pixels a side

    @property
    def class_names(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def to(self, device: torch.device, num_workers: int = 2) -> Images:
        """Return the same images with batches on ``device``; ``num_workers`` processes read them from disk."""
        ...

    def subset(self, rows: Tensor) -> Images:
        """Return the images of these rows, in this order, without augmentation."""
        ...

    def batches(
        self, batch_size: int, generator: Generator | None = None, shard: Shard | None = None
    ) -> Iterator[Batch]:
        """Yield one epoch.

        Args:
            batch_size: images per batch, over all processes.
            generator: for training: draws order and augmentation. Without it, the images are in order and unchanged.
            shard: yield only this process's part of every batch (which may be empty without ``generator``).
        """
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
        height, width = self.pixels.shape[2:]
        if height != width:
            raise DataError(f"the images have {width} x {height} pixels: crop or pad them to squares")
        return int(width)

    def to(self, device: torch.device, num_workers: int = 0) -> TensorImages:
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))

    def batches(
        self, batch_size: int, generator: Generator | None = None, shard: Shard | None = None
    ) -> Iterator[Batch]:
        shard = shard or Shard()
        order = torch.arange(len(self)) if generator is None else torch.randperm(len(self), generator=generator)
        for whole in batches_of(order, batch_size, shard if generator else None):
            own = shard.of(torch.arange(len(whole)))
            rows = whole[own].to(self.pixels.device)
            images = normalize_pixels(self.pixels[rows], self.normalization)
            if generator is not None and self.augmentation is not None:
                # Drawn for the whole batch, so that augmentation does not depend on the number of processes.
                moves = draw_moves(self.augmentation, len(whole), generator)
                images = augment_images(images, self.augmentation, moves.of(own))
            yield images, self.labels[rows]

    def subset(self, rows: Tensor, augmentation: Augmentation | None = None) -> TensorImages:
        """Return the images of these rows, in this order."""
        return TensorImages(self.pixels[rows], self.labels[rows], self.class_names, self.normalization, augmentation)


@dataclass(frozen=True)
class FolderImages:
    """Photographs in class folders, read from disk: 224x224 by the ImageNet recipe (section 4.1).

    With ``crops=10``, batches for evaluation are (N, 10, C, H, W): the corners and the center, each mirrored too.
    """

    source: Any  # torchvision's ImageFolder
    normalization: Normalization
    augment: bool = False
    crops: Literal[1, 10] = 1
    num_workers: int = 2
    pin_memory: bool = False
    num_channels: int = 3
    image_size: int = 224

    def __len__(self) -> int:
        return len(self.source)

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.source.classes)

    def to(self, device: torch.device, num_workers: int = 2) -> FolderImages:
        return replace(self, pin_memory=device.type == "cuda", num_workers=num_workers)

    def batches(
        self, batch_size: int, generator: Generator | None = None, shard: Shard | None = None
    ) -> Iterator[Batch]:
        shard = shard or Shard()
        order, seed = torch.arange(len(self)), 0
        if generator is not None:
            order = torch.randperm(len(self), generator=generator)
            seed = int(torch.randint(2**62, (), generator=generator)) + shard.rank
        whole = batches_of(order, batch_size, shard if generator else None)
        loader = torch.utils.data.DataLoader(
            self._dataset(generator is not None),
            batch_sampler=[shard.of(rows).tolist() for rows in whole if len(shard.of(rows))],
            generator=torch.Generator().manual_seed(seed),  # of the augmentation in the workers
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
        )
        try:
            yield from loader
        except DataError as error:  # from a worker: its message is the end of a traceback
            raise DataError(str(error).rpartition("DataError: ")[2].strip()) from error
        except (OSError, RuntimeError) as error:  # a worker process ended
            reason = own_words(error, "a process that reads images ended")
            raise DataError(f"an image under {self.source.root!r} can't be read: {reason}") from error

    def subset(self, rows: Tensor) -> FolderImages:
        source = copy.copy(self.source)
        source.samples = [self.source.samples[row] for row in rows.tolist()]
        return replace(self, source=source, augment=False)

    def _dataset(self, train: bool) -> Any:
        dataset = copy.copy(self.source)
        dataset.transform = self._training_transform() if train and self.augment else self._test_transform()
        return dataset

    def _training_transform(self) -> Any:
        from torchvision import transforms

        return transforms.Compose(
            [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), self._finish()]
        )

    def _test_transform(self) -> Any:
        from torchvision import transforms

        finish = self._finish()
        if self.crops == 1:
            return transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), finish])
        return transforms.Compose([transforms.Resize(256), transforms.TenCrop(224), partial(_each, finish)])

    def _finish(self) -> Any:
        from torchvision import transforms

        return transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(*CHANNEL_STATISTICS[self.normalization])]
        )


def images_from_arrays(
    pixels: Any, labels: Any, class_names: Sequence[str] | None = None, normalization: Normalization = "none"
) -> TensorImages:
    """Return images in memory as labeled images, for the functions that measure networks on some.

    >>> import numpy as np
    >>> images = images_from_arrays(np.zeros((2, 32, 32, 3), np.uint8), [0, 1], ["cat", "dog"], "cifar10")
    >>> len(images), images.num_channels, images.image_size
    (2, 3, 32)

    Args:
        pixels: an array or tensor in uint8: (N, H, W), or (N, H, W, C) or (N, C, H, W) with 1 or 3 channels.
        labels: the number of each image's class, from 0: (N,).
        class_names: the names of all classes that the network predicts; by default the numbers up to the largest label.
        normalization: the channel statistics of the network's training: "cifar10", "cifar100", "imagenet", "digits",
            or "none" for pixels from 0 to 1.

    Raises:
        DataError: a shape, a type or a label does not fit, or the normalization is unknown.
    """
    tensor, numbers = torch.as_tensor(pixels), torch.as_tensor(labels)
    if tensor.dtype != torch.uint8:
        raise DataError(f"pixels has the type {str(tensor.dtype).removeprefix('torch.')}: give uint8, from 0 to 255")
    if normalization not in CHANNEL_STATISTICS:
        raise DataError(f"normalization {normalization!r} is unknown: choose from {', '.join(CHANNEL_STATISTICS)}")
    if numbers.shape != tensor.shape[:1] or numbers.is_floating_point() or not len(numbers):
        raise DataError(f"labels has the shape {tuple(numbers.shape)}: give a whole number for each image, from 0")
    names = [str(number) for number in range(int(numbers.max()) + 1)] if class_names is None else class_names
    if not 0 <= int(numbers.min()) <= int(numbers.max()) < len(names):
        raise DataError(f"labels go from {int(numbers.min())} to {int(numbers.max())}: class_names has {len(names)}")
    return TensorImages(_channels_first(tensor), numbers.long(), tuple(map(str, names)), normalization)


def _channels_first(pixels: Tensor) -> Tensor:
    """Return pixels as (N, C, H, W)."""
    if pixels.dim() == 3:
        return pixels[:, None]
    if pixels.dim() == 4 and pixels.shape[1] in (1, 3):
        return pixels
    if pixels.dim() == 4 and pixels.shape[3] in (1, 3):
        return pixels.permute(0, 3, 1, 2).contiguous()
    raise DataError(f"pixels has the shape {tuple(pixels.shape)}: give (N, H, W), (N, H, W, C) or (N, C, H, W)")


def check_images_type(images: object) -> None:
    """Raise DataError where this is an array, a tensor or a loader, and no data set of labeled images."""
    if not hasattr(images, "batches"):
        raise DataError(
            f"images is a {type(images).__name__}: give a data set, such as load_test_images('digits') or "
            "images_from_arrays(pixels, labels)"
        )


def sample_evenly(images: Images, number: int) -> Images:
    """Return ``number`` images, evenly spaced over the set so that every class is in it; all if there are fewer.

    Raises:
        DataError: ``number`` is below 1, or ``images`` is no data set.
    """
    check_images_type(images)
    if number < 1:
        raise DataError(f"num_images {number} must be 1 or more")
    if number >= len(images):
        return images
    return images.subset(torch.linspace(0, len(images) - 1, number, dtype=torch.float64).round().long())


def hash_images(images: Images) -> bytes:
    """Return a digest that changes with any image, its label, their order or how they are prepared.

    Photographs on disk are not read: their paths, sizes and modification times are used instead.
    """
    digest = hashlib.sha256()
    if isinstance(images, FolderImages):
        digest.update(f"{images.normalization} {images.crops} {images.image_size}".encode())
        for path, label in images.source.samples:
            about = os.stat(path)
            digest.update(f"{path}\0{label} {about.st_size} {about.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
        return digest.digest()
    for tensors in images.batches(256):
        for tensor in tensors:
            digest.update(f"{tuple(tensor.shape)}".encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.digest()


def _each(transform: Any, crops: Sequence[Any]) -> Tensor:
    return torch.stack([transform(crop) for crop in crops])


def normalize_pixels(pixels: Tensor, normalization: Normalization) -> Tensor:
    """Return (pixels / 255 - mean) / std per channel: uint8 (N, C, H, W) -> float32 (N, C, H, W)."""
    mean, std = (
        torch.tensor(values, device=pixels.device)[:, None, None] for values in CHANNEL_STATISTICS[normalization]
    )
    return (pixels.float() / 255 - mean) / std
