"""Redundancy of feature maps: their effective rank, and how alike they are by linear CKA."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analysis.reuse.connections import Network, as_checkpoint
from analysis.reuse.dissection import Dissection, dissect, through_block
from analysis.reuse.effects import batches_on_device
from densenet_core.data.images import Images, sample_evenly
from densenet_core.hardware import device
from densenet_core.training.evaluation import check_images

Place = tuple[str, int]  # "block" or "transition", and the block's number


def redundancy(network: Network, images: Images, num_images: int = 500, batch_size: int = 50) -> pd.DataFrame:
    """Return how redundant the feature maps are that leave each block and each transition.

    Maps are compared by their correlations over images and positions, not by covariances: the batch norm that reads
    them removes their scale.

    Args:
        images: ``num_images`` of them are used, evenly spaced over the set; labels do not matter.

    Returns:
        One row per block and transition: place ("block" or "transition"), block (1-based), num_maps; effective_rank,
        the exponential of the entropy of the eigenvalues' shares of their sum, 1 to num_maps (Roy and Vetterli 2007);
        rank_share, effective_rank / num_maps; mean_cka, linear CKA (Kornblith et al. 2019) between two sources of the
        block, mean over all pairs. After a transition every map is a source of its own, and CKA of two maps is their
        squared correlation. nan with one source.

    Raises:
        CheckpointError: the network is not a DenseNet.
        DataError: the images do not fit it.
    """
    checkpoint = as_checkpoint(network)
    check_images(checkpoint, images)
    dissection = dissect(checkpoint, device())
    rows = []
    for (place, block), covariance in _covariances(dissection, sample_evenly(images, num_images), batch_size).items():
        edges = tuple(range(len(covariance) + 1))
        if place == "block":
            edges = dissection.blocks[block - 1][-1].edges
        found = correlation(covariance)
        rank = effective_rank(found)
        rows.append((place, block, len(found), rank, rank / len(found), mean_cka(found, edges)))
    return pd.DataFrame(rows, columns=["place", "block", "num_maps", "effective_rank", "rank_share", "mean_cka"])


def correlation(covariance: np.ndarray) -> np.ndarray:
    """Return the correlations of a covariance matrix; a map that does not vary has none, not even with itself."""
    deviation = np.sqrt(np.diag(covariance).clip(min=0))
    inverse = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1), 0)
    found: np.ndarray = covariance * inverse[:, None] * inverse
    return found


def effective_rank(covariance: np.ndarray) -> float:
    """Return the exponential of the entropy of the eigenvalues' shares; nan if nothing varies."""
    values = np.linalg.eigvalsh(covariance).clip(min=0)
    if values.sum() == 0:
        return float("nan")
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def mean_cka(covariance: np.ndarray, edges: tuple[int, ...]) -> float:
    """Return the linear CKA of every two sources, mean over the pairs; sources that do not vary are left out.

    Args:
        covariance: (C, C) of all channels.
        edges: where each source's channels begin, and the end.
    """
    sums = np.add.reduceat(np.add.reduceat(covariance**2, edges[:-1], axis=0), edges[:-1], axis=1)
    strengths = np.sqrt(np.diag(sums))
    varies = strengths > 0
    cka = sums[np.ix_(varies, varies)] / np.outer(strengths[varies], strengths[varies])
    pairs = cka[np.triu_indices(len(cka), k=1)]
    return float(pairs.mean()) if len(pairs) else float("nan")


def _covariances(dissection: Dissection, images: Images, batch_size: int) -> dict[Place, np.ndarray]:
    """Return the covariances over images and positions of the maps that leave each block and transition."""
    products: dict[Place, Tensor] = {}
    sums: dict[Place, Tensor] = {}
    count: dict[Place, int] = {}
    with torch.inference_mode():
        for batch, _ in batches_on_device(images, batch_size):
            for place, maps in _stages(dissection, batch):
                values = maps.transpose(0, 1).flatten(1).double()  # (C, N x H x W)
                products[place] = products.get(place, 0) + values @ values.T
                sums[place] = sums.get(place, 0) + values.sum(1)
                count[place] = count.get(place, 0) + values.shape[1]
    means = {place: total / count[place] for place, total in sums.items()}
    return {p: (products[p] / count[p] - torch.outer(means[p], means[p])).cpu().numpy() for p in products}


def _stages(dissection: Dissection, batch: Tensor) -> Iterator[tuple[Place, Tensor]]:
    """Yield the maps that leave each block and each transition, in the order in which they are computed."""
    maps = dissection.stem(batch)
    for number, ((*layers, last), following) in enumerate(
        itertools.zip_longest(dissection.blocks, dissection.blocks[1:]), start=1
    ):
        maps = through_block(layers, maps)
        yield ("block", number), maps
        if following is not None:
            maps = through_block((last,), maps)
            yield ("transition", number), maps
