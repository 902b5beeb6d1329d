from __future__ import annotations

import pytest
import torch
from torch import nn

from densenet_core import create_model
from densenet_core.data.datasets import load_splits
from densenet_core.data.images import sample_evenly
from densenet_core.training.evaluation import evaluate


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
