"""Ablation: the exact change of loss and error when one connection is cut, for every connection."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.reuse.comparison.image_effects import EFFECTS, image_effects
from analysis.reuse.connections import Network, as_checkpoint, connection_weights, dense_spec
from analysis.reuse.cuts.partial_sums import PartialSums, measurement_file
from analysis.reuse.cuts.processes import in_order
from analysis.reuse.cuts.scores import MAX_IMAGES, cut_scores, fitting_batch
from analysis.reuse.dissection import Dissection, dissect
from analysis.reuse.effects import OnBatch, batches_on_device, in_halves
from analysis.reuse.measures import HALVES, PRECISIONS, REPLACEMENTS, Precision, Replacement, with_measures
from densenet_core import Checkpoint
from densenet_core.data.images import Images, sample_evenly
from densenet_core.hardware import device
from densenet_core.training.evaluation import check_images

NUM_COMPARED = 8  # images on which bf16 is compared with fp32
OnTable = Callable[[Callable[[], pd.DataFrame]], None]


def connection_ablation(
    network: Network,
    images: Images,
    num_images: int = 500,
    replace: Replacement = "zero",
    batch_size: int | None = None,
    on_batch: OnBatch = lambda done, total: None,
    keep_in: Path | None = None,
    workers: int = 1,
    precision: Precision = "fp32",
    on_table: OnTable = lambda table: None,
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
        images: labeled; ``num_images`` of them are used, evenly spaced over the set (all, if there are fewer).
        replace: ``zero``; or ``mean``, each channel's mean over these images and all positions.
        batch_size: the number of images in one batch; None: chosen by their size. Results do not depend on
            it.
        on_batch: called first, and after each batch, with the number of images done and the number of all.
        keep_in: a folder for the sums after every batch: an interrupted call resumes from it, and a finished one
            returns at once the second time.
        workers: the number of processes that measure together; the results are the same. A script that asks for more
            than one needs ``if __name__ == "__main__":``, as ``multiprocessing`` says.
        precision: ``bf16`` computes convolutions in half precision, which is faster where the processor has
            instructions for it. ``attrs["bf16_error"]`` is the largest difference of an ablation from fp32's on the
            first images (nats).
        on_table: called after each batch with a function that returns the table of the images so far.

    Returns:
        The table of ``connection_weights`` and: ablation, the mean cross-entropy with the connection cut minus the
        whole network's (nats; below 0 where the network is better without it); error_rise, the same for the
        top-1 error (percentage points); ablation_half_1 and ablation_half_2, the ablation over every other image and
        over the others, which show how much it depends on the images. ``attrs`` holds the whole network's loss and
        error, num_images, replace and, unless the measurement was kept by an older version, image_effects (the change
        of each image's loss by each cut), from which ``agreement`` makes intervals.

    Raises:
        ValueError: ``replace`` or ``precision`` is unknown, or ``workers`` is below 1.
        RunError: a worker process ended before its work was done.
        CheckpointError: the network is not a DenseNet.
        DataError: the images do not fit it.
    """
    _check_options(replace, precision, workers)
    checkpoint = as_checkpoint(network)
    table = connection_weights(checkpoint)
    check_images(checkpoint, images)
    chosen = sample_evenly(images, num_images)
    means = None
    if replace == "mean":
        with torch.inference_mode():
            means = mean_activations(dissect(checkpoint, device(), fold=True), chosen, MAX_IMAGES)
    plan = _Plan(checkpoint, chosen, means, precision, batch_size, workers)
    options = f"halves {replace}" if precision == "fp32" else f"halves {replace} {precision}"
    file = measurement_file(keep_in, "ablation", options, checkpoint, chosen)
    sums = plan.run(len(table), file, on_batch, lambda sums: on_table(lambda: _with_changes(table, sums.total)))
    table = _with_changes(table, sums.total)
    loss, wrong, _ = sums.total.sum(0)[0] / sums.done
    table.attrs |= {"loss": loss, "error": 100 * wrong, "num_images": sums.done, "replace": replace}
    if precision == "bf16":
        table.attrs["bf16_error"] = plan.error(sums, file and file.with_stem(f"{file.stem}-fp32"))
    if sums.each is not None:
        table.attrs[EFFECTS] = image_effects(table, sums.each)
    return table


def _check_options(replace: str, precision: str, workers: int) -> None:
    if replace not in REPLACEMENTS:
        raise ValueError(f"replace {replace!r} is unknown: choose {' or '.join(REPLACEMENTS)}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is unknown: choose {' or '.join(PRECISIONS)}")
    if workers < 1:
        raise ValueError(f"workers {workers} must be 1 or more")


@dataclass(frozen=True)
class _Plan:
    """The settings of a measurement. Pickled to other processes; called there, it returns the function of a batch."""

    checkpoint: Checkpoint
    images: Images
    means: list[Tensor] | None
    precision: Precision
    batch_size: int | None
    workers: int

    def run(
        self,
        num_connections: int,
        file: Path | None,
        on_batch: OnBatch = lambda done, total: None,
        on_sums: Callable[[PartialSums], None] = lambda sums: None,
    ) -> PartialSums:
        """Return the sums over all images, of which ``file`` may have some."""
        sums = PartialSums(file, len(self.images), (2, 1 + num_connections, 3), width=num_connections)
        on_batch(sums.done, len(self.images))
        size = self.batch_size or self._default_batch_size()
        starts = range(sums.done, len(self.images), size)
        batches = [range(start, min(start + size, len(self.images))) for start in starts]
        for batch, each in zip(batches, in_order(self, batches, self.workers), strict=True):
            halves = [each[(half - batch.start) % 2 :: 2].sum(0) for half in (0, 1)]
            sums.add(len(batch), np.stack(halves), each[:, 1:, 0])
            on_sums(sums)
            on_batch(sums.done, len(self.images))
        return sums

    def error(self, sums: PartialSums, file: Path | None) -> float:
        """Return the largest difference of these sums' ablation from that in fp32, on the first images."""
        assert sums.each is not None  # older versions had no bf16
        beside = dataclasses.replace(
            self, images=self.images.subset(torch.arange(min(NUM_COMPARED, sums.done))), precision="fp32"
        )
        exact = beside.run(sums.each.shape[1], file)
        assert exact.each is not None
        return float(np.abs((sums.each[: exact.done] - exact.each).mean(0)).max())

    def __call__(self) -> Callable[[range], np.ndarray]:
        place = device()
        dissection = dissect(self.checkpoint, place, fold=True)
        means = None if self.means is None else [mean.to(place) for mean in self.means]

        def measure(rows: range) -> np.ndarray:
            own = self.images.subset(torch.arange(rows.start, rows.stop)).to(place, num_workers=0)
            batch, labels = (tensor.to(place) for tensor in next(own.batches(len(rows))))
            with torch.inference_mode(), torch.autocast(place.type, torch.bfloat16, self.precision == "bf16"):
                return np.concatenate(in_halves(lambda x, y: _ablate_batch(dissection, x, y, means), batch, labels))

        return measure

    def _default_batch_size(self) -> int:
        if device().type == "cuda":
            return MAX_IMAGES
        return fitting_batch(dense_spec(self.checkpoint), self.images.image_size)


def _with_changes(table: pd.DataFrame, sums: np.ndarray) -> pd.DataFrame:
    """Return the table with the changes over all images and each half; ``sums``: (2 halves, 1 + connections, 3)."""
    halves, whole = sums, sums.sum(0)
    counts = np.maximum(halves[:, 0, 2], 1)[:, None]  # one image alone leaves a half empty
    changes = np.vstack([whole[1:, :2].T / whole[0, 2], halves[:, 1:, 0] / counts])  # (4, connections)
    changes[:, (table["mean_abs_weight"] == 0).to_numpy()] = 0  # nothing was cut: the rest is rounding
    found = with_measures(table.assign(loss_change=changes[0]), "cuts").assign(error_rise=100 * changes[1])
    return found.assign(**dict(zip(HALVES, changes[2:], strict=True)))


def _ablate_batch(dissection: Dissection, images: Tensor, labels: Tensor, means: list[Tensor] | None) -> np.ndarray:
    """Return what ``_of_each`` returns for the whole network, then its change by each cut: (N, 1 + connections, 3)."""
    *cuts, whole = (_of_each(scores, labels) for scores in cut_scores(dissection, images, means))
    return torch.stack([whole, *(cut - whole for cut in cuts)], dim=1).cpu().numpy()


def _of_each(scores: Tensor, labels: Tensor) -> Tensor:
    """Return loss, error and 1 of each image: (N, 3)."""
    loss = F.cross_entropy(scores.float(), labels, reduction="none").double()
    return torch.stack([loss, (scores.argmax(1) != labels).double(), torch.ones_like(loss)], dim=1)


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
