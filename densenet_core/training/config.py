"""The settings of a training run, and the published recipes by name."""

# ruff: noqa: RUF009 (``setting`` is dataclasses.field)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from densenet_core.data.names import DATASET_NAMES, Normalization
from densenet_core.errors import RunError
from densenet_core.training.settings import Setting, required_setting, setting, settings_of, shorten

Schedule = Literal["step", "one_cycle"]
Precision = Literal["fp32", "bf16"]
Keep = Literal["last", "lowest_validation"]

# What each recipe changes of the defaults. The first three are the paper's (section 4.2).
RECIPES: dict[str, dict[str, Any]] = {
    "cifar": {},
    "svhn": {"epochs": 40, "keep": "lowest_validation"},
    "imagenet": {"epochs": 90, "batch_size": 256, "milestones": (1 / 3, 2 / 3)},
    # not the paper's: for short budgets
    "fast": {"epochs": 30, "schedule": "one_cycle", "learning_rate": 0.2, "label_smoothing": 0.1},
}
DROPOUT_DATASETS = ("cifar10", "cifar100", "svhn")
RECIPE_SETTINGS = {"drop_rate", *(name for changes in RECIPES.values() for name in changes)}


@dataclass(frozen=True)
class TrainingConfig:
    """One training run. The defaults are the paper's for CIFAR (section 4.2).

    Raises:
        RunError: a value is of the wrong kind or out of range.

    >>> TrainingConfig("densenet-40-12", "cifar10", "demo").learning_rate_at(151)
    0.010000000000000002
    """

    arch: str = field(metadata=required_setting("The network, such as densenet-40-12, densenet121 or resnet-20."))
    dataset: str = field(metadata=required_setting("The data set.", choices=DATASET_NAMES))
    name: str = field(metadata=required_setting("Name of the run folder."))
    initial_weights: str | None = setting(
        None,
        "File or run folder whose weights the training starts from; for other classes, the classifier starts anew.",
        is_path=True,
    )
    recipe: str = setting("cifar", "Recipe for the settings that are not given.", choices=tuple(RECIPES))
    epochs: int = setting(300, "Passes over the training images.", minimum=1, maximum=1_000_000)
    seed: int = setting(0, "Seed of weights, order, augmentation and dropout.", minimum=0, maximum=2**32 - 1)
    augment: bool = setting(False, "Mirror and shift the training images: the paper's '+'.")
    validation: bool = setting(False, "Hold out the paper's validation images.")
    # lowest_validation holds out the validation images: the paper's way on SVHN
    keep: Keep = setting("last", "The epoch whose weights and error the run keeps.")
    batch_size: int = setting(64, "Images per step, summed over all processes.", minimum=1)
    learning_rate: float = setting(0.1, "The highest learning rate.", above=0)
    # step: divided by 10 at each milestone; one_cycle: up for 30 % of the training, then down to zero
    schedule: Schedule = setting("step", "How the learning rate changes.")
    milestones: tuple[float, ...] = setting(
        (0.5, 0.75),
        "When the step schedule divides the learning rate by 10.",
        unit="shares of the epochs",
        minimum=0,
    )
    half_size_epochs: int = setting(
        0, "Number of first epochs that use images of half the size: about 4 times faster each.", minimum=0
    )
    label_smoothing: float = setting(0.0, "Share of each label spread over all classes, 0 to 1.", minimum=0, maximum=1)
    momentum: float = setting(0.9, "Nesterov momentum, without dampening.", minimum=0)
    weight_decay: float = setting(1e-4, "Weight decay of every parameter, as in the authors' code.", minimum=0)
    drop_rate: float = setting(0.0, "Dropout rate, 0 to 1; the paper: 0.2 without augmentation.", minimum=0, maximum=1)
    precision: Precision = setting("fp32", "Precision of the computations; bf16 uses autocast.")
    memory_efficient: bool = setting(False, "Train DenseNets in memory linear in their depth, with the same results.")
    compile: bool = setting(False, "Use torch.compile.")
    channels_last: bool = setting(True, "Memory format of the images; faster on most devices.")
    sync_batch_norm: bool = setting(False, "Compute batch statistics over the images of all processes (GPUs only).")
    workers: int = setting(2, "Processes that read photographs from disk.", minimum=0, maximum=1024, is_place=True)
    normalize: Normalization | None = setting(
        None, "Channel statistics of images in class folders; ImageNet's if omitted."
    )
    dataset_title: str | None = setting(None, "Name of the data set in the record.", option="--title")
    data: str = setting("data", "Folder of the data sets.", is_place=True, is_path=True)
    runs_dir: str = setting("runs", "Folder of the run folders.", option="--runs", is_place=True, is_path=True)

    def __post_init__(self) -> None:
        is_one_folder = isinstance(self.name, str) and Path(self.name).name == self.name
        if not self.name or not is_one_folder or self.name.startswith(".") or not self.name.isprintable():
            raise RunError(
                f"name {shorten(self.name)} is not a folder name: use one without '/' that does not start with '.'"
            )
        for each in training_settings():
            each.check(getattr(self, each.name))
        if self.half_size_epochs >= self.epochs:
            raise RunError(
                f"half_size_epochs {self.half_size_epochs} must be below epochs {self.epochs}: the last ones are whole"
            )

    @property
    def folder(self) -> Path:
        return Path(self.runs_dir) / self.name

    @property
    def has_validation(self) -> bool:
        """Whether the validation images are held out of the training images."""
        return self.validation or self.keep == "lowest_validation"

    def learning_rate_at(self, epoch: int, share: float = 0.0) -> float:
        """Return the learning rate in an epoch (1-based) of which ``share`` (0..1) is done.

        ``step`` changes between epochs only: the rate falls once a milestone's share of them is done.
        """
        if self.schedule == "one_cycle":
            done = (epoch - 1 + share) / self.epochs
            return self.learning_rate * (done / 0.3 if done < 0.3 else (1 - done) / 0.7)
        passed = sum((epoch - 1) / self.epochs >= milestone for milestone in self.milestones)
        return self.learning_rate * 0.1**passed


PLACE_FIELDS = tuple(each.name for each in settings_of(TrainingConfig) if each.about.is_place)


def training_settings() -> tuple[Setting, ...]:
    """Return the description of every setting, in the order of the fields."""
    return settings_of(TrainingConfig)


def is_complete(values: Mapping[str, Any]) -> bool:
    """Return whether a config.json holds every setting; older versions wrote fewer."""
    return all(each.name in values for each in training_settings())


def config_from(values: Mapping[str, Any]) -> TrainingConfig:
    """Return the configuration that a config.json or TOML table holds; settings it lacks have their defaults.

    Raises:
        RunError: a setting is unknown, missing or wrong.
    """
    if unknown := sorted(set(values) - {each.name for each in training_settings()}):
        known = ", ".join(sorted(each.name for each in training_settings()))
        raise RunError(f"unknown setting {shorten(unknown[0])}: choose from {known}")
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    required = [each.name for each in fields(TrainingConfig) if each.default is each.default_factory is MISSING]
    if missing := [name for name in required if name not in plain]:
        raise RunError(f"the setting {missing[0]!r} is missing")
    return TrainingConfig(**plain)


def recipe_config(recipe: str | None, arch: str, dataset: str, name: str, **given: Any) -> TrainingConfig:
    """Return the configuration of a recipe; values ``given`` that are not None override the recipe's.

    Args:
        recipe: a name of ``RECIPES``, or None for the data set's own. The paper's dropout of 0.2 for CIFAR and SVHN
            without augmentation is part of its recipes, for DenseNets.

    Raises:
        RunError: the recipe or a setting is unknown, or a value is wrong.

    >>> recipe_config("fast", "densenet-40-12", "digits", "demo", epochs=5).schedule
    'one_cycle'
    """
    recipe = recipe or (dataset if dataset in ("svhn", "imagenet") else "cifar")
    if recipe not in RECIPES:
        raise RunError(f"recipe {shorten(recipe)} is not one of {', '.join(RECIPES)}")
    values = dict(RECIPES[recipe])
    is_papers = recipe != "fast" and arch.startswith("densenet")
    if is_papers and dataset in DROPOUT_DATASETS and not given.get("augment"):
        values["drop_rate"] = 0.2
    values |= {key: value for key, value in given.items() if value is not None}
    return config_from({"arch": arch, "dataset": dataset, "name": name, "recipe": recipe} | values)
