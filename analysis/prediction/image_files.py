"""Untrusted image files as inputs of a network: size limits before decoding, cropping, scaling, class names."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analysis.architecture.cost import usual_input_size
from densenet_core import Checkpoint, DataError
from densenet_core.data.decoding import decode_image
from densenet_core.data.images import Images, normalize_pixels
from densenet_core.data.names import CHANNEL_STATISTICS, Normalization
from densenet_core.data.recorded import recorded_data
from densenet_core.errors import own_words
from densenet_core.files import open_file, read_small

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 40_000_000
MAX_NAME = 100  # characters of a class name
FORMATS = ("PNG", "JPEG", "WEBP")
MAX_ASPECT = 4  # of a photograph's sides: the rest lies outside the central crop anyway
IMAGENET_RESIZE = 256 / 224  # shorter side before the central crop (paper, section 4.1)
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class PreparedImage:
    """An image as a network reads it."""

    pixels: Tensor  # (C, H, W) uint8, to be shown beside the original
    images: Tensor  # (1, C, H, W) float32, normalized


def open_image(source: str | os.PathLike[str] | bytes) -> Image:
    """Return a PNG, JPEG or WebP file as an upright Pillow image in RGB.

    The size in bytes and in pixels is checked before anything is decoded. It is decoded as the images of data sets
    are (``decode_image``).

    Args:
        source: a path, or the content of a file.

    Raises:
        DataError: the file does not exist, is too large or damaged, or has another format.
    """
    from PIL import Image

    content, name = _content(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise DataError(
                f"{name} has {width} x {height} pixels: at most {MAX_PIXELS // 1_000_000} megapixels are read"
            )
        return decode_image(image)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{name} has more than {MAX_PIXELS // 1_000_000} megapixels: scale it down") from error
    except Exception as error:  # of any kind: a damaged file can make Pillow's readers raise anything
        reason = own_words(error, "it is cut short or damaged, or of another format")
        raise DataError(f"{name} is not a readable PNG, JPEG or WebP image: {reason}") from error


def _content(source: str | os.PathLike[str] | bytes) -> tuple[bytes, str]:
    if isinstance(source, bytes):
        content, name = source, "the image"
    else:
        path = Path(source)
        name = f"image {str(path)!r}"
        if path.is_dir():
            raise DataError(f"{name} is a folder: give the files in it")
        try:
            with BufferedReader(open_file(path)) as file:
                content = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            raise DataError(f"{name} can't be read: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > MAX_BYTES:
        raise DataError(f"{name} is larger than {MAX_BYTES // 2**20} MB: scale it down")
    return content, name


def prepare_image(image: Image, checkpoint: Checkpoint, normalize: Normalization | None = None) -> PreparedImage:
    """Return an image as the network reads it: cropped to a square, scaled, in gray or color, normalized.

    For ImageNet networks this is the test crop of the paper (section 4.1): shorter side 256, the central 224x224.
    For others it is the central square, scaled to the size of their training images.

    Args:
        image: upright and in RGB, as ``open_image`` returns it.
        normalize: channel statistics; by default as ``channel_statistics`` returns.

    Raises:
        DataError: the network reads neither gray nor color images.
    """
    spec = checkpoint.architecture
    if spec.spatial_dims != 2 or spec.in_channels not in (1, 3):
        raise DataError(
            f"the network reads {spec.spatial_dims}-dimensional inputs, channels: {spec.in_channels}; "
            "an image file is 2-dimensional and has 1 or 3"
        )
    size = input_size(checkpoint)
    square = _square(image.convert("L" if spec.in_channels == 1 else "RGB"), size, spec.stem == "imagenet")
    pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8)
    pixels = pixels.view(size, size, spec.in_channels).permute(2, 0, 1).contiguous()
    return PreparedImage(pixels, normalize_pixels(pixels[None], normalize or channel_statistics(checkpoint)))


def prepare_dataset_image(images: Images, row: int) -> PreparedImage:
    """Return an image of a data set as the network reads it.

    Args:
        images: of small images or a folder of photographs; ``row`` counts from 0.
    """
    batch, _ = next(images.subset(torch.tensor([row])).batches(1))
    normalization: Normalization = getattr(images, "normalization", "none")
    mean, std = (torch.tensor(values)[:, None, None] for values in CHANNEL_STATISTICS[normalization])
    pixels = ((batch[0].cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    return PreparedImage(pixels, batch)


def _square(image: Image, size: int, is_photograph: bool) -> Image:
    from torchvision import transforms

    short = min(image.size)
    side = MAX_ASPECT * short if is_photograph else short  # a line of pixels would be scaled to a very long line
    central = transforms.CenterCrop((min(side, image.height), min(side, image.width)))(image)
    if is_photograph:
        found = transforms.CenterCrop(size)(transforms.Resize(round(size * IMAGENET_RESIZE))(central))
    else:
        found = central if central.size == (size, size) else transforms.Resize((size, size))(central)
    return found  # type: ignore[no-any-return]


def input_size(checkpoint: Checkpoint) -> int:
    """Return the pixels per side of the images that the network was trained on."""
    return usual_input_size(checkpoint.architecture, checkpoint.record)


def channel_statistics(checkpoint: Checkpoint) -> Normalization:
    """Return the channel statistics for the network's images: the record's, else those usual for such a network."""
    recorded = recorded_data(checkpoint.record)
    if recorded is not None:
        own: dict[str, Normalization] = {"svhn": "none", "folder": "imagenet"}
        return recorded.normalize or own.get(recorded.dataset) or recorded.dataset  # type: ignore[return-value]
    if checkpoint.architecture.in_channels == 1:
        return "digits"
    return "imagenet" if checkpoint.architecture.stem == "imagenet" else "cifar10"


def class_names(checkpoint: Checkpoint, file: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
    """Return a name for each class: from a text file, the record or a well-known data set, or else "class 3".

    Args:
        file: a text file in UTF-8 with the name of a class on each line.

    Raises:
        DataError: the file can't be read, or the number of names is not the number of classes.
    """
    number = checkpoint.architecture.num_classes
    if file is not None:
        return _names_in(Path(file), number)
    record = checkpoint.record
    kept = record.get("class_names")
    if isinstance(kept, Sequence) and not isinstance(kept, str) and len(kept) == number:
        return tuple(str(name)[:MAX_NAME] for name in kept)
    recorded = recorded_data(record)
    data = f"{record.get('dataset', '')} {recorded.dataset if recorded else ''}".lower()
    if number == 10 and "digits" in data:
        return tuple("0123456789")
    if number == 10 and "cifar" in data:
        return CIFAR10_CLASSES
    if number == 1000 and checkpoint.architecture.stem == "imagenet":
        from torchvision.models import DenseNet121_Weights

        return tuple(DenseNet121_Weights.IMAGENET1K_V1.meta["categories"])
    return tuple(f"class {index}" for index in range(number))


def class_index(names: Sequence[str], text: str) -> int:
    """Return the class of a name, or of a number.

    >>> class_index(("cat", "dog"), "dog"), class_index(("cat", "dog"), "0")
    (1, 0)

    Raises:
        DataError: there is no such class.
    """
    if text in names:
        return list(names).index(text)
    if text.isdecimal() and len(text) < 10 and int(text) < len(names):
        return int(text)
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    raise DataError(f"class {text!r} is not a class of the network: it has {shown}, or 0 to {len(names) - 1}")


def _names_in(file: Path, number: int) -> tuple[str, ...]:
    try:
        content = read_small(file, MAX_BYTES)
    except (OSError, ValueError) as error:
        raise DataError(
            f"class names {str(file)!r} can't be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    return parse_names(content, number, str(file))


def parse_names(content: bytes, number: int, file: str) -> tuple[str, ...]:
    """Return the class names of a text file's content, one on each line.

    >>> parse_names(b"cat\\ndog\\n", 2, "names.txt")
    ('cat', 'dog')

    Args:
        number: of classes.
        file: its name, for errors.

    Raises:
        DataError: it is not text in UTF-8, or has another number of names.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"class names {file!r} can't be read: save them as text in UTF-8") from error
    names = tuple(line.strip()[:MAX_NAME] for line in lines if line.strip())
    if len(names) != number:
        raise DataError(f"{file!r} has {len(names)} class names, the network predicts {number} classes")
    return names
