"""Layer lens: what the classifier would predict from the first layers only, and at which depth it decides.

After the logit lens for language models (nostalgebraist 2020). For a DenseNet the lens is exact: its classifier reads
all layers of the last block side by side, so later layers can be replaced by their average or by zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analysis.prediction.logits import BATCH
from analysis.prediction.predictor import FinalMaps, NetworkLike, as_predictor, compute_contributions
from analysis.reuse.effects import OnBatch, batches_on_device
from analysis.reuse.measures import REPLACEMENTS, Replacement
from densenet_core import DataError
from densenet_core.data.images import Images, sample_evenly
from densenet_core.training.evaluation import check_fit

CHUNK = 64  # images whose scores at all depths are in memory together


@dataclass(frozen=True)
class PooledParts:
    """The pooled input of the classifier for a set of images, by source layer, on the CPU."""

    pooled: tuple[Tensor, ...]  # (N, C_s) for each source
    weights: tuple[Tensor, ...]  # (classes, C_s)
    bias: Tensor  # (N, classes)
    labels: Tensor  # (N,)

    def scores_by_depth(self, rows: slice, means: Tensor) -> Tensor:
        """Return the scores of some images if only sources 0 to s are read: (n, sources, classes).

        Args:
            means: (sources, classes), what the replacement of each source adds.
        """
        parts = compute_contributions(tuple(own[rows] for own in self.pooled), self.weights)
        later = means.sum(0) - means.cumsum(0)  # of the sources after s
        return parts.cumsum(1) + later + self.bias[rows, None]

    def means(self, replace: Replacement) -> Tensor:
        """Return what the replacement of each source adds: (sources, classes)."""
        average = tuple(own.mean(0, keepdim=True) for own in self.pooled)
        means = compute_contributions(average, self.weights)[0]
        return means if replace == "mean" else torch.zeros_like(means)


def pooled_parts(
    network: NetworkLike,
    images: Images,
    num_images: int = 1000,
    batch_size: int = BATCH,
    on_batch: OnBatch = lambda done, total: None,
) -> PooledParts:
    """Return the pooled input of the classifier for images of a data set, by source layer: one forward pass.

    >>> from densenet_core import load_zoo
    >>> from densenet_core.data.datasets import load_test_images
    >>> parts = pooled_parts(load_zoo("densenet-40-12-digits"), load_test_images("digits"), num_images=20)
    >>> len(parts.pooled), parts.bias.shape  # sources 0 to 12; images and classes
    (13, torch.Size([20, 10]))

    Args:
        images: labeled; ``num_images`` of them are used, evenly spaced over the set.
        on_batch: called with the number of images done and their total.

    Raises:
        CheckpointError: the network has no logit by layer.
        DataError: the images do not fit the network.
    """
    predictor = as_predictor(network)
    check_fit(predictor.spec, images)
    chosen = sample_evenly(images, num_images)
    pooled: list[tuple[Tensor, ...]] = []
    biases, labels = [], []
    weights: tuple[Tensor, ...] = ()
    with torch.inference_mode():
        for batch, own_labels in batches_on_device(chosen, batch_size, on_batch):
            final = predictor.final_maps(batch)
            pooled.append(tuple(own.float().cpu() for own in final.pool()))
            weights = tuple(weight.float().cpu() for weight in final.weights)
            biases.append(final.bias.float().cpu())
            labels.append(own_labels.cpu())
    return PooledParts(tuple(map(torch.cat, zip(*pooled, strict=True))), weights, torch.cat(biases), torch.cat(labels))


def pool_batch(network: NetworkLike, images: Tensor) -> PooledParts:
    """Return the pooled input of the classifier for images without labels; all labels are 0.

    Args:
        images: (N, C, H, W) normalized for the network.
    """
    with torch.inference_mode():
        return pool_final_maps(as_predictor(network).final_maps(images))


def pool_final_maps(final: FinalMaps) -> PooledParts:
    """Return the input of the classifier averaged over positions; all labels are 0."""
    pooled = tuple(own.float().cpu() for own in final.pool())
    weights = tuple(weight.float().cpu() for weight in final.weights)
    bias = final.bias.float().cpu()
    return PooledParts(pooled, weights, bias, torch.zeros(len(bias), dtype=torch.long))


def image_lens(network: NetworkLike, images: Tensor, parts: PooledParts, replace: Replacement = "mean") -> pd.DataFrame:
    """Return the class probabilities of images by depth, with all later layers replaced.

    >>> from densenet_core import load_zoo
    >>> from densenet_core.data.datasets import load_test_images
    >>> network, test = load_zoo("densenet-40-12-digits"), load_test_images("digits")
    >>> images, labels = next(test.batches(1))
    >>> table = image_lens(network, images, pooled_parts(network, test, 50))
    >>> int(table[table["source_layer"] == 12].set_index("class")["probability"].idxmax()) == int(labels[0])
    True

    Args:
        images: (N, C, H, W) normalized for the network.
        parts: from ``pooled_parts``, for the images over which the mean is taken.
        replace: "mean", each later layer replaced by its mean over those images, or "zero".

    Returns:
        Columns image, source_layer (s: the classifier reads sources 0 to s), class, logit and probability.

    Raises:
        DataError: ``replace`` is not an option, or the images do not fit the network.
        CheckpointError: the network has no logit by layer.
    """
    return lens_of_parts(pool_batch(network, images), parts, replace)


def lens_of_parts(own: PooledParts, parts: PooledParts, replace: Replacement = "mean") -> pd.DataFrame:
    """Return ``image_lens`` from the pooled input of the classifier, without a forward pass.

    >>> from densenet_core import load_zoo
    >>> own = pool_batch(load_zoo("densenet-40-12-digits"), torch.zeros(1, 1, 8, 8))
    >>> len(lens_of_parts(own, own, "zero"))  # 13 depths of 10 classes
    130

    Args:
        own: from ``pool_batch``, for the images.
        parts, replace: as for ``image_lens``.

    Raises:
        DataError: ``replace`` is not an option.
    """
    _check_replacement(replace)
    scores = own.scores_by_depth(slice(None), parts.means(replace))
    index = np.indices(scores.shape).reshape(3, -1)
    columns = dict(zip(("image", "source_layer", "class"), index, strict=True))
    values = {"logit": scores.flatten().numpy(), "probability": scores.softmax(-1).flatten().numpy()}
    return pd.DataFrame(columns | values)


def lens_by_depth(parts: PooledParts, replace: Replacement = "mean") -> pd.DataFrame:
    """Return loss and error by depth over a data set, and the share of images decided at each depth.

    >>> from densenet_core import load_zoo
    >>> from densenet_core.data.datasets import load_test_images
    >>> table = lens_by_depth(pooled_parts(load_zoo("densenet-40-12-digits"), load_test_images("digits"), 100))
    >>> bool(table["decided"].iloc[-1] == 100)
    True

    Args:
        parts: from ``pooled_parts``; its mean replaces the layers that are not read.
        replace: "mean" or "zero".

    Returns:
        A row for each depth: source_layer (s: sources 0 to s are read), loss (mean cross-entropy, nats), error (top-1,
        percent), agreement (percent of images whose top class is the whole network's) and decided (percent of images
        for which this holds at this depth and at all later ones). ``attrs`` has num_images and replace.

    Raises:
        DataError: ``replace`` is not an option.
    """
    depths = decision_depths(parts, replace)
    means, total = parts.means(replace), len(parts.labels)
    sums = torch.zeros(len(means), 3, dtype=torch.float64)  # loss, wrong, different from the whole network
    for first in range(0, total, CHUNK):
        rows = slice(first, first + CHUNK)
        scores, labels = parts.scores_by_depth(rows, means), parts.labels[rows]
        top = scores.argmax(2)
        loss = -scores.log_softmax(2)[torch.arange(len(labels)), :, labels]
        sums += torch.stack([loss.double(), top != labels[:, None], top != top[:, -1:]], dim=2).sum(0)
    loss, wrong, other = (sums / total).T.numpy()
    decided = [float((depths <= depth).mean()) for depth in range(len(means))]
    table = pd.DataFrame(
        {"source_layer": range(len(means)), "loss": loss, "error": 100 * wrong, "agreement": 100 * (1 - other)}
    ).assign(decided=100 * np.array(decided))
    table.attrs |= {"num_images": total, "replace": replace}
    return table


def decision_depths(parts: PooledParts, replace: Replacement = "mean") -> np.ndarray:
    """Return the source layer at which each image is decided: (N,).

    The smallest s such that the top class equals the whole network's at s and at every later depth.

    Raises:
        DataError: ``replace`` is not an option.
    """
    _check_replacement(replace)
    means, found = parts.means(replace), []
    for first in range(0, len(parts.labels), CHUNK):
        top = parts.scores_by_depth(slice(first, first + CHUNK), means).argmax(2)
        differs = (top != top[:, -1:]).numpy()
        last = differs.shape[1] - 1 - differs[:, ::-1].argmax(1)
        found.append(np.where(differs.any(1), last + 1, 0))
    return np.concatenate(found)


def _check_replacement(replace: str) -> None:
    if replace not in REPLACEMENTS:
        raise DataError(f"replace {replace!r} is not one of {', '.join(REPLACEMENTS)}")
