from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from densenet_core.data import digits
from densenet_core.data.augmentation import CIFAR_AUGMENTATION, Augmentation, augment_images, draw_moves
from densenet_core.data.batching import Shard
from densenet_core.data.datasets import load_splits, load_test_images
from densenet_core.data.image_folders import load_folder
from densenet_core.data.images import FolderImages, TensorImages
from densenet_core.errors import DataError
from densenet_core.networks.build import create_model
from densenet_core.training.evaluation import evaluate


def tensors(images: object) -> TensorImages:
    assert isinstance(images, TensorImages)
    return images


def test_digits_are_split_once_and_for_all() -> None:
    splits = load_splits("digits", validation=True)
    sizes = [len(part) for part in (splits.train, splits.validation, splits.test) if part is not None]
    assert sizes == [1257, 185, 355]
    assert sum(sizes) == 1797
    assert len(load_splits("digits").train) == 1442  # without validation images
    assert tensors(splits.test).labels.bincount().tolist() == [35, 36, 35, 36, 36, 36, 36, 35, 34, 36]


def test_digits_are_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.datasets import load_digits

    ours, theirs = digits.read_digits(), load_digits()
    assert np.array_equal(ours[:, :64].reshape(-1, 8, 8), theirs.images)
    assert np.array_equal(ours[:, 64], theirs.target)
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    assert np.array_equal(digits.read_digits(), ours)


def test_no_image_is_in_two_parts() -> None:
    splits = load_splits("digits", validation=True)
    parts = [{p.numpy().tobytes() for p in tensors(s).pixels} for s in (splits.train, splits.validation, splits.test)]
    assert not parts[0] & parts[2]
    assert not parts[0] & parts[1]
    assert not parts[1] & parts[2]


def test_normalised_images_have_mean_0_and_deviation_1() -> None:
    images, _ = next(load_splits("digits").train.batches(2000))
    assert abs(images.mean()) < 2e-3
    assert abs(images.std() - 1) < 2e-3


def test_an_epoch_is_all_images_once_and_the_seed_decides_the_order() -> None:
    train = load_splits("digits").train
    epochs = [
        torch.cat([labels for _, labels in train.batches(64, torch.Generator().manual_seed(seed))])
        for seed in (1, 1, 2)
    ]
    assert torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], epochs[2])
    assert torch.equal(epochs[0].bincount(), tensors(train).labels.bincount())


def test_augmentation_mirrors_and_shifts_with_zeros() -> None:
    image = torch.arange(1.0, 26).view(1, 1, 5, 5).repeat(200, 1, 1, 1)
    kind = Augmentation(mirror=True, shift=1)
    out = augment_images(image, kind, draw_moves(kind, 200, torch.Generator().manual_seed(0)))
    padded = torch.nn.functional.pad(image[:1], (1,) * 4)
    flipped = torch.nn.functional.pad(image[:1].flip(3), (1,) * 4)
    possible = {
        whole[0, 0, top : top + 5, left : left + 5].numpy().tobytes()
        for whole in (padded, flipped)
        for top in range(3)
        for left in range(3)
    }
    assert {o[0].numpy().tobytes() for o in out} == possible  # all 18, and nothing else


@pytest.mark.parametrize("batch_size", [64, 47, 1442, 5000])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_see_every_image_once_an_epoch_and_what_one_alone_would_see(batch_size: int, world_size: int) -> None:
    train = load_splits("digits", augment=True).train
    epoch = [
        list(train.batches(batch_size, torch.Generator().manual_seed(5), Shard(rank, world_size)))
        for rank in range(world_size)
    ]
    whole = list(train.batches(batch_size, torch.Generator().manual_seed(5), Shard()))
    assert sum(len(labels) for _, labels in whole) == len(train)
    for part in range(2):  # images, labels
        together = torch.cat([torch.cat([batch[part] for batch in step]) for step in zip(*epoch, strict=True)])
        assert torch.equal(together, torch.cat([batch[part] for batch in whole]))
    assert min(len(labels) for rank in epoch for _, labels in rank) >= 2


def test_a_last_batch_of_one_image_joins_the_one_before_for_training_alone() -> None:
    images = tensors(load_splits("digits").test).subset(torch.arange(9))
    generator = torch.Generator().manual_seed(0)
    assert [len(labels) for _, labels in images.batches(4, generator)] == [4, 5]
    assert [len(labels) for _, labels in images.batches(4)] == [4, 4, 1]
    two = [[len(labels) for _, labels in images.batches(6, generator, Shard(rank, 2))] for rank in range(2)]
    assert two == [[5], [4]]  # three images would leave one process with one


def write_cifar10(root: Path, per_batch: int) -> None:
    """CIFAR-10's files as they are on disk, with few images; an image's first pixel is its number."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for number, name in enumerate(names):
        data = np.zeros((per_batch, 3072), np.uint8)
        data[:, 0] = number
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": [i % 10 for i in range(per_batch)]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class{i}" for i in range(10)]}))


@pytest.mark.slow
def test_cifar10_from_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    write_cifar10(tmp_path, per_batch=10_000)
    splits = load_splits("cifar10", tmp_path, augment=True, validation=True)
    assert splits.validation is not None
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [45_000, 5_000, 10_000]
    assert tensors(splits.validation).pixels[:, 0, 0, 0].unique().tolist() == [4]  # the last of the training images
    assert tensors(splits.test).pixels[:, 0, 0, 0].unique().tolist() == [5]
    assert tensors(splits.train).augmentation == CIFAR_AUGMENTATION
    assert tensors(splits.test).augmentation is None
    assert splits.train.class_names[3] == "class3"


def test_svhn_trains_on_the_extra_set_too_and_divides_by_255(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", lambda *_: True)
    for name, count in (("train", 7000), ("extra", 500), ("test", 100)):
        pixels = np.full((32, 32, 3, count), 255, np.uint8)
        savemat(tmp_path / f"{name}_32x32.mat", {"X": pixels, "y": np.arange(count)[:, None] % 10 + 1})
    splits = load_splits("svhn", tmp_path, validation=True)
    assert splits.validation is not None
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [1500, 6000, 100]
    images, labels = next(splits.test.batches(10))
    assert images.max() == images.min() == 1.0
    assert labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_a_missing_data_set_says_how_to_get_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{name} is not under .*datasets\.{name.upper()}\(.*download=True"):
        load_splits(name, tmp_path)


def write_folder(root: Path, size: int, per_class: int = 3) -> None:
    for label, color in enumerate(("red", "green")):
        (root / color).mkdir(parents=True)
        for i in range(per_class):
            Image.new("RGB", (size, size), color).save(root / color / f"{label}{i}.png")


def test_class_folders_of_small_images_lie_in_memory(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_folder(tmp_path / part, size=32)
    splits = load_splits("folder", tmp_path, normalize="none")
    images, labels = next(splits.test.batches(8))
    assert splits.test.class_names == ("green", "red")
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images[3, :, 0, 0].tolist() == [1.0, 0.0, 0.0]
    assert splits.title == tmp_path.name


def test_class_folders_of_photographs_are_cropped_to_224(tmp_path: Path) -> None:
    write_folder(tmp_path, size=300)
    images = load_folder(tmp_path, "imagenet")
    assert isinstance(images, FolderImages)
    batch, labels = next(images.batches(4))
    assert batch.shape == (4, 3, 224, 224)
    assert labels.tolist() == [0, 0, 0, 1]


@pytest.mark.slow
def test_ten_crops_are_the_corners_the_center_and_their_mirror_images(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    ramp = np.linspace(0, 255, 256 * 256, dtype=np.uint8).reshape(256, 256)
    Image.fromarray(np.stack([ramp, ramp.T, ramp[::-1]], axis=2)).save(tmp_path / "one" / "a.png")
    whole, _ = next(load_test_images("folder", tmp_path, "none", crops=10).batches(4))
    single, _ = next(load_test_images("folder", tmp_path, "none").batches(4))
    assert whole.shape == (1, 10, 3, 224, 224)
    assert torch.equal(whole[0, 4], single[0])  # the fifth is the center
    assert torch.equal(whole[0, 5:], whole[0, [1, 0, 3, 2, 4]].flip(3))  # the same places of the mirrored picture
    picture = torch.from_numpy(ramp / 255).float()
    for crop, (top, left) in zip(whole[0, :4, 0], ((0, 0), (0, 32), (32, 0), (32, 32)), strict=True):
        assert torch.allclose(crop, picture[top : top + 224, left : left + 224])


@pytest.mark.slow
def test_an_images_scores_are_the_mean_over_its_crops(tmp_path: Path) -> None:
    write_folder(tmp_path, size=300, per_class=1)
    model = create_model("densenet-10-4", num_classes=2).eval()
    crops = load_test_images("folder", tmp_path, crops=10)
    batch, labels = next(crops.batches(2))
    scores = torch.stack([model(image).mean(0) for image in batch])
    result = evaluate(model, crops)
    assert result.loss == pytest.approx(torch.nn.functional.cross_entropy(scores, labels).item(), rel=1e-5)
    assert result.top1_error == pytest.approx(100 * (scores.argmax(1) != labels).float().mean().item())
    assert result.num_images == 2


def test_ten_crops_are_for_photographs() -> None:
    with pytest.raises(DataError, match="crops 10 is for photographs"):
        load_test_images("digits", crops=10)
    with pytest.raises(DataError, match="crops 5 must be 1 or 10"):
        load_test_images("digits", crops=5)


@pytest.mark.slow
def test_photographs_are_augmented_by_the_seed(tmp_path: Path) -> None:
    write_folder(tmp_path, size=300)
    images = load_folder(tmp_path, "imagenet", augment=True)
    first, again, other = (
        next(images.batches(6, torch.Generator().manual_seed(seed), Shard()))[1] for seed in (0, 0, 3)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    parts = [list(images.batches(4, torch.Generator().manual_seed(0), Shard(rank, 2))) for rank in range(2)]
    assert [len(labels) for _, labels in parts[0] + parts[1]] == [3, 3]  # 4 and 2 would leave one process with one


def test_wrong_folders_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_test_images("folder", tmp_path / "nothing")
    with pytest.raises(DataError, match="contains no class folders"):
        load_test_images("folder", tmp_path)
    with pytest.raises(DataError, match="put class folders of images into"):
        load_splits("folder", tmp_path)
    write_folder(tmp_path / "train", size=16)
    write_folder(tmp_path / "test", size=16)
    with pytest.raises(DataError, match="contains train and test, the parts of a data set: give one of them"):
        load_folder(tmp_path, "none")
    with pytest.raises(DataError, match="unknown normalize 'imagnet': choose from cifar10"):
        load_test_images("folder", tmp_path / "test", "imagnet")
    (tmp_path / "test" / "red" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.png' can't be read"):
        load_test_images("folder", tmp_path / "test")


@pytest.mark.slow
@pytest.mark.parametrize("size", [32, 80])  # in memory, and read by workers
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_image_is_named(damage: str, num_workers: int, size: int, tmp_path: Path) -> None:
    write_folder(tmp_path, size)
    file = tmp_path / "red" / "01.png"
    content = file.read_bytes()
    file.write_bytes(content[:60] if damage == "cut" else content[:20] + b"\xff" * 40)
    with pytest.raises(DataError, match=r"^image '.*01\.png' can't be read: [^\n]+$"):
        images = load_test_images("folder", tmp_path).to(torch.device("cpu"), num_workers)
        list(images.batches(4))


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown data set 'mnist': choose from digits"):
        load_splits("mnist")
    with pytest.raises(DataError, match="normalize 'none' is only for the data set folder"):
        load_splits("digits", normalize="none")
    with pytest.raises(DataError, match="validation is not available for the data set folder"):
        load_splits("folder", tmp_path, validation=True)
