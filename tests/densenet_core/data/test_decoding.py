"""Image files of every kind have the pixels that a viewer shows, in a data set and in a single image alike."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis.prediction.image_files import open_image
from densenet_core.data.folders import read_image

WHITE = (255, 255, 255)
# What is stored of an image that is [[1, 2, 3], [4, 5, 6]] upright, by EXIF's orientation (TIFF 6.0, tag 274)
ORIENTED = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[3, 6], [2, 5], [1, 4]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[4, 1], [5, 2], [6, 3]],
}


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(bits: int, color: int, rows: list[bytes], key: bytes = b"") -> bytes:
    """A PNG by its specification: ``rows`` are the packed pixels of each, ``key`` is the chunk tRNS."""
    width = len(rows[0]) * 8 // (bits * {0: 1, 2: 3, 4: 2, 6: 4}[color])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), bits, color, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + (chunk(b"tRNS", key) if key else b"") + data + chunk(b"IEND", b"")


def saved(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def palette() -> bytes:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return saved(image, transparency=bytes([255, 0, 255]))


def pixels_of(mode: str, *pixels: Any) -> bytes:
    image = Image.new(mode, (len(pixels), 1))
    for x, pixel in enumerate(pixels):
        image.putpixel((x, 0), pixel)
    return saved(image)


def gray(*levels: int) -> list[tuple[int, int, int]]:
    return [(level,) * 3 for level in levels]


KINDS: dict[str, tuple[bytes, list[tuple[int, int, int]]]] = {
    "RGB": (pixels_of("RGB", (1, 2, 3), (250, 0, 9)), [(1, 2, 3), (250, 0, 9)]),
    "RGB, a key": (png(8, 2, [bytes([1, 2, 3, 4, 5, 6])], bytes([0, 4, 0, 5, 0, 6])), [(1, 2, 3), WHITE]),
    "RGB, 16 bits": (png(16, 2, [struct.pack(">6H", *(256 * n + 7 for n in range(6)))]), [(0, 1, 2), (3, 4, 5)]),
    "RGB, 16 bits, a key": (
        png(16, 2, [struct.pack(">6H", *(256 * n for n in range(6)))], struct.pack(">3H", 768, 1024, 1280)),
        [(0, 1, 2), WHITE],
    ),
    "RGBA": (pixels_of("RGBA", (9, 8, 7, 255), (200, 0, 0, 0)), [(9, 8, 7), WHITE]),
    "RGBA, half": (pixels_of("RGBA", (0, 0, 0, 51)), gray(204)),
    "RGBA, 16 bits": (png(16, 6, [struct.pack(">4H", 256, 512, 768, 65_535)]), [(1, 2, 3)]),
    "LA": (pixels_of("LA", (9, 255), (0, 0)), gray(9, 255)),
    "LA, 16 bits": (png(16, 4, [struct.pack(">4H", 2304, 65_535, 0, 0)]), gray(9, 255)),
    "L": (pixels_of("L", 0, 128, 255), gray(0, 128, 255)),
    "L, a key": (png(8, 0, [bytes([0, 128, 9])], bytes([0, 0])), gray(255, 128, 9)),
    "4 bits": (png(4, 0, [bytes([0x0F, 0x5A])]), gray(0, 255, 85, 170)),
    "4 bits, a key": (png(4, 0, [bytes([0x0F, 0x5A])], bytes([0, 5])), gray(0, 255, 255, 170)),
    "2 bits, a key": (png(2, 0, [bytes([0b00011011])], bytes([0, 1])), gray(0, 255, 170, 255)),
    "1 bit": (png(1, 0, [bytes([0b01010101])]), gray(*[0, 255] * 4)),
    "1 bit, a key": (png(1, 0, [bytes([0b01010101])], bytes([0, 0])), gray(*[255] * 8)),
    "16 bits": (png(16, 0, [struct.pack(">4H", 0, 255, 256, 65_535)]), gray(0, 0, 1, 255)),
    "16 bits, a key": (
        png(16, 0, [struct.pack(">4H", 0, 255, 256, 511)], struct.pack(">H", 256)),
        gray(0, 0, 255, 1),
    ),
    "palette": (palette(), [(255, 0, 0), WHITE, (0, 0, 255)]),
}


def decoded_twice(content: bytes, file: Path) -> np.ndarray:
    """The pixels of a file in a data set, which must be those of the single image."""
    file.write_bytes(content)
    of_dataset, single = np.asarray(read_image(str(file))), np.asarray(open_image(file))
    assert np.array_equal(of_dataset, single)
    return of_dataset


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_those_of_the_files_specification(kind: str, tmp_path: Path) -> None:
    content, expected = KINDS[kind]
    assert [tuple(pixel) for pixel in decoded_twice(content, tmp_path / "a.png")[0].tolist()] == expected


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("mode", ["RGB", "L", "I;16", "RGBA"])
def test_images_are_turned_upright(mode: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.array(ORIENTED[orientation], np.uint8) * 10
    image = Image.fromarray(stored.astype(np.uint16) * 256) if mode == "I;16" else Image.fromarray(stored).convert(mode)
    found = decoded_twice(saved(image, exif=exif), tmp_path / "a.png")
    assert (found[:, :, 1] // 10).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_tiff_image_is_turned_once(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    image = Image.fromarray(np.array(ORIENTED[6], np.uint8) * 10)
    (tmp_path / "a.tiff").write_bytes(saved(image, "TIFF", exif=exif))
    assert (np.asarray(read_image(str(tmp_path / "a.tiff")))[:, :, 0] // 10).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0garbage", b"\0"])
def test_damaged_exif_data_do_not_hide_the_image(exif: bytes, tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    plain, damaged = saved(image, "JPEG"), saved(image, "JPEG", exif=exif)
    assert np.array_equal(decoded_twice(damaged, tmp_path / "a.jpg"), decoded_twice(plain, tmp_path / "b.jpg"))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_ordinary_images_are_as_pillow_decodes_them(format: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    content = saved(image, format)
    pillows = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert np.array_equal(decoded_twice(content, tmp_path / "a.png"), pillows)


@pytest.mark.parametrize("read", [lambda file: read_image(str(file)), open_image])
@pytest.mark.parametrize("content", [b"no image", b"", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_said_without_pythons_objects(
    content: bytes, read: Callable[[Path], object], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png'") as caught:
        read(tmp_path / "a.png")
    assert "<" not in str(caught.value) and " at 0x" not in str(caught.value)
