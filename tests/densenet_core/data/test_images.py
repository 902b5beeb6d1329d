from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from densenet_core.data.datasets import load_test_images
from densenet_core.data.images import TensorImages, hash_images


def test_the_digest_changes_with_the_last_image_its_label_the_order_and_the_statistics() -> None:
    pixels = torch.randint(256, (300, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = TensorImages(pixels, torch.arange(300) % 3, ("a", "b", "c"), "digits")
    changed, labels = pixels.clone(), images.labels.clone()
    changed[-1, 0, -1, -1] += 1
    labels[-1] += 1
    others = [
        replace(images, pixels=changed),
        replace(images, labels=labels),
        images.subset(torch.arange(299, -1, -1)),
        replace(images, normalization="none"),
        images.subset(torch.arange(299)),
    ]
    digests = {hash_images(each) for each in (images, *others)}
    assert len(digests) == 6
    assert hash_images(replace(images, pixels=pixels.clone())) in digests


@pytest.mark.parametrize("size", [8, 300])
def test_the_digest_changes_with_a_file_of_a_class_folder(size: int, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(20):
            Image.new("RGB", (size, size), (number, 0, 0)).save(tmp_path / name / f"{number:02}.png")

    def digest() -> bytes:
        return hash_images(load_test_images("folder", tmp_path, "imagenet"))

    before = digest()
    assert digest() == before
    last = tmp_path / "dog" / "19.png"
    Image.new("RGB", (size, size), (0, 200, 0)).save(last)
    os.utime(last, (1, 1))
    after = digest()
    assert after != before
    last.rename(tmp_path / "cat" / "20.png")
    assert digest() not in (before, after)
