"""Fine-tune a network for a few epochs, for example after pruning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from densenet_core.checkpoints.checkpoint import Checkpoint
from densenet_core.data.datasets import DataSplits
from densenet_core.training.config import TrainingConfig
from densenet_core.training.distributed import launch
from densenet_core.training.evaluation import check_images, evaluate
from densenet_core.training.loop import OnStep, make_optimizer, train_epoch
from densenet_core.training.malloc import keep_freed_memory
from densenet_core.training.record import without_results


def finetune(
    checkpoint: Checkpoint,
    splits: DataSplits,
    epochs: int,
    learning_rate: float = 0.01,
    seed: int = 0,
    on_step: OnStep = lambda: None,
) -> Checkpoint:
    """Train the network further by the paper's recipe, at a small learning rate that falls to zero.

    The rate rises for 30 % of the time and then falls linearly (``one_cycle``). Nothing is written to disk.

    Returns:
        The network with new weights; its record contains the new test error and the settings (``finetuned``).

    Raises:
        DataError: the images do not fit the network.
        NotFiniteError: the loss is not finite.
    """
    check_images(checkpoint, splits.train)
    config = TrainingConfig(
        "finetuned", "given", "finetuned", epochs=epochs, learning_rate=learning_rate, seed=seed, schedule="one_cycle"
    )
    fabric, model = launch(), checkpoint.to_model().to(memory_format=torch.channels_last)
    forward, wrapped = fabric.setup(model, make_optimizer(model, config))
    splits = splits.to(fabric.device)
    with keep_freed_memory(fabric.device.type):
        for epoch in range(1, epochs + 1):
            train_epoch(fabric, forward, wrapped, splits.train, config, epoch, on_step)
        result = evaluate(model, splits.test)
    about: dict[str, Any] = {"epochs": epochs, "learning_rate": learning_rate, "seed": seed, "data": splits.title}
    record = without_results(checkpoint.record) | {
        "finetuned": about,
        "test_error": result.top1_error,
        "test_loss": result.loss,
    }
    weights = {key: tensor.detach().cpu().clone() for key, tensor in model.state_dict().items()}
    return replace(checkpoint, weights=weights, record=record)
