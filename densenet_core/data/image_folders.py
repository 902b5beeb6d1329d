"""Images of class folders: small ones are read into memory, photographs when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from densenet_core.data.augmentation import CIFAR_AUGMENTATION
from densenet_core.data.images import FolderImages, Images, TensorImages
from densenet_core.data.names import CHANNEL_STATISTICS, Normalization
from densenet_core.errors import DataError
from densenet_core.files import allowed_folders

if TYPE_CHECKING:
    from densenet_core.data.folders import ClassFolders

MAX_SMALL = 64  # pixels a side of small images; larger ones are photographs
MAX_BYTES_IN_MEMORY = 8_000_000_000  # of small images


def load_folder(folder: Path, normalization: Normalization, augment: bool = False) -> Images:
    """Load class folders of images; small images, square and of one size, are read into memory once.

    Raises:
        DataError: the folder is missing or too large, contains no class folders, one without images, or the parts of a
            data set.
    """
    if normalization not in CHANNEL_STATISTICS:
        raise DataError(f"unknown normalize {normalization!r}: choose from {', '.join(CHANNEL_STATISTICS)}")
    dataset = _class_folders(folder)
    size = dataset.loader(dataset.samples[0][0]).size
    if max(size) > MAX_SMALL:
        return FolderImages(dataset, normalization, augment)
    _check_small(folder, dataset.samples, size)
    pixels = np.stack([_pixels(dataset.loader, path, size) for path, _ in dataset.samples])
    return TensorImages(
        torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))),
        torch.tensor(dataset.targets),
        tuple(dataset.classes),
        normalization,
        CIFAR_AUGMENTATION if augment else None,
    )


def _class_folders(folder: Path) -> ClassFolders:
    from densenet_core.data.folders import ClassFolders, find_parts, read_image

    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"folder {str(folder)!r} {what}: give a folder with a folder of images per class")
    if parts := find_parts(folder):
        names = " and ".join(part.name for part in (parts.train, parts.test) if part)
        raise DataError(f"folder {str(folder)!r} contains {names}, the parts of a data set: give one of them")
    try:
        return ClassFolders(str(folder), loader=partial(read_image, folders=allowed_folders()))
    except FileNotFoundError as error:
        reason = f"folder {str(folder)!r} contains no class folders of images: {error}"
        raise DataError(f"{reason}: give a folder with a folder of images per class") from error
    except OSError as error:
        raise DataError(f"folder {str(folder)!r} can't be read: {error.strerror}") from error


def _check_small(folder: Path, samples: Sequence[tuple[str, int]], size: tuple[int, int]) -> None:
    """Check that small images of one size can be read into memory."""
    if size[0] != size[1]:
        raise DataError(
            f"image {samples[0][0]!r} has {size[0]} x {size[1]} pixels: images of at most {MAX_SMALL} pixels a side "
            "must be square: crop or pad them"
        )
    if (num_bytes := len(samples) * size[0] * size[1] * 3) > MAX_BYTES_IN_MEMORY:
        raise DataError(
            f"the {len(samples):,} images of folder {str(folder)!r} need {num_bytes / 1e9:.0f} GB of memory, "
            f"at most {MAX_BYTES_IN_MEMORY / 1e9:.0f} GB are used: take fewer"
        )


def _pixels(read: Callable[[str], Any], path: str, size: tuple[int, int]) -> np.ndarray:
    image = read(path)
    if image.size != size:
        raise DataError(
            f"image {path!r} has size {image.size}, others have {size}: small images must have the same size"
        )
    return np.asarray(image)


def test_folder(root: Path) -> Path:
    """Return the folder of class folders to measure on: the test images in a data set of parts, else ``root``."""
    from densenet_core.data.folders import find_parts

    parts = find_parts(root)
    if parts is None:
        return root
    if parts.test is None:
        raise DataError(
            f"folder {str(root)!r} contains training images only: put class folders of test images into "
            f"{root / 'test'}, or give {str(parts.train)!r} to measure on the training images"
        )
    return parts.test
