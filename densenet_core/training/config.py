"""What one training is asked for, and the published recipes by name."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from densenet_core.data.names import Normalization
from densenet_core.errors import RunError

Schedule = Literal["step", "one_cycle"]
Precision = Literal["fp32", "bf16"]

PLACE_FIELDS = ("data", "runs_dir", "workers")  # of a configuration: may differ where the same run goes on elsewhere


@dataclass(frozen=True)
class TrainingConfig:
    """One training run. The defaults are the paper's for CIFAR (section 4.2)."""

    arch: str  # a name of ``create_model``
    dataset: str  # a name of ``data.DATASET_NAMES``
    name: str  # the run folder's
    recipe: str = "cifar"  # where the other values come from: a name of ``RECIPES``
    epochs: int = 300
    seed: int = 0
    augment: bool = False  # the paper's "+": mirror and shift
    validation: bool = False  # hold the paper's validation images out of the training set
    batch_size: int = 64
    learning_rate: float = 0.1
    schedule: Schedule = "step"  # step: divided by 10 at each milestone; one_cycle: up for 30 %, then down to nothing
    milestones: tuple[float, ...] = (0.5, 0.75)  # shares of the epochs
    label_smoothing: float = 0.0
    momentum: float = 0.9  # Nesterov's, without dampening
    weight_decay: float = 1e-4  # on every parameter, as in the authors' code
    drop_rate: float = 0.0  # the paper: 0.2 without augmentation
    precision: Precision = "fp32"  # bf16: autocast
    memory_efficient: bool = False  # for DenseNets: memory linear in depth, the same numbers
    compile: bool = False  # torch.compile
    channels_last: bool = True  # the images' memory format: faster convolutions, the same numbers but for rounding
    sync_batch_norm: bool = False  # on GPUs: batch statistics over the images of all processes
    workers: int = 2  # processes a process that read photographs from disk
    normalize: Normalization | None = None  # for the data set "folder"
    dataset_title: str | None = None  # what the record calls the data set, where its own name would mislead
    data: str = "data"  # where the data sets lie
    runs_dir: str = "runs"

    def __post_init__(self) -> None:
        is_one_folder = Path(self.name).name == self.name and not self.name.startswith(".")
        if not self.name or not is_one_folder or not self.name.isprintable():
            raise RunError(f"name {self.name!r} is no folder name: give one without '/' that does not begin with '.'")
        for field in ("epochs", "batch_size"):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise RunError(f"{field} {value!r} must be a whole number, 1 or more")
        if not isinstance(self.workers, int) or self.workers < 0:
            raise RunError(f"workers {self.workers!r} must be a whole number, 0 or more")
        if not isinstance(self.learning_rate, int | float) or not self.learning_rate > 0:
            raise RunError(f"learning_rate {self.learning_rate!r} must be a number above 0")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise RunError(f"seed {self.seed!r} must be a whole number from 0 to {2**32 - 1}")
        for field in ("weight_decay", "momentum", "label_smoothing", "drop_rate"):
            value = getattr(self, field)
            if not isinstance(value, int | float) or value < 0:
                raise RunError(f"{field} {value!r} must be a number, 0 or more")
        for field, known in (("precision", get_args(Precision)), ("schedule", get_args(Schedule))):
            if getattr(self, field) not in known:
                raise RunError(f"{field} {getattr(self, field)!r} is none of {', '.join(known)}")

    @property
    def folder(self) -> Path:
        return Path(self.runs_dir) / self.name

    def learning_rate_at(self, epoch: int, share: float = 0.0) -> float:
        """The learning rate in an epoch (1-based), of which ``share`` (0..1) is done.

        ``step`` looks at whole epochs alone: the rate falls once a milestone's share of them is done.
        """
        if self.schedule == "one_cycle":
            done = (epoch - 1 + share) / self.epochs
            return self.learning_rate * (done / 0.3 if done < 0.3 else (1 - done) / 0.7)
        passed = sum((epoch - 1) / self.epochs >= milestone for milestone in self.milestones)
        return self.learning_rate * 0.1**passed


# What each recipe changes of the defaults. The first three are the paper's (section 4.2).
RECIPES: dict[str, dict[str, Any]] = {
    "cifar": {},
    "svhn": {"epochs": 40},
    "imagenet": {"epochs": 90, "batch_size": 256, "milestones": (1 / 3, 2 / 3)},
    # not the paper's: for short budgets
    "fast": {"epochs": 30, "schedule": "one_cycle", "learning_rate": 0.2, "label_smoothing": 0.1},
}
DROPOUT_DATASETS = ("cifar10", "cifar100", "svhn")


def recipe_config(recipe: str | None, arch: str, dataset: str, name: str, **given: Any) -> TrainingConfig:
    """A configuration by a recipe's name; what is ``given`` and not None goes before the recipe.

    Args:
        recipe: a name of ``RECIPES``, or None for the data set's own. The paper's dropout of 0.2 for CIFAR and SVHN
            without augmentation belongs to its recipes, for DenseNets.

    Raises:
        RunError: the recipe or a field is not known, or a value does not fit.
    """
    recipe = recipe or (dataset if dataset in ("svhn", "imagenet") else "cifar")
    if recipe not in RECIPES:
        raise RunError(f"recipe {recipe!r} is none of {', '.join(RECIPES)}")
    known = {field.name for field in fields(TrainingConfig)}
    if unknown := sorted(set(given) - known):
        raise RunError(f"unknown setting {unknown[0]!r}: known are {', '.join(sorted(known))}")
    values = dict(RECIPES[recipe])
    is_papers = recipe != "fast" and arch.startswith("densenet")
    if is_papers and dataset in DROPOUT_DATASETS and not given.get("augment"):
        values["drop_rate"] = 0.2
    values |= {key: value for key, value in given.items() if value is not None}
    return TrainingConfig(arch=arch, dataset=dataset, name=name, recipe=recipe, **values)
