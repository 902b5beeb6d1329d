"""Similarity of the outputs of layers: linear CKA between all layers of one network or of two."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analysis.prediction.predictor import NetworkLike, Predictor, as_predictor
from analysis.reuse.effects import OnBatch, batches_on_device
from analysis.reuse.untrained import build_untrained
from densenet_core import Checkpoint, DataError
from densenet_core.data.images import Images, sample_evenly
from densenet_core.training.evaluation import check_fit

Place = tuple[int, int]  # block, source layer


def layer_similarity(
    network: NetworkLike,
    images: Images,
    other: NetworkLike | None = None,
    num_images: int = 256,
    batch_size: int = 64,
    on_batch: OnBatch = lambda done, total: None,
) -> pd.DataFrame:
    """Return linear CKA between the outputs of all layers of a network, or of two networks.

    Centered kernel alignment (Kornblith et al. 2019, section 3) of the maps averaged over positions, over images: the
    layers of different blocks have different resolutions, so their averages are compared. With n images and C maps,
    the unbiased estimate of HSIC is used (Song et al. 2012): the biased one is near 1 for any two layers if C
    exceeds n.

    >>> from densenet_core import load_zoo
    >>> from densenet_core.data.datasets import load_test_images
    >>> table = layer_similarity(load_zoo("densenet-40-12-digits"), load_test_images("digits"), num_images=60)
    >>> table.columns.tolist()
    ['block', 'source_layer', 'other_block', 'other_source_layer', 'cka']

    Args:
        images: ``num_images`` of them are used, evenly spaced over the set; labels are not used.
        other: a second network; by default the network is compared with itself.

    Returns:
        A row for each pair of layers: block, source_layer (as in ``Predictor.block_maps``), other_block,
        other_source_layer, cka (up to 1; around 0, also a little below, for unrelated layers; nan where a layer does
        not vary).

    Raises:
        DataError: the images do not fit the networks, or there are fewer than 4.
    """
    chosen = sample_evenly(images, num_images)
    if len(chosen) < 4:
        raise DataError(f"num_images {len(chosen)} is too small: CKA needs 4 images or more")
    predictor = as_predictor(network)
    grams = _grams(predictor, chosen, batch_size, on_batch)
    others = grams if other is None else _grams(as_predictor(other), chosen, batch_size, on_batch)
    products = {place: [_hsic(own, theirs) for theirs in others.values()] for place, own in grams.items()}
    strengths = [_hsic(theirs, theirs) for theirs in others.values()]
    rows = []
    for place, own in grams.items():
        strength = _hsic(own, own)
        for to, product, its in zip(others, products[place], strengths, strict=True):
            scale = strength * its
            rows.append((*place, *to, product / np.sqrt(scale) if scale > 0 else np.nan))
    return pd.DataFrame(rows, columns=["block", "source_layer", "other_block", "other_source_layer", "cka"])


def similarity_beside_untrained(
    network: Checkpoint,
    images: Images,
    other: Checkpoint | None = None,
    num_images: int = 256,
    on_batch: OnBatch = lambda done, total: None,
) -> pd.DataFrame:
    """Return ``layer_similarity`` of the networks, and of the same architectures untrained: how alike they begin.

    >>> from densenet_core import load_zoo
    >>> from densenet_core.data.datasets import load_test_images
    >>> images = load_test_images("digits")
    >>> table = similarity_beside_untrained(load_zoo("densenet-40-12-digits"), images, num_images=20)
    >>> table["weights"].unique().tolist()
    ['trained', 'untrained']

    Args:
        images: also the source of the untrained networks' batch-norm statistics.
        other: a second network; untrained, it has other random weights than the first.

    Returns:
        The columns of ``layer_similarity``, and weights: trained or untrained.

    Raises:
        DataError: as ``layer_similarity``.
    """
    untrained = None if other is None else build_untrained(other.architecture, images, seed=1)
    pairs = {"trained": (network, other), "untrained": (build_untrained(network.architecture, images), untrained)}
    parts = len(pairs) * (1 if other is None else 2)
    tables, begun = [], 0
    for weights, (first, second) in pairs.items():

        def report(done: int, total: int) -> None:
            nonlocal begun
            on_batch(begun * total + done, parts * total)
            begun += done >= total

        tables.append(layer_similarity(first, images, second, num_images, on_batch=report).assign(weights=weights))
    return pd.concat(tables, ignore_index=True)


def similarity_matrix(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of ``layer_similarity`` as a matrix: layers down, the other's layers across."""
    return table.pivot(index=["block", "source_layer"], columns=["other_block", "other_source_layer"], values="cka")


def _grams(predictor: Predictor, images: Images, batch_size: int, on_batch: OnBatch) -> dict[Place, Tensor]:
    """Return the dot products between images for each layer, with the diagonal set to 0: (N, N)."""
    check_fit(predictor.spec, images)
    batches: list[dict[Place, Tensor]] = []
    with torch.inference_mode():
        for batch, _ in batches_on_device(images, batch_size, on_batch):
            batches.append(
                {place: maps.flatten(2).mean(2).double() for place, maps in predictor.block_maps(batch).items()}
            )
    found = {}
    for place in batches[0]:
        values = torch.cat([own[place] for own in batches])
        values -= values.mean(0)  # only affects rounding: HSIC is centered
        found[place] = (values @ values.T).fill_diagonal_(0).cpu()
    return found


def _hsic(a: Tensor, b: Tensor) -> float:
    """Return the unbiased estimate (Song et al. 2012, equation 5) for two matrices with zero diagonals."""
    n = len(a)
    rows_a, rows_b = a.sum(1), b.sum(1)
    both = (a * b).sum() + rows_a.sum() * rows_b.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (rows_a @ rows_b)
    return float(both) / (n * (n - 3))
