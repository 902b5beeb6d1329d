"""Class folders that hold what nobody expects: each is read right, or named within limits of time and memory."""

from __future__ import annotations

import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from densenet_core.data import folders
from densenet_core.data.folders import ClassFolders, read_image
from densenet_core.data.image_folders import load_folder
from densenet_core.errors import DataError


def png(width: int, height: int, data: bytes) -> bytes:
    """A gray PNG that says it has these many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def write(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (10 * number, 0, 0)).save(folder / name)
    return folder


def refused(file: Path, message: str) -> None:
    start = time.monotonic()
    with pytest.raises(DataError, match=message) as caught:
        read_image(str(file))
    assert time.monotonic() - start < 5
    assert file.name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [(30_000, 30_000), (2**31 - 1, 2**31 - 1), (64_000_001, 1)])
def test_a_decompression_bomb_is_refused_by_its_header(size: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(*size, bytes(100)))
    refused(tmp_path / "bomb.png", "pixels")


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.png").open("wb") as stream:
        stream.truncate(folders.MAX_FILE_BYTES + 1)  # takes no place on the disk
    refused(tmp_path / "large.png", "268,435,457 bytes, at most 268,435,456")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_pipes_and_devices_are_no_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "not a regular file")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    refused(tmp_path / "zero.png", "not a regular file")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    refused(tmp_path / "gone.png", "No such file")
    (tmp_path / "itself.png").symlink_to(tmp_path / "itself.png")
    refused(tmp_path / "itself.png", "symbolic links")


def test_a_cut_photograph_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    refused(tmp_path / "cut.jpg", "cut short")


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_gray_keeps_its_upper_bits(suffix: str, tmp_path: Path) -> None:
    values = np.array([[0, 255, 256, 32_768, 65_535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    found = np.asarray(read_image(str(tmp_path / f"a.{suffix}")))
    assert found[0, :, 0].tolist() == (values[0] // 256).tolist() == [0, 0, 1, 128, 255]


def test_print_colors_and_animations_are_read(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "red.jpg")
    assert read_image(str(tmp_path / "red.jpg")).getpixel((4, 4))[0] > 200
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    for name in ("a.gif", "a.webp", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert read_image(str(tmp_path / name)).getpixel((4, 4))[2] < 40  # the first frame
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "f.tiff")
    refused(tmp_path / "f.tiff", "floating-point")


def test_files_are_in_torchvisions_order(tmp_path: Path) -> None:
    write(tmp_path, "b/2.png", "b/10.png", "b/deep/1.PNG", "b/deep/er/3.jpg", "a/x.png", "a-b/y.png", "a/z/1.png")
    (tmp_path / "a" / "notes.txt").write_text("")
    theirs, ours = ImageFolder(str(tmp_path)), ClassFolders(str(tmp_path))
    assert ours.samples == theirs.samples
    assert ours.classes == theirs.classes and ours.targets == theirs.targets


@pytest.mark.skipif(os.name == "nt", reason="needs links")
def test_loops_of_links_end(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png", "b/2.png")
    for name in ("one", "two", "three"):
        (tmp_path / "a" / name).symlink_to(tmp_path / "a")  # followed without care: 3^40 paths
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    start = time.monotonic()
    found = [Path(path).resolve().name for path, _ in ClassFolders(str(tmp_path)).samples]
    assert time.monotonic() - start < 5
    assert sorted(set(found)) == ["1.png", "2.png"] and len(found) == 3  # a/1, b/2, and a/1 again below b/up


def test_folders_that_are_too_large_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a/1.png", "b/2.png", "a/" + "d/" * 20 + "3.png")
    with pytest.raises(DataError, match="more than 16 folders deep"):
        load_folder(tmp_path, "none")
    for limit, message in (
        ("MAX_CLASSES", "more than 1 folders"),
        ("MAX_IMAGES", "more than 1 images"),
        ("MAX_OTHER_FILES", "more than 1 files that are not images"),
    ):
        folder = write(tmp_path / limit, "a/1.png", "b/2.png")
        for name in "xyz":
            (folder / "a" / name).write_text("")
        with monkeypatch.context() as changed:
            changed.setattr(folders, limit, 1)
            with pytest.raises(DataError, match=message):
                load_folder(folder, "none")


def test_images_that_do_not_fit_into_memory_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("densenet_core.data.image_folders.MAX_BYTES_IN_MEMORY", 8 * 8 * 3)
    with pytest.raises(DataError, match="the 2 images of folder"):
        load_folder(write(tmp_path, "a/1.png", "b/2.png"), "none")


def test_a_file_in_the_place_of_a_folder_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    for name, what in (("a", "is a file"), ("b", "does not exist")):
        with pytest.raises(DataError, match=f"{what}: give a folder with a folder of images per class"):
            load_folder(tmp_path / name, "none")
