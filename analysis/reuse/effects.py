"""The effect of connections on data: the size of what each carries, and the first-order change of the loss."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.reuse.connections import Network, as_checkpoint, connection_weights
from analysis.reuse.dissection import Dissection, Reader, dissect
from analysis.reuse.measures import with_measures
from densenet_core import DataError
from densenet_core.data.images import Images, sample_evenly
from densenet_core.hardware import device
from densenet_core.training.evaluation import check_images

T = TypeVar("T")
OnBatch = Callable[[int, int], object]  # images done, all images


def connection_effects(
    network: Network,
    images: Images,
    num_images: int = 1000,
    batch_size: int = 32,
    on_batch: OnBatch = lambda done, total: None,
) -> pd.DataFrame:
    """Return the feature-reuse table with measures on data.

    >>> from densenet_core import checkpoint_from_state_dict, create_model
    >>> from densenet_core.data.datasets import load_test_images
    >>> network = checkpoint_from_state_dict(create_model("densenet-10-4", in_channels=1).state_dict())
    >>> {"contribution", "taylor"} <= {*connection_effects(network, load_test_images("digits"), num_images=20)}
    True

    Args:
        images: labeled; ``num_images`` of them are used, evenly spaced over the set (all, if there are fewer).
        batch_size: halved, with a warning, if it does not fit in the device's memory; results do not depend on it.
        on_batch: called after each batch with the number of images done and the number of all.

    Returns:
        The table of ``connection_weights`` with the measures on images and gradients (``measures.MEASURES``):
        contribution, contribution_total and taylor. taylor takes its absolute value after the sum over all images.

    Raises:
        CheckpointError: the network is not a DenseNet.
        DataError: the images do not fit it, or a single one does not fit in memory.
    """
    checkpoint = as_checkpoint(network)
    table = connection_weights(checkpoint)
    check_images(checkpoint, images)
    dissection = dissect(checkpoint, device())
    chosen = sample_evenly(images, num_images)
    norms, slopes = np.zeros(len(table)), np.zeros(len(table))
    for batch, labels in batches_on_device(chosen, batch_size, on_batch):
        for batch_norms, batch_slopes in in_halves(lambda x, y: _measure_batch(dissection, x, y), batch, labels):
            norms += batch_norms
            slopes += batch_slopes
    found = table.assign(part_norm=norms / len(chosen), slope=slopes / len(chosen))
    return with_measures(found, "images", "gradients")


def _measure_batch(dissection: Dissection, images: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return sums over the images for each connection: norms of the parts, and gradient x part."""
    with torch.enable_grad():
        activations, scores = _forward(dissection, images)
        loss = F.cross_entropy(scores, labels, reduction="sum")
        gradients = torch.autograd.grad(loss, activations)
    norms, slopes = [], []
    with torch.inference_mode():
        for reader, active, gradient in zip(dissection.readers, activations, gradients, strict=True):
            norms += [part.flatten(1).norm(dim=1).double().sum().item() for part in parts(reader, active)]
            # The map is linear: <gradient of the part, part> = <gradient of the activation, activation>.
            per_channel = (active * gradient).transpose(0, 1).flatten(1).double().sum(1)
            slopes += [channels.sum().item() for channels in per_channel.split(widths(reader))]
    return np.array(norms), np.array(slopes)


def _forward(dissection: Dissection, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return every target's activation, as nodes of the autograd graph, and the scores."""
    activations, maps = [], dissection.stem(images)
    for reader in dissection.readers:
        active = reader.activation(maps)
        active = active if active.requires_grad else active.requires_grad_()
        activations.append(active)
        maps = reader.onward(maps, active)
    return activations, maps


def parts(reader: Reader, activation: Tensor) -> Iterator[Tensor]:
    """Yield each source's part of the target's pre-activation, in order."""
    for source, own in enumerate(activation.split(widths(reader), dim=1)):
        yield reader.read(own, source, source + 1)


def widths(reader: Reader) -> list[int]:
    """Return the number of feature maps of each source."""
    return np.diff(reader.edges).tolist()


def batches_on_device(
    images: Images, batch_size: int, on_batch: OnBatch = lambda done, total: None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all batches on the device; ``on_batch`` is called after each."""
    place, done = device(), 0
    for batch, labels in images.to(place).batches(batch_size):
        yield batch.to(place), labels.to(place)
        done += len(labels)
        on_batch(done, len(images))


def in_halves(work: Callable[[Tensor, Tensor], T], images: Tensor, labels: Tensor) -> list[T]:
    """Return the results of ``work`` on a batch, or on its halves, and so on, if it runs out of memory.

    Raises:
        DataError: a single image does not fit in memory.
    """
    try:
        return [work(images, labels)]
    except torch.OutOfMemoryError as error:
        if len(images) == 1:
            raise DataError(
                "one image does not fit in the device's memory: use the CPU or a smaller network"
            ) from error
    half = len(images) // 2
    warnings.warn(f"a batch of {len(images)} does not fit in the device's memory: continuing with {half}", stacklevel=2)
    torch.cuda.empty_cache()
    return in_halves(work, images[:half], labels[:half]) + in_halves(work, images[half:], labels[half:])
