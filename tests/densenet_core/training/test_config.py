from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from densenet_core import RunError
from densenet_core.training.config import config_from, recipe_config, training_settings


def rates(epochs: list[int], **options: object) -> list[float]:
    config = recipe_config(name="x", **options)  # type: ignore[arg-type]
    return [config.learning_rate_at(epoch) for epoch in epochs]


def test_the_papers_recipes() -> None:
    cifar = recipe_config("cifar", "densenet-40-12", "cifar10", "x", augment=True)
    assert (cifar.epochs, cifar.batch_size, cifar.weight_decay, cifar.momentum) == (300, 64, 1e-4, 0.9)
    svhn = recipe_config("svhn", "densenet-40-12", "svhn", "x")
    assert (svhn.epochs, svhn.batch_size, svhn.keep, svhn.has_validation) == (40, 64, "lowest_validation", True)
    imagenet = recipe_config("imagenet", "densenet121", "imagenet", "x")
    assert (imagenet.epochs, imagenet.batch_size) == (90, 256)


def test_the_papers_learning_rates() -> None:
    cifar = {"recipe": "cifar", "arch": "densenet-40-12", "dataset": "cifar10"}
    assert rates([1, 150, 151, 225, 226], **cifar) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])
    imagenet = {"recipe": "imagenet", "arch": "densenet121", "dataset": "imagenet"}
    assert rates([1, 30, 31, 60, 61, 90], **imagenet) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    svhn = {"recipe": "svhn", "arch": "densenet-40-12", "dataset": "svhn"}
    assert rates([20, 21, 30, 31], **svhn) == pytest.approx([0.1, 0.01, 0.01, 0.001])


def test_one_cycle_goes_up_and_down_to_nothing() -> None:
    config = recipe_config("fast", "densenet-40-12", "digits", "x", epochs=10)
    assert config.learning_rate_at(1) == 0
    assert config.learning_rate_at(4) == pytest.approx(0.2)  # after 30 %
    assert config.learning_rate_at(3, 0.5) < 0.2
    assert config.learning_rate_at(10, 1.0) == pytest.approx(0)


@pytest.mark.parametrize(
    ("arch", "dataset", "augment", "drop_rate"),
    [
        ("densenet-40-12", "cifar10", False, 0.2),
        ("densenet-40-12", "cifar10", True, 0.0),
        ("densenet-40-12", "svhn", False, 0.2),
        ("densenet-40-12", "digits", False, 0.0),
        ("resnet-20", "cifar10", False, 0.0),
    ],
)
def test_the_papers_dropout(arch: str, dataset: str, augment: bool, drop_rate: float) -> None:
    assert recipe_config(None, arch, dataset, "x", augment=augment).drop_rate == drop_rate


def test_the_data_set_chooses_and_what_is_given_goes_before() -> None:
    assert recipe_config(None, "densenet-40-12", "svhn", "x").recipe == "svhn"
    assert recipe_config(None, "densenet-40-12", "digits", "x").recipe == "cifar"
    config = recipe_config("cifar", "densenet-40-12", "cifar10", "x", epochs=5, drop_rate=0.0, batch_size=None)
    assert (config.epochs, config.drop_rate, config.batch_size) == (5, 0.0, 64)


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(RunError, match="recipe 'mnist' is not one of cifar, svhn, imagenet, fast"):
        recipe_config("mnist", "densenet-40-12", "digits", "x")
    with pytest.raises(RunError, match="unknown setting 'epoch'"):
        recipe_config("cifar", "densenet-40-12", "digits", "x", epoch=3)


def test_a_config_file_reads_back_equal() -> None:
    config = recipe_config("imagenet", "densenet121", "imagenet", "x", momentum=0.8, normalize="cifar10")
    assert config_from(json.loads(json.dumps(asdict(config)))) == config


def test_a_config_file_of_the_first_version_still_reads() -> None:
    """This file was written by the first released command line."""
    content = json.loads((Path(__file__).parent / "first_version_config.json").read_text())
    config = config_from(content)
    assert (config.schedule, config.milestones, config.normalize) == ("one_cycle", (0.5, 0.75), "cifar10")
    assert {each.name for each in training_settings()} >= set(content)


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(RunError, match="the setting 'dataset' is missing"):
        config_from({"arch": "densenet-40-12", "name": "x"})
