"""How alike the outputs of layers are: linear CKA between all layers, within a network and between two."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analysis.prediction.opened import Network, Opened, open_network
from analysis.reuse.effects import OnBatch, batches_on_device
from densenet_core import DataError
from densenet_core.data.images import Images, evenly_spaced
from densenet_core.training.evaluation import check_fit

Place = tuple[int, int]  # block, source layer


def layer_similarity(
    network: Network,
    images: Images,
    other: Network | None = None,
    num_images: int = 256,
    batch_size: int = 64,
    on_batch: OnBatch = lambda done, total: None,
) -> pd.DataFrame:
    """Return linear CKA between the outputs of all layers of a network, or of two networks.

    Centered kernel alignment (Kornblith et al. 2019, section 3) of the maps averaged over positions, over images: the
    layers of different blocks have different resolutions, so their averages are compared. With n images and C maps,
    HSIC is estimated without bias (Song et al. 2012), since the biased estimate is near 1 for any layers where C
    exceeds n.

    >>> from densenet_core import load_zoo
    >>> from densenet_core.data.datasets import load_test_images
    >>> table = layer_similarity(load_zoo("densenet-40-12-digits"), load_test_images("digits"), num_images=60)
    >>> table.columns.tolist()
    ['block', 'source_layer', 'other_block', 'other_source_layer', 'cka']

    Args:
        images: ``num_images`` of them are used, evenly spaced over the set; labels do not matter.
        other: a second network; by default the network is compared with itself.

    Returns:
        A row for each pair of layers: block, source_layer (as in ``Opened.block_maps``), other_block,
        other_source_layer, cka (up to 1; around 0, also a little below, for unrelated layers; nan where a layer does
        not vary).

    Raises:
        DataError: the images do not fit the networks, or there are fewer than 4.
    """
    chosen = evenly_spaced(images, num_images)
    if len(chosen) < 4:
        raise DataError(f"num_images {len(chosen)} is too small: CKA needs 4 images or more")
    opened = open_network(network)
    grams = _grams(opened, chosen, batch_size, on_batch)
    others = grams if other is None else _grams(open_network(other), chosen, batch_size, on_batch)
    products = {place: [_hsic(own, theirs) for theirs in others.values()] for place, own in grams.items()}
    strengths = [_hsic(theirs, theirs) for theirs in others.values()]
    rows = []
    for place, own in grams.items():
        strength = _hsic(own, own)
        for to, product, its in zip(others, products[place], strengths, strict=True):
            scale = strength * its
            rows.append((*place, *to, product / np.sqrt(scale) if scale > 0 else np.nan))
    return pd.DataFrame(rows, columns=["block", "source_layer", "other_block", "other_source_layer", "cka"])


def similarity_matrix(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of ``layer_similarity`` as a matrix: layers down, the other's layers across."""
    return table.pivot(index=["block", "source_layer"], columns=["other_block", "other_source_layer"], values="cka")


def _grams(opened: Opened, images: Images, batch_size: int, on_batch: OnBatch) -> dict[Place, Tensor]:
    """Of each layer, the scalar products between images, the diagonal 0: (N, N)."""
    check_fit(opened.spec, images)
    batches: list[dict[Place, Tensor]] = []
    with torch.inference_mode():
        for batch, _ in batches_on_device(images, batch_size, on_batch):
            batches.append(
                {place: maps.flatten(2).mean(2).double() for place, maps in opened.block_maps(batch).items()}
            )
    found = {}
    for place in batches[0]:
        values = torch.cat([own[place] for own in batches])
        values -= values.mean(0)  # changes nothing but rounding: HSIC is centered
        found[place] = (values @ values.T).fill_diagonal_(0).cpu()
    return found


def _hsic(a: Tensor, b: Tensor) -> float:
    """The unbiased estimate (Song et al. 2012, equation 5) of two matrices whose diagonals are 0."""
    n = len(a)
    rows_a, rows_b = a.sum(1), b.sum(1)
    both = (a * b).sum() + rows_a.sum() * rows_b.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (rows_a @ rows_b)
    return float(both) / (n * (n - 3))
