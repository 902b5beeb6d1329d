"""Class folders of images; the files in them may be anything: pipes, loops of links, bombs, millions of other files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any

from PIL import Image
from torchvision.datasets import ImageFolder

from densenet_core.data.decoding import decode_image
from densenet_core.errors import DataError, own_words
from densenet_core.files import Folders, only_in, open_file, scan_folder

MAX_PIXELS = 64_000_000  # of an image; ImageNet's largest has 25 million
MAX_FILE_BYTES = 256 * 2**20
MAX_CLASSES = 100_000
MAX_IMAGES = 20_000_000
MAX_OTHER_FILES = 100_000  # files that are not images, which a wrong folder is full of
MAX_DEPTH = 16  # of folders in a class folder
TRAINING_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation", "eval", "evaluation", "dev")  # the first is taken


@dataclass(frozen=True)
class Parts:
    """The parts of a data set in a folder, each of class folders; None for one that is missing."""

    train: Path | None
    test: Path | None


def find_parts(root: Path) -> Parts | None:
    """Return the parts in a folder of images, or None where it holds class folders itself, or can't be read.

    Folders are parts by their names, in upper or lower case. A single one is a class all the same where it is beside
    others and has no folders in it: CIFAR-100 has a class "train".
    """
    try:
        named = {name.lower(): root / name for name in reversed(_folders_in(root))}
        found = [path for name, path in named.items() if name in (*TRAINING_NAMES, *TEST_NAMES)]
        if not found or (len(found) == 1 and len(named) > 1 and not _folders_in(found[0])):
            return None
        train, tests = ([named[name] for name in names if name in named] for names in (TRAINING_NAMES, TEST_NAMES))
        labeled = [path for path in tests if _folders_in(path)]  # ImageNet's test images have no labels
    except OSError:
        return None
    return Parts(next(iter(train), None), next(iter(labeled or tests), None))


def _folders_in(folder: Path) -> list[str]:
    with scan_folder(folder) as entries:
        return sorted(entry.name for entry in entries if _is_folder(entry))


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
            raise FileNotFoundError("there is no folder in it")
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
                raise FileNotFoundError(f"folder {name!r} holds no image")
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
    """Walk as ``os.walk`` with links followed, but visit no folder twice."""
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
    """Return an image file as a Pillow image in RGB, as ``decode_image`` makes it.

    Args:
        folders: the image must lie in one of them, as ``only_in`` says.

    Raises:
        DataError: it is damaged, not a regular file, too large, or its pixels are floating-point numbers.
    """
    try:
        with only_in(folders), _open_image(path) as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is lower
            with Image.open(stream) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(
                        f"it has {image.width:,} x {image.height:,} pixels, at most {MAX_PIXELS:,} are read"
                    )
                return decode_image(image)
    except Image.DecompressionBombError as error:
        raise DataError(f"image {path!r} can't be read: it has more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:  # damaged files make Pillow's readers raise any kind
        reason = own_words(error, "it is cut short or damaged, or of a format that is not read")
        raise DataError(f"image {path!r} can't be read: {reason}") from error


def _open_image(path: str) -> BufferedReader[FileIO]:
    stream = BufferedReader(open_file(path))
    size = os.fstat(stream.fileno()).st_size
    if size > MAX_FILE_BYTES:
        stream.close()
        raise DataError(f"it has {size:,} bytes, at most {MAX_FILE_BYTES:,} are read")
    return stream
