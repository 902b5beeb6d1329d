"""The data sets and training recipes as tables: published sizes beside counted ones, recipes from their own code."""

from __future__ import annotations

import pandas as pd

from densenet_core.data.augmentation import CIFAR_AUGMENTATION, DIGITS_AUGMENTATION, Augmentation
from densenet_core.data.datasets import load_splits
from densenet_core.data.names import CHANNEL_STATISTICS
from densenet_core.training.config import DROPOUT_DATASETS, RECIPES, TrainingConfig, recipe_config

PAPER = "Huang et al. 2017, section 4.1"
# Title; images for training, extra ones, held out of training for validation, for testing; classes; pixels a side.
# The paper rounds ImageNet's training images to 1.2 million and tests on its validation images.
_PUBLISHED = {
    "cifar10": ("CIFAR-10", 50_000, 0, 5_000, 10_000, 10, 32),
    "cifar100": ("CIFAR-100", 50_000, 0, 5_000, 10_000, 100, 32),
    "svhn": ("SVHN", 73_257, 531_131, 6_000, 26_032, 10, 32),
    "imagenet": ("ImageNet", 1_200_000, 0, 0, 50_000, 1_000, 224),
}
_STATISTICS = {"svhn": "none"}  # where not the data set's own name
_AUGMENTATIONS = {"cifar10": CIFAR_AUGMENTATION, "cifar100": CIFAR_AUGMENTATION, "digits": DIGITS_AUGMENTATION}


def data_sets() -> pd.DataFrame:
    """Return the data sets that networks are trained on here.

    Returns:
        Columns dataset, title, train, extra, validation (held out of train), test (numbers of images), classes,
        image_size (pixels a side), mean and std (of the channels, in units of 0..1, that normalize images),
        mirror and shift (the augmentation "+"; shift in pixels, None without one), origin (published or
        counted) and source.
    """
    rows = [(name, *facts, *_preparation(name), "published", PAPER) for name, facts in _PUBLISHED.items()]
    splits = load_splits("digits", validation=True)
    assert splits.validation is not None
    train, held_out, test = (len(part) for part in (splits.train, splits.validation, splits.test))
    classes, size = len(splits.test.class_names), splits.test.image_size
    counted = ("digits", splits.title, train + held_out, 0, held_out, test, classes, size)
    rows.append((*counted, *_preparation("digits"), "counted", "scikit-learn"))
    columns = ["dataset", "title", "train", "extra", "validation", "test", "classes", "image_size"]
    return pd.DataFrame(rows, columns=[*columns, "mean", "std", "mirror", "shift", "origin", "source"])


def _preparation(name: str) -> tuple[object, ...]:
    mean, std = CHANNEL_STATISTICS[_STATISTICS.get(name, name)]
    augmentation: Augmentation | None = _AUGMENTATIONS.get(name)
    mirror, shift = (augmentation.mirror, augmentation.shift) if augmentation else (name == "imagenet", None)
    return ", ".join(map(str, mean)), ", ".join(map(str, std)), mirror, shift


def recipes() -> pd.DataFrame:
    """Return the training recipes: the first three are the paper's (section 4.2), "fast" is this suite's.

    Returns:
        Columns recipe, published, epochs, batch_size, learning_rate, schedule, milestones (epochs after which the
        rate is divided by 10), momentum, weight_decay, label_smoothing, drop_rate (without augmentation).
    """
    return pd.DataFrame([_recipe_row(name) for name in RECIPES])


def recipe(name: str) -> TrainingConfig:
    """Return a recipe's configuration for a DenseNet on the recipe's data set, without augmentation."""
    dataset = name if name in ("svhn", "imagenet") else DROPOUT_DATASETS[0]
    return recipe_config(name, "densenet-40-12", dataset, name)


def _recipe_row(name: str) -> dict[str, object]:
    config = recipe(name)
    is_stepped = config.schedule == "step"
    drops = ", ".join(f"{share * config.epochs:g}" for share in config.milestones) if is_stepped else ""
    fields = ("epochs", "batch_size", "learning_rate", "schedule")
    rest = ("momentum", "weight_decay", "label_smoothing", "drop_rate")
    return (
        {"recipe": name, "published": name != "fast"}
        | {field: getattr(config, field) for field in fields}
        | {"milestones": drops}
        | {field: getattr(config, field) for field in rest}
    )


def learning_rates(name: str) -> pd.DataFrame:
    """Return the learning rate in the middle of each epoch of a recipe: columns epoch and learning_rate."""
    config = recipe(name)
    epochs = range(1, config.epochs + 1)
    return pd.DataFrame({"epoch": epochs, "learning_rate": [config.learning_rate_at(epoch, 0.5) for epoch in epochs]})
