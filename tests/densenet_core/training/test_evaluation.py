from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from densenet_core import Checkpoint, create_model
from densenet_core.data.datasets import load_splits
from densenet_core.data.images import sample_evenly
from densenet_core.errors import DataError
from densenet_core.training.evaluation import check_images, evaluate, evaluate_checkpoint


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


@pytest.mark.parametrize("was_training", [True, False])
def test_every_module_keeps_its_mode(was_training: bool) -> None:
    images = sample_evenly(load_splits("digits").test, 4)
    model = create_model("densenet-7-2", in_channels=1).train(was_training)
    next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d)).train(not was_training)
    before = modes(model)
    evaluate(model, images)
    assert modes(model) == before
    with pytest.raises(RuntimeError):
        evaluate(model, sample_evenly(type(images)(images.pixels.repeat(1, 2, 1, 1), images.labels, (), "none"), 4))
    assert modes(model) == before


def test_it_evaluates_in_evaluation_mode() -> None:
    images = sample_evenly(load_splits("digits").test, 4)
    model = create_model("densenet-7-2", in_channels=1).train()
    buffers = [buffer.clone() for buffer in model.buffers()]
    evaluate(model, images)
    assert all(torch.equal(a, b) for a, b in zip(buffers, model.buffers(), strict=True))


def test_classes_of_other_names_are_refused_where_the_record_names_them() -> None:
    images = sample_evenly(load_splits("digits").test, 4)
    model = create_model("densenet-7-2", in_channels=1)
    names = list(images.class_names)
    network = Checkpoint(model.spec, model.state_dict(), {"class_names": names})
    check_images(network, images)
    check_images(replace(network, record={"class_names": [f" {name}_" for name in names]}), images)
    for record in ({}, {"class_names": "0123456789"}, {"class_names": names[:3]}):
        check_images(replace(network, record=record), images)
    moved = replace(network, record={"class_names": [*names[1:], "0"]})
    for check in (check_images, evaluate_checkpoint):
        with pytest.raises(DataError, match="class 0 of the images is '0', and '1' in the network's training"):
            check(moved, images)
