"""Image files of every kind, and those that are meant to hurt."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from analysis.prediction.image_files import (
    CIFAR10_CLASSES,
    MAX_BYTES,
    channel_statistics,
    class_index,
    class_names,
    open_image,
    prepare_image,
)
from densenet_core import Checkpoint, DataError, DenseNetSpec, load_zoo
from tests.analysis.prediction.networks import DENSE, checkpoint_of


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG of this size whose pixels are not there: the size alone is read from it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return start + struct.pack(">I", 1000) + b"IDAT"


@pytest.mark.parametrize("size", [(6400, 6400), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_by_their_size(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(DataError, match="megapixels"):
        open_image(png_header(*size))


def test_files_that_are_too_large_or_no_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="larger than 20 MB"):
        open_image(b"\x89PNG" + bytes(MAX_BYTES))
    for content in (b"", b"GIF89a" + bytes(30), b"<svg></svg>", encoded(Image.new("RGB", (8, 8)))[:40]):
        with pytest.raises(DataError, match="not a readable PNG, JPEG or WebP image"):
            open_image(content)
    with pytest.raises(DataError, match="not a readable"):
        open_image(encoded(Image.new("RGB", (8, 8)), "TIFF"))
    with pytest.raises(DataError, match="can't be read: No such file"):
        open_image(tmp_path / "none.png")


def test_orientation_transparency_and_gray() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert open_image(encoded(Image.new("RGB", (40, 20)), "JPEG", exif=exif)).size == (20, 40)
    clear = open_image(encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 0))))
    assert clear.mode == "RGB" and clear.getpixel((0, 0)) == (255, 255, 255)
    deep = Image.fromarray(np.full((4, 4), 32768, dtype=np.uint16))
    assert open_image(encoded(deep)).getpixel((0, 0)) == (128, 128, 128)
    assert open_image(encoded(Image.new("L", (4, 4), 7), "WEBP", lossless=True)).getpixel((0, 0)) == (7, 7, 7)
    assert open_image(encoded(Image.new("P", (4, 4), 0))).mode == "RGB"
    assert open_image(encoded(Image.new("CMYK", (4, 4)), "JPEG")).mode == "RGB"


def test_what_the_network_sees() -> None:
    checkpoint = checkpoint_of(DENSE["BC"])
    pixels = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    seen = prepare_image(Image.fromarray(pixels), checkpoint, "none")
    assert np.array_equal(seen.pixels.permute(1, 2, 0), pixels)  # of the right size: untouched
    torch.testing.assert_close(seen.images[0], seen.pixels / 255)
    wide = np.zeros((32, 96, 3), dtype=np.uint8)
    wide[:, 32:64] = 200
    assert prepare_image(Image.fromarray(wide), checkpoint).pixels[:, 16, 16].tolist() == [200] * 3
    large = checkpoint_of(DENSE["ImageNet stem"])
    assert prepare_image(Image.new("RGB", (300, 500)), large).images.shape == (1, 3, 224, 224)
    gray = Checkpoint(DenseNetSpec((1,), 2, 2, in_channels=1), {}, {"image_size": 8})
    assert prepare_image(Image.new("RGB", (30, 50), (255, 0, 0)), gray).pixels.shape == (1, 8, 8)
    with pytest.raises(DataError, match="the network reads 3-dimensional inputs, channels: 3"):
        prepare_image(Image.new("RGB", (30, 50)), checkpoint_of(DENSE["volumes"]))


def test_the_imagenet_crop_is_torchvisions() -> None:
    from torchvision import transforms

    generator = np.random.default_rng(0)
    image = Image.fromarray(generator.integers(0, 255, (400, 300, 3), dtype=np.uint8))
    expected = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.PILToTensor()])(image)
    seen = prepare_image(image, checkpoint_of(DENSE["ImageNet stem"])).pixels
    assert torch.equal(seen, expected)
    assert prepare_image(Image.new("RGB", (40_000, 1)), checkpoint_of(DENSE["ImageNet stem"])).pixels.shape == (
        3,
        224,
        224,
    )


def test_names_of_classes(tmp_path: Path) -> None:
    assert class_names(load_zoo("densenet-40-12-digits")) == tuple("0123456789")
    assert class_names(load_zoo("densenet-bc-40-12-cifar10-jpeg")) == CIFAR10_CLASSES
    checkpoint = checkpoint_of(DENSE["BC"])
    assert class_names(checkpoint)[3] == "class 3"
    file = tmp_path / "names.txt"
    file.write_text("개\ncat\nc\nd\ne\n", encoding="utf-8")
    assert class_names(checkpoint, file)[0] == "개"
    file.write_text("cat\n")
    with pytest.raises(DataError, match="has 1 class names, the network predicts 5 classes"):
        class_names(checkpoint, file)
    imagenet = class_names(Checkpoint(DenseNetSpec.imagenet("121"), {}))
    assert len(imagenet) == 1000 and imagenet[0] == "tench"
    with pytest.raises(DataError, match="class 'cow' is not a class of the network"):
        class_index(CIFAR10_CLASSES, "cow")
    assert class_index(CIFAR10_CLASSES, "frog") == 6


def test_ten_classes_trained_by_the_recipe_for_cifar_are_not_those_of_cifar() -> None:
    spec = DenseNetSpec((2, 2), 4, 8, num_classes=10)
    recipe = {"recipe": "cifar", "dataset": "folder", "normalize": "cifar10"}
    assert class_names(Checkpoint(spec, {}, {"dataset": "tenfold", "recipe": recipe}))[0] == "class 0"
    record = {"dataset": "tenfold", "recipe": recipe, "class_names": [*"abcdefghij"]}
    assert class_names(Checkpoint(spec, {}, record)) == tuple("abcdefghij")


def test_channel_statistics_of_the_record() -> None:
    assert channel_statistics(load_zoo("densenet-bc-40-12-cifar10-jpeg")) == "cifar10"
    assert channel_statistics(load_zoo("densenet-40-12-digits")) == "digits"
    assert channel_statistics(checkpoint_of(DENSE["ImageNet stem"])) == "imagenet"
