"""Loss and error of a network on a set of images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from densenet_core.errors import DataError
from densenet_core.images import Images
from densenet_core.layers import network_layers
from densenet_core.models import Spec


@dataclass(frozen=True)
class Evaluation:
    """What a network reaches on a set of images: mean cross-entropy (nats) and errors in percent."""

    loss: float
    top1_error: float
    top5_error: float
    num_images: int


def evaluate(model: nn.Module, images: Images, batch_size: int = 256) -> Evaluation:
    """Runs the network over all images once, in evaluation mode; the mode it came in is given back."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    loss, top1, top5 = 0.0, 0, 0
    try:
        with torch.inference_mode():
            for batch, labels in images.batches(batch_size):
                labels = labels.to(device)
                scores = model(batch.to(device)).float()
                loss += F.cross_entropy(scores, labels, reduction="sum").item()
                best = scores.topk(min(5, scores.shape[1])).indices == labels[:, None]
                top1 += int(best[:, 0].sum())
                top5 += int(best.sum())
    finally:
        model.train(was_training)
    n = len(images)
    return Evaluation(loss / n, 100 * (1 - top1 / n), 100 * (1 - top5 / n), n)


def check_fit(spec: Spec, images: Images) -> None:
    """Says before anything runs whether these images fit this network.

    Raises:
        DataError: the channels or the number of classes differ, or the images are too small for the network's strides.
    """
    if getattr(spec, "spatial_dims", 2) != 2:
        raise DataError(f"the images have 2 dimensions, {spec.title} takes {getattr(spec, 'spatial_dims', 2)}")
    try:
        network_layers(spec, images.image_size)
    except ValueError as error:
        raise DataError(f"the images have {images.image_size} pixels a side: {error}") from None
    if images.num_channels != spec.in_channels:
        raise DataError(f"the images have {images.num_channels} channels, the network takes {spec.in_channels}")
    if len(images.class_names) != spec.num_classes:
        raise DataError(f"the data have {len(images.class_names)} classes, the network tells {spec.num_classes}")
