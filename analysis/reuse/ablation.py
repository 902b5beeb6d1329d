"""Ablation: the exact change of loss and error when one connection is cut, for every connection.

The network does not run once per connection. Everything before the target is computed once, the parts of the target's
other sources are kept as a sum, later layers read again only what changed, and the cut variants run as one batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.reuse.comparison.image_effects import EFFECTS, image_effects
from analysis.reuse.connections import Network, as_checkpoint, connection_weights
from analysis.reuse.dissection import Dissection, Reader, dissect
from analysis.reuse.effects import OnBatch, batches_on_device, in_halves, parts
from analysis.reuse.measures import HALVES, with_measures
from analysis.reuse.partial_sums import PartialSums, measurement_file
from densenet_core.data.images import Images, sample_evenly
from densenet_core.hardware import device
from densenet_core.training.evaluation import check_fit

Replace = Literal["zero", "mean"]
MAX_POSITIONS = 2**15  # images x height x width of the variants in one batch: more do not fit in the CPU cache


def connection_ablation(
    network: Network,
    images: Images,
    num_images: int = 500,
    replace: Replace = "zero",
    batch_size: int = 50,
    on_batch: OnBatch = lambda done, total: None,
    keep_in: Path | None = None,
) -> pd.DataFrame:
    """Return the feature-reuse table with the measured effect of cutting each connection.

    A cut replaces the source's feature maps by zeros for this one target, after the target's norm and ReLU; all other
    targets still read the source.

    >>> from densenet_core import checkpoint_from_state_dict, create_model
    >>> from densenet_core.data.datasets import load_test_images
    >>> network = checkpoint_from_state_dict(create_model("densenet-10-4", in_channels=1).state_dict())
    >>> list(connection_ablation(network, load_test_images("digits"), num_images=20).columns)[-1]
    'ablation_half_2'

    Args:
        images: labelled; ``num_images`` of them are used, evenly spaced over the set (all, if there are fewer).
        replace: ``zero``; or ``mean``, each channel's mean over these images and all positions.
        batch_size: the number of images in one batch.
        on_batch: called after each batch with the number of images done and the number of all.
        keep_in: a folder for the sums after every batch: an interrupted call resumes from it, and a finished one
            returns at once the second time.

    Returns:
        The table of ``connection_weights`` and: ablation, the mean cross-entropy with the connection cut minus the
        whole network's (nats; below 0 where the network is better without it); ablation_error, the same for the
        top-1 error (percentage points); ablation_half_1 and ablation_half_2, the ablation over every other image and
        over the others, which show how much it depends on the images. ``attrs`` holds the whole network's loss and
        error, num_images, replace and, unless the measurement was kept by an older version, image_effects (the change
        of each image's loss by each cut), from which ``agreement`` makes intervals.

    Raises:
        ValueError: ``replace`` is unknown.
        CheckpointError: the network is not a DenseNet.
        DataError: the images do not fit it.
    """
    if replace not in get_args(Replace):
        raise ValueError(f"replace {replace!r} is unknown: choose {' or '.join(get_args(Replace))}")
    checkpoint = as_checkpoint(network)
    table = connection_weights(checkpoint)
    check_fit(checkpoint.architecture, images)
    chosen = sample_evenly(images, num_images)
    with torch.inference_mode():
        dissection = dissect(checkpoint, device(), fold=True)
        means = mean_activations(dissection, chosen, batch_size) if replace == "mean" else None
        file = measurement_file(keep_in, "ablation", f"halves {replace}", checkpoint, chosen)
        sums = PartialSums(file, len(chosen), (2, 1 + len(table), 3), width=len(table))
        remaining = chosen.subset(torch.arange(sums.done, len(chosen)))
        for batch, labels in batches_on_device(remaining, batch_size):
            halves = in_halves(lambda x, y: _ablate_batch(dissection, x, y, means), batch, labels)
            totals, each = zip(*halves, strict=True)
            sums.add(len(labels), np.sum(totals, axis=0), np.concatenate(each))
            on_batch(sums.done, len(chosen))
    table = _with_changes(table, sums.total)
    loss, wrong, _ = sums.total.sum(0)[0] / sums.done
    table.attrs |= {"loss": loss, "error": 100 * wrong, "num_images": sums.done, "replace": replace}
    if sums.each is not None:
        table.attrs[EFFECTS] = image_effects(table, sums.each)
    return table


def _with_changes(table: pd.DataFrame, sums: np.ndarray) -> pd.DataFrame:
    """The table with the changes over all images and over each half; ``sums`` (2 halves, 1 + connections, 3)."""
    halves, whole = sums, sums.sum(0)
    counts = np.maximum(halves[:, 0, 2], 1)[:, None]  # one image alone leaves a half empty
    changes = np.vstack([whole[1:, :2].T / whole[0, 2], halves[:, 1:, 0] / counts])  # (4, connections)
    changes[:, (table["mean_abs_weight"] == 0).to_numpy()] = 0  # nothing was cut: the rest is rounding
    found = with_measures(table.assign(loss_change=changes[0]), "cuts").assign(ablation_error=100 * changes[1])
    return found.assign(**dict(zip(HALVES, changes[2:], strict=True)))


def _ablate_batch(
    dissection: Dissection, images: Tensor, labels: Tensor, means: list[Tensor] | None
) -> tuple[np.ndarray, np.ndarray]:
    """What ``_of_each`` returns for the whole network, then its change by each cut.

    Returns:
        The sums over every other image and over the others, (2, 1 + connections, 3), and the change of each image's
        loss, (images, connections).
    """
    *cuts, whole = (_of_each(scores, labels) for scores in cut_scores(dissection, images, means))
    each = torch.stack([whole, *(cut - whole for cut in cuts)])  # (1 + connections, images, 3)
    sums = torch.stack([each[:, ::2].sum(1), each[:, 1::2].sum(1)])
    return sums.cpu().numpy(), each[1:, :, 0].T.cpu().numpy()


def cut_scores(dissection: Dissection, images: Tensor, means: list[Tensor] | None = None) -> Iterator[Tensor]:
    """Yield the scores with each connection cut, in the table's order, then the whole network's: (N, classes)."""
    maps = dissection.stem(images)
    left_means = iter(means or [])
    for b, readers in enumerate(dissection.blocks):
        # For each target of the block, the sum of the parts of the sources that exist so far.
        sums = [reader.read(reader.activation(maps, 0, 1), 0, 1) for reader in readers]
        for reader in readers:
            mean = next(left_means) if means is not None else None
            for cut in _cut_variants(reader, maps, sums[reader.target.layer - 1], mean):
                yield from _continue_pass(dissection, b, reader, cut, sums).split(len(images))
            maps = _add_source(reader, readers, maps, sums)
    yield maps  # after the last target the maps are the scores


def _of_each(scores: Tensor, labels: Tensor) -> Tensor:
    """Loss, error and 1 of each image: (N, 3)."""
    loss = F.cross_entropy(scores.float(), labels, reduction="none").double()
    return torch.stack([loss, (scores.argmax(1) != labels).double(), torch.ones_like(loss)], dim=1)


def _cut_variants(reader: Reader, maps: Tensor, whole: Tensor, mean: Tensor | None) -> Iterator[Tensor]:
    """The target's pre-activation without each of its sources in turn, in batches of variants."""
    together = max(1, MAX_POSITIONS // (len(maps) * maps[0, 0].numel()))
    active = reader.activation(maps)
    own_parts = parts(reader, active)
    instead = (
        None
        if mean is None
        else list(parts(reader, mean.view(-1, *(1,) * (active.dim() - 2)).expand(1, *active.shape[1:])))
    )
    for first in range(0, reader.target.layer, together):
        group = range(first, min(first + together, reader.target.layer))
        cut = torch.cat([whole - next(own_parts) for _ in group])
        if instead is not None:
            cut = (cut.unflatten(0, (len(group), -1)) + torch.stack([instead[s] for s in group])).flatten(0, 1)
        yield cut


def _continue_pass(dissection: Dissection, b: int, reader: Reader, cut: Tensor, sums: list[Tensor]) -> Tensor:
    """The scores of cut pre-activations of a target, (variants x N, ...); ``sums`` as they are at this target."""
    layer, readers = reader.target.layer, dissection.blocks[b]
    changed = out = reader.output(cut)
    for later in readers[layer:]:
        end = later.target.layer
        part = later.read(later.activation(changed, layer, end), layer, end)
        shared = sums[end - 1]
        out = later.output(part.unflatten(0, (-1, len(shared))).add_(shared).flatten(0, 1))
        if later.target.kind == "dense_layer":
            changed = torch.cat((changed, out), dim=1)
    return dissection.scores_from(b + 1, out)


def _add_source(reader: Reader, readers: tuple[Reader, ...], maps: Tensor, sums: list[Tensor]) -> Tensor:
    """The block's maps and this target's, whose parts are added to ``sums``; after the block, the next one's input."""
    layer = reader.target.layer
    out = reader.output(sums[layer - 1])
    if reader.target.kind != "dense_layer":
        return out
    for later in readers[layer:]:
        sums[later.target.layer - 1] += later.read(later.activation(out.clone(), layer, layer + 1), layer, layer + 1)
    return torch.cat((maps, out), dim=1)


def mean_activations(dissection: Dissection, images: Images, batch_size: int) -> list[Tensor]:
    """Return each target's mean activation by input channel, over all images and positions: (C,) each."""
    totals = [torch.zeros(reader.edges[-1], dtype=torch.float64, device=device()) for reader in dissection.readers]
    for batch, _ in batches_on_device(images, batch_size):
        maps = dissection.stem(batch)
        for reader, total in zip(dissection.readers, totals, strict=True):
            active = reader.activation(maps)
            total += active.flatten(2).double().mean(2).sum(0) if active.dim() > 2 else active.double().sum(0)
            maps = reader.onward(maps, active)
    return [(total / len(images)).float() for total in totals]
