"""One rule for what the folder of a data set may be: class folders, or parts of class folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from densenet_core.data.datasets import load_measuring_splits, load_splits, load_test_images
from densenet_core.data.folders import find_parts
from densenet_core.data.image_folders import load_folder
from densenet_core.data.images import TensorImages
from densenet_core.errors import DataError
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.training.evaluation import check_fit

CLASSES = ("cat", "dog")
NUMBER = {"train": 4, "training": 4, "test": 3, "val": 2, "valid": 2, "validation": 2}  # images of a class


def write(root: Path, parts: Sequence[str], classes: Sequence[str] = CLASSES) -> Path:
    """Parts with a different number of images each; "" for class folders directly."""
    for part in parts:
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for number in range(NUMBER.get(part.lower(), 5)):
                Image.new("RGB", (8, 8)).save(root / part / name / f"{number}.png")
    return root


@pytest.mark.parametrize(
    ("parts", "train", "test"),
    [
        (("train", "test"), 8, 6),
        (("train", "val"), 8, 4),
        (("train", "val", "test"), 8, 6),
        (("train", "valid", "test"), 8, 6),
        (("training", "validation"), 8, 4),
        (("Train", "VAL"), 8, 4),
        (("train", "test", "notes"), 8, 6),
    ],
)
def test_parts_are_used_for_what_they_are(parts: Sequence[str], train: int, test: int, tmp_path: Path) -> None:
    write(tmp_path, parts)
    splits, measuring = load_splits("folder", tmp_path), load_measuring_splits("folder", tmp_path)
    assert [len(splits.train), len(splits.test)] == [len(measuring.train), len(measuring.test)] == [train, test]
    evaluated = load_test_images("folder", tmp_path)
    assert (len(evaluated), evaluated.class_names) == (test, CLASSES)


def test_class_folders_are_measured_whole_and_halved_to_choose_by(tmp_path: Path) -> None:
    write(tmp_path, [""])
    assert len(load_test_images("folder", tmp_path)) == 10
    halves = load_measuring_splits("folder", tmp_path)
    assert (len(halves.train), len(halves.test), halves.title) == (5, 5, tmp_path.name)
    with pytest.raises(DataError, match="put class folders of images into"):
        load_splits("folder", tmp_path)


@pytest.mark.parametrize("parts", [("test",), ("val", "test")])
def test_test_images_alone_are_measured_and_not_trained_on(parts: Sequence[str], tmp_path: Path) -> None:
    write(tmp_path, parts)
    assert len(load_test_images("folder", tmp_path)) == 6
    for load in (load_splits, load_measuring_splits):
        with pytest.raises(DataError, match="put class folders of images into"):
            load("folder", tmp_path)


def test_training_images_alone_are_measured_where_they_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path, ["train"])
    with pytest.raises(DataError, match=r"contains training images only: .* or give '.*train' to measure"):
        load_test_images("folder", tmp_path)
    assert len(load_test_images("folder", tmp_path / "train")) == 8


def test_a_class_with_the_name_of_a_part_is_a_class(tmp_path: Path) -> None:
    names = ("plane", "train")  # of CIFAR-100's classes
    write(tmp_path, [""], names)
    assert find_parts(tmp_path) is None
    assert load_test_images("folder", tmp_path).class_names == names


@pytest.mark.parametrize("names", [("train", "val", "test"), ("train", "test", "car"), ("train",), ("valid", "test")])
def test_parts_without_classes_are_never_read_as_classes(names: Sequence[str], tmp_path: Path) -> None:
    write(tmp_path, [""], names)
    for load in (load_test_images, load_splits, load_measuring_splits):
        with pytest.raises(DataError, match=r"contains no class folders|training images only|put class folders"):
            load("folder", tmp_path)
    with pytest.raises(DataError, match="parts of a data set: give one of them"):
        load_folder(tmp_path, "none")


def test_imagenets_test_images_without_labels_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, ["train", "val"])
    write(tmp_path, [""], ["test"])
    assert len(load_splits("imagenet", tmp_path).test) == 4


@pytest.mark.parametrize("size", [(48, 3), (16, 48), (64, 63)])
def test_small_images_that_are_not_square_are_refused(size: tuple[int, int], tmp_path: Path) -> None:
    for name in CLASSES:
        (tmp_path / name).mkdir()
        Image.new("RGB", size).save(tmp_path / name / "0.png")
    with pytest.raises(DataError, match=rf"0\.png' has {size[0]} x {size[1]} pixels: .* must be square"):
        load_test_images("folder", tmp_path)
    spec = DenseNetSpec((2,), 2, 4, num_classes=2)
    pixels = torch.zeros(2, 3, size[1], size[0], dtype=torch.uint8)
    with pytest.raises(DataError, match=f"the images have {size[0]} x {size[1]} pixels: crop or pad them to squares"):
        check_fit(spec, TensorImages(pixels, torch.arange(2), CLASSES, "none"))


def test_parts_of_other_classes_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, ["train"])
    write(tmp_path, ["test"], ("bird", "cat", "dog"))
    with pytest.raises(DataError, match=r"train and .*test differ, for example in 'bird'"):
        load_splits("folder", tmp_path)


def test_one_class_is_no_task(tmp_path: Path) -> None:
    write(tmp_path, ["train", "test"], ["cat"])
    with pytest.raises(DataError, match="one class folder, 'cat': there is nothing to tell apart"):
        load_splits("folder", tmp_path)
