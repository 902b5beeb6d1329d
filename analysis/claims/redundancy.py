"""How alike the feature maps of a block are: their effective rank, and linear CKA between its sources."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analysis.reuse.connections import Network, as_checkpoint
from analysis.reuse.dissection import dissect, through_block
from analysis.reuse.effects import batches_on_device
from densenet_core.data.images import Images, evenly_spaced
from densenet_core.hardware import device
from densenet_core.training.evaluation import check_fit


def block_redundancy(network: Network, images: Images, num_images: int = 500, batch_size: int = 50) -> pd.DataFrame:
    """How much of a block's feature maps, where they leave it, is the same thing said again.

    Args:
        images: ``num_images`` of them are taken, evenly spaced over the set; labels do not matter.

    Returns:
        A row a block: block, num_maps; effective_rank, the exponential of the entropy of the shares that the
        eigenvalues of the maps' covariance (over images and positions) have of their sum (Roy and Vetterli 2007), from
        1 to num_maps; rank_share, effective_rank / num_maps; mean_cka, linear CKA (Kornblith et al. 2019, over images
        and positions) between the maps of two sources of the block, mean over all pairs (nan with one source).

    Raises:
        CheckpointError: the network is no DenseNet.
        DataError: the images do not fit it.
    """
    checkpoint = as_checkpoint(network)
    check_fit(checkpoint.architecture, images)
    covariances, edges = _covariances(checkpoint, evenly_spaced(images, num_images), batch_size)
    rows = []
    for block, (covariance, own_edges) in enumerate(zip(covariances, edges, strict=True), start=1):
        rank = effective_rank(covariance)
        rows.append((block, len(covariance), rank, rank / len(covariance), mean_cka(covariance, own_edges)))
    return pd.DataFrame(rows, columns=["block", "num_maps", "effective_rank", "rank_share", "mean_cka"])


def effective_rank(covariance: np.ndarray) -> float:
    """The exponential of the entropy of the eigenvalues' shares; nan where nothing varies."""
    values = np.linalg.eigvalsh(covariance).clip(min=0)
    if values.sum() == 0:
        return float("nan")
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def mean_cka(covariance: np.ndarray, edges: tuple[int, ...]) -> float:
    """Linear CKA of every two sources, mean; of sources that vary at all.

    Args:
        covariance: (C, C) of all channels.
        edges: where each source's channels begin, and the end.
    """
    groups = [slice(first, end) for first, end in itertools.pairwise(edges)]
    strengths = [np.linalg.norm(covariance[own, own]) for own in groups]
    found = [
        float(np.linalg.norm(covariance[a, b]) ** 2 / (strengths[i] * strengths[j]))
        for i, a in enumerate(groups)
        for j, b in enumerate(groups[:i])
        if strengths[i] > 0 and strengths[j] > 0
    ]
    return float(np.mean(found)) if found else float("nan")


def _covariances(
    checkpoint: Network, images: Images, batch_size: int
) -> tuple[list[np.ndarray], list[tuple[int, ...]]]:
    """Of each block's maps where they leave it, and the channels of its sources."""
    dissection = dissect(checkpoint, device())
    edges = [readers[-1].edges for readers in dissection.blocks]
    products = [torch.zeros(e[-1], e[-1], dtype=torch.float64, device=device()) for e in edges]
    sums = [torch.zeros(e[-1], dtype=torch.float64, device=device()) for e in edges]
    count = [0] * len(edges)
    with torch.inference_mode():
        for batch, _ in batches_on_device(images, batch_size):
            maps = dissection.stem(batch)
            for b, (*layers, behind) in enumerate(dissection.blocks):
                maps = through_block(layers, maps)
                values = _by_channel(maps)
                products[b] += values @ values.T
                sums[b] += values.sum(1)
                count[b] += values.shape[1]
                maps = through_block((behind,), maps)
    means = [total / n for total, n in zip(sums, count, strict=True)]
    found = [p / n - torch.outer(m, m) for p, n, m in zip(products, count, means, strict=True)]
    return [covariance.cpu().numpy() for covariance in found], edges


def _by_channel(maps: Tensor) -> Tensor:
    """(N, C, H, W) -> (C, N x H x W), in double precision."""
    return maps.transpose(0, 1).flatten(1).double()
