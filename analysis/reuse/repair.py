"""Repair a network after cuts, without training: means in place of zeros, or norms estimated again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.reuse.ablation import mean_activations
from analysis.reuse.dissection import Reader, dissect
from analysis.reuse.effects import batches_on_device
from densenet_core import Checkpoint
from densenet_core.checkpoints.pruning import Cut, with_all_connections, without_connections
from densenet_core.data.images import Images
from densenet_core.hardware import device
from densenet_core.training.evaluation import evaluate_checkpoint
from densenet_core.training.record import without_results

# none: zeros replace what was cut. mean: each cut channel's mean over training images replaces it.
# norms: zeros, and all batch norms get the running statistics of training images that pass through the cut network.
Repair = Literal["none", "mean", "norms"]
REPAIRS: tuple[Repair, ...] = get_args(Repair)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def cut_loss_and_error(
    checkpoint: Checkpoint, cuts: Iterable[Cut], images: Images, repair: Repair = "none", training: Images | None = None
) -> tuple[float, float]:
    """Return the mean cross-entropy (nats) and the top-1 error (percent) with connections cut.

    Args:
        training: the images that give means or statistics; ``none`` needs none.

    Raises:
        ValueError: the repair is unknown, or needs training images and there are none.
    """
    check_repair(repair, training)
    if repair == "mean":
        assert training is not None
        return _with_means(checkpoint, list(cuts), images, training)
    cut = without_connections(checkpoint, cuts)
    if repair == "norms":
        assert training is not None
        cut = reestimate_norms(cut, training)
    result = evaluate_checkpoint(cut, images)
    return result.loss, result.top1_error


def check_repair(repair: str, training: Images | None) -> None:
    """Raise ValueError if the repair is unknown, or needs images and has none."""
    if repair not in REPAIRS:
        raise ValueError(f"repair {repair!r} is unknown: choose from {', '.join(REPAIRS)}")
    if repair != "none" and training is None:
        raise ValueError(f"repair {repair!r} needs training images")


def reestimate_norms(checkpoint: Checkpoint, training: Images, batch_size: int = 100) -> Checkpoint:
    """Return the network with the running statistics of its batch norms taken anew; no other weight changes.

    Each norm's mean and variance become the averages over batches of ``training``, which pass through the network in
    training mode but for dropout.
    """
    model = checkpoint.to_model().to(device()).eval()
    for module in model.modules():
        if isinstance(module, NORMS):
            module.reset_running_stats()
            module.momentum = None  # a plain average over the batches
            module.train()
    with torch.inference_mode():
        for batch, _ in batches_on_device(training, batch_size):
            if len(batch) > 1:  # one image has no variance after a global pooling
                model(batch)
    weights = {key: tensor.detach().cpu().clone() for key, tensor in model.state_dict().items()}
    return replace(checkpoint, weights=weights, record=without_results(checkpoint.record))


def _with_means(checkpoint: Checkpoint, cuts: list[Cut], images: Images, training: Images) -> tuple[float, float]:
    loss = wrong = 0.0
    with torch.inference_mode():
        dissection = dissect(with_all_connections(checkpoint), device())
        means = mean_activations(dissection, training, batch_size=50)
        for batch, labels in batches_on_device(images, 50):
            maps = dissection.stem(batch)
            for reader, mean in zip(dissection.readers, means, strict=True):
                maps = reader.onward(maps, _put_means(reader, reader.activation(maps), mean, cuts))
            loss += F.cross_entropy(maps.float(), labels, reduction="sum").item()
            wrong += (maps.argmax(1) != labels).sum().item()
    return loss / len(images), 100 * wrong / len(images)


def _put_means(reader: Reader, active: Tensor, mean: Tensor, cuts: list[Cut]) -> Tensor:
    """Return the target's activation with the cut sources' channels at their means."""
    for block, source, layer in cuts:
        if (block, layer) == (reader.target.block, reader.target.layer):
            own = slice(reader.edges[source], reader.edges[source + 1])
            active[:, own] = mean[own].view(-1, *(1,) * (active.dim() - 2))
    return active
