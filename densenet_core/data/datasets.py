"""The data sets of the paper and of the suite, with their published splits and preprocessing."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densenet_core.data.augmentation import CIFAR_AUGMENTATION, DIGITS_AUGMENTATION, Augmentation
from densenet_core.data.digits import read_digits
from densenet_core.data.image_folders import load_folder, test_folder
from densenet_core.data.images import FolderImages, Images, TensorImages
from densenet_core.data.names import DATASET_NAMES, DatasetName, Normalization
from densenet_core.errors import DataError


@dataclass(frozen=True)
class DataSplits:
    """The parts of a data set. ``validation`` is held out of ``train``, and None unless asked for."""

    title: str
    train: Images
    validation: Images | None
    test: Images

    def to(self, device: torch.device, num_workers: int = 2) -> DataSplits:
        """Return the parts with batches on ``device``; ``num_workers`` processes read photographs from disk."""
        parts = (self.train, self.validation, self.test)
        return DataSplits(self.title, *(part and part.to(device, num_workers) for part in parts))  # type: ignore[arg-type]


def load_splits(
    name: DatasetName | str,
    root: str | os.PathLike[str] = "data",
    *,
    augment: bool = False,
    validation: bool = False,
    normalize: Normalization | None = None,
    title: str | None = None,
) -> DataSplits:
    """Load a data set with its published split.

    Args:
        name: one of ``DATASET_NAMES``.
        root: the folder of the data; ``digits`` needs none. A ``folder`` contains train/ and test/ (or val/), each
            with a folder of images per class.
        augment: the paper's "+": mirror and shift the training images.
        validation: hold out the paper's validation images (5,000 of CIFAR's training images, 6,000 of SVHN's).
        normalize: for ``folder``: the channel statistics; by default ImageNet's.
        title: the name shown and recorded in place of the data set's own.

    Raises:
        DataError: the data are missing, or do not support an option.
    """
    loaders = {"digits": _digits, "cifar10": _cifar, "cifar100": _cifar, "svhn": _svhn}
    if name in loaders:
        if normalize is not None:
            raise DataError(f"normalize {normalize!r} is only for the data set folder: {name} has published statistics")
        splits = loaders[name](name, Path(root), augment, validation)
    elif name in ("imagenet", "folder"):
        splits = _folder_splits(name, Path(root), augment, validation, normalize or "imagenet")
    else:
        raise DataError(f"unknown data set {name!r}: choose from {', '.join(DATASET_NAMES)}")
    return DataSplits(title or splits.title, splits.train, splits.validation, splits.test)


def load_test_images(
    name: DatasetName | str,
    root: str | os.PathLike[str] = "data",
    normalize: Normalization | None = None,
    crops: int = 1,
) -> Images:
    """Load the test images of a data set.

    For ``folder``, they are in ``root``/test (or val) if there are parts, else all images of the class folders in
    ``root``.

    Args:
        crops: 1, or 10 for photographs: corners and center, each mirrored too.

    Raises:
        DataError: as ``load_splits``, or ``crops`` is 10 for small images.

    Example:
        >>> images = load_test_images("digits")
        >>> len(images), images.num_channels, images.image_size
        (355, 1, 8)
    """
    if crops not in (1, 10):
        raise DataError(f"crops {crops} must be 1 or 10")
    if name == "folder":
        images = load_folder(test_folder(Path(root)), normalize or "imagenet")
    else:
        images = load_splits(name, root, normalize=normalize).test
    if crops == 1:
        return images
    if not isinstance(images, FolderImages):
        raise DataError(
            f"crops 10 is for photographs, as in the paper's ImageNet: use 1 for the small images of {name}"
        )
    return replace(images, crops=10)


def load_measuring_images(
    name: DatasetName | str, root: str | os.PathLike[str] = "data", normalize: Normalization | None = None
) -> tuple[Images, Images]:
    """Load images to choose by, and others to evaluate the choice: the parts of ``load_measuring_splits``."""
    splits = load_measuring_splits(name, root, normalize)
    return splits.train, splits.test


def load_measuring_splits(
    name: DatasetName | str, root: str | os.PathLike[str] = "data", normalize: Normalization | None = None
) -> DataSplits:
    """Load images to choose by or to fine-tune on, training images not augmented, and others to evaluate: test images.

    For ``folder`` with class folders directly in ``root``, every other image takes the place of the training images,
    and the rest that of the test images.

    Raises:
        DataError: as ``load_splits``.
    """
    from densenet_core.data.folders import find_parts

    if name != "folder" or find_parts(Path(root)) is not None:
        return load_splits(name, root, normalize=normalize)
    images = load_folder(Path(root), normalize or "imagenet")
    rows = torch.arange(len(images))
    return DataSplits(Path(root).resolve().name, images.subset(rows[::2]), None, images.subset(rows[1::2]))


def _digits(_: str, __: Path, augment: bool, validation: bool) -> DataSplits:
    """Load scikit-learn's 1,797 handwritten digits (8x8 pixels); every fifth of each class is a test image."""
    table = read_digits()
    labels = torch.from_numpy(table[:, -1]).long()
    pixels = torch.from_numpy(np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8)).view(-1, 1, 8, 8)
    place = torch.zeros_like(labels)  # index of an image within its class
    for digit in range(10):
        place[labels == digit] = torch.arange(int((labels == digit).sum()))
    images = TensorImages(pixels, labels, tuple("0123456789"), "digits")
    test, held_out = place % 5 == 4, place % 10 == 0
    return _split("Digits (8x8)", images, ~test, test, held_out, DIGITS_AUGMENTATION if augment else None, validation)


def _cifar(name: str, root: Path, augment: bool, validation: bool) -> DataSplits:
    from torchvision import datasets

    dataset = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    train, test = (_torchvision(dataset, name, root, train=train) for train in (True, False))
    statistics: Normalization = "cifar10" if name == "cifar10" else "cifar100"
    images = _join([(part.data.transpose(0, 3, 1, 2), part.targets) for part in (train, test)], statistics)
    images = TensorImages(images.pixels, images.labels, tuple(train.classes), statistics)
    rows = torch.arange(len(images))
    held_out = (rows >= 45_000) & (rows < 50_000)  # the last 5,000 of 50,000
    title = "CIFAR-10" if name == "cifar10" else "CIFAR-100"
    augmentation = CIFAR_AUGMENTATION if augment else None
    return _split(title, images, rows < len(train), rows >= len(train), held_out, augmentation, validation)


def _svhn(name: str, root: Path, augment: bool, validation: bool) -> DataSplits:
    """Load SVHN: train and extra are the training set; 6,000 of train are held out (section 4.1)."""
    from torchvision import datasets

    if augment:
        raise DataError("augment is not available for svhn: the paper trains without augmentation")
    parts = [_torchvision(datasets.SVHN, name, root, split=split) for split in ("train", "extra", "test")]
    images = _join([(part.data, part.labels) for part in parts], "none")
    rows, num_train = torch.arange(len(images)), len(images) - len(parts[2])
    held_out = (rows >= len(parts[0]) - 6_000) & (rows < len(parts[0]))
    return _split("SVHN", images, rows < num_train, rows >= num_train, held_out, None, validation)


def _split(
    title: str,
    images: TensorImages,
    train: Tensor,
    test: Tensor,
    held_out: Tensor,
    augmentation: Augmentation | None,
    validation: bool,
) -> DataSplits:
    """Split images by masks; ``held_out`` is removed from ``train`` if a validation set is asked for."""
    held_out = held_out & train
    train_rows = (train & ~held_out if validation else train).nonzero()[:, 0]
    return DataSplits(
        title,
        images.subset(train_rows, augmentation),
        images.subset(held_out.nonzero()[:, 0]) if validation else None,
        images.subset(test.nonzero()[:, 0]),
    )


def _join(parts: list[tuple[Any, Any]], normalization: Normalization) -> TensorImages:
    pixels = torch.cat([torch.from_numpy(np.ascontiguousarray(data)) for data, _ in parts])
    labels = torch.cat([torch.as_tensor(np.asarray(targets)).long() for _, targets in parts])
    return TensorImages(pixels, labels, tuple(str(c) for c in range(int(labels.max()) + 1)), normalization)


def _torchvision(dataset: Any, name: str, root: Path, **options: Any) -> Any:
    try:
        return dataset(str(root), download=False, **options)
    except (RuntimeError, OSError) as error:
        arguments = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise DataError(
            f"data set {name} is not under {str(root)!r}: put its files there, or download them with "
            f"`from torchvision import datasets; datasets.{dataset.__name__}({str(root)!r}, {arguments}, "
            "download=True)`"
        ) from error


def _folder_splits(name: str, root: Path, augment: bool, validation: bool, normalization: Normalization) -> DataSplits:
    from densenet_core.data.folders import find_parts

    if validation:
        raise DataError(f"validation is not available for the data set {name}: its folders are its parts")
    parts = find_parts(root)
    if parts is None or parts.train is None or parts.test is None:
        raise DataError(
            f"data set {name} is not under {str(root)!r}: put class folders of images into "
            f"{root / 'train'} and {root / 'test'} (or {root / 'val'})"
        )
    train = load_folder(parts.train, normalization, augment)
    test = load_folder(parts.test, normalization)
    if odd := sorted(set(train.class_names) ^ set(test.class_names)):
        raise DataError(
            f"the class folders of {parts.train} and {parts.test} differ, for example in {odd[0]!r}: "
            "they must have the same names"
        )
    if len(train.class_names) == 1:
        raise DataError(
            f"{parts.train} has one class folder, {train.class_names[0]!r}: there is nothing to tell apart, "
            "give two or more"
        )
    return DataSplits("ImageNet" if name == "imagenet" else root.resolve().name, train, None, test)
