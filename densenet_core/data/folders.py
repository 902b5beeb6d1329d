"""Class folders of images; the files in them may be anything: pipes, loops of links, bombs, millions of other files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any

from torchvision.datasets import ImageFolder

from densenet_core.errors import DataError, first_line
from densenet_core.files import Folders, only_in, open_file, scan_folder

MAX_PIXELS = 64_000_000  # of an image; ImageNet's largest has 25 million
MAX_FILE_BYTES = 256 * 2**20
MAX_CLASSES = 100_000
MAX_IMAGES = 20_000_000
MAX_OTHER_FILES = 100_000  # files that are not images, which a wrong folder is full of
MAX_DEPTH = 16  # of folders in a class folder


class ClassFolders(ImageFolder):  # type: ignore[misc]
    """Torchvision's ``ImageFolder``, in the same order, with limits on the content of the folders.

    Raises:
        DataError: the folder holds too many classes or files.
    """

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        """Return the names of the class folders, and their numbers."""
        names: list[str] = []
        with scan_folder(directory) as entries:
            for entry in entries:
                names += [entry.name] if _is_folder(entry) else []
                if len(names) > MAX_CLASSES:
                    raise DataError(f"folder {directory!r} holds more than {MAX_CLASSES:,} folders: give class folders")
        if not names:
            raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
        return sorted(names), {name: number for number, name in enumerate(sorted(names))}

    @staticmethod
    def make_dataset(
        directory: str, class_to_idx: dict[str, int], extensions: tuple[str, ...], *_: Any, **__: Any
    ) -> list[tuple[str, int]]:
        """Return the path and the class of every image, class by class."""
        samples: list[tuple[str, int]] = []
        for name in sorted(class_to_idx):
            before = len(samples)
            files = images_in(Path(directory) / name, extensions)
            samples += ((file, class_to_idx[name]) for file in files)
            if len(samples) == before:
                raise FileNotFoundError(f"Found no valid file for the classes {name}.")
            if len(samples) > MAX_IMAGES:
                raise DataError(f"folder {directory!r} holds more than {MAX_IMAGES:,} images: split it")
        return samples


def images_in(folder: Path, extensions: tuple[str, ...]) -> Iterator[str]:
    """Yield the paths of the files with these endings, in torchvision's order; links are followed, each folder once.

    Raises:
        DataError: the folder holds too many other files, or is too deep.
    """
    found: list[tuple[str, list[str]]] = []
    num_others = 0
    for root, folders, files in _walk(str(folder)):
        if root.count(os.sep) - str(folder).count(os.sep) >= MAX_DEPTH and folders:
            raise DataError(f"folder {str(folder)!r} is more than {MAX_DEPTH} folders deep: give class folders")
        images = [name for name in files if name.lower().endswith(extensions)]
        num_others += len(files) - len(images)
        if num_others > MAX_OTHER_FILES:
            raise DataError(
                f"folder {str(folder)!r} holds more than {MAX_OTHER_FILES:,} files that are not images: "
                "give a folder with a folder of images per class"
            )
        found.append((root, images))
    for root, images in sorted(found):
        yield from (os.path.join(root, name) for name in sorted(images))


def _walk(top: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """``os.walk`` with links followed, which visits no folder twice."""
    places: set[tuple[int, int]] = set()
    waiting = [top]
    while waiting:
        root = waiting.pop()
        about = os.stat(root)
        if (place := (about.st_dev, about.st_ino)) in places:
            continue
        places.add(place)
        names: dict[bool, list[str]] = {True: [], False: []}
        with scan_folder(root) as entries:
            for entry in entries:
                names[_is_folder(entry)].append(entry.name)
        yield root, names[True], names[False]
        waiting += (os.path.join(root, name) for name in reversed(names[True]))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def read_image(path: str, folders: Folders | None = None) -> Any:
    """Return an image file as a Pillow image in RGB; of an animation the first frame, of 16-bit gray the upper 8 bits.

    Args:
        folders: the image must lie in one of them, as ``only_in`` says.

    Raises:
        DataError: it is damaged, not a regular file, too large, or its pixels are floating-point numbers.
    """
    from PIL import Image

    try:
        with only_in(folders), _open_image(path) as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is lower
            with Image.open(stream) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ValueError(
                        f"it has {image.width:,} x {image.height:,} pixels, at most {MAX_PIXELS:,} are read"
                    )
                return _in_rgb(image)
    except Exception as error:  # damaged files make Pillow's readers raise any kind
        raise DataError(f"image {path!r} can't be read: {first_line(error)}") from error


def _open_image(path: str) -> BufferedReader[FileIO]:
    stream = BufferedReader(open_file(path))
    size = os.fstat(stream.fileno()).st_size
    if size > MAX_FILE_BYTES:
        stream.close()
        raise ValueError(f"it has {size:,} bytes, at most {MAX_FILE_BYTES:,} are read")
    return stream


def _in_rgb(image: Any) -> Any:
    import numpy as np
    from PIL import Image

    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers: save it with 8 bits per channel")
    if not image.mode.startswith("I"):
        return image.convert("RGB")
    gray = np.asarray(image).astype(np.int64)  # Pillow itself would cut values above 255
    if gray.min() < 0 or gray.max() > 65_535:
        raise ValueError("its pixels are not in the range 0..65535: save it with 8 or 16 bits per channel")
    return Image.fromarray((gray >> 8).astype(np.uint8)).convert("RGB")
