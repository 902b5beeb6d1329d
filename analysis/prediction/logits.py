"""Logit by layer: what each layer of the last block adds to a class's logit, exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analysis.prediction.predictor import BIAS, NetworkLike, as_predictor, check_tensor
from densenet_core import DataError

BATCH = 32  # images that go through the network together
COLUMNS = ["image", "class", "source_layer", "contribution"]


def logit_contributions(network: NetworkLike, images: Tensor, classes: Sequence[int] | None = None) -> pd.DataFrame:
    """Return what each layer of the last block adds to the logits of images; the contributions sum to the logit.

    The classifier of a DenseNet is global average pooling, then a linear layer over the maps of all layers of the last
    block (Huang et al. 2017, section 3): its logit is a sum over these layers, and the split is exact. In a
    ResNet (He et al. 2016) the last stage adds its residual branches, and the logit is a sum over the branches, with
    every ReLU after an addition fixed as open or closed for this image.

    >>> from densenet_core import load_zoo
    >>> from densenet_core.data.datasets import load_test_images
    >>> images, labels = next(load_test_images("digits").batches(2))
    >>> table = logit_contributions(load_zoo("densenet-40-12-digits"), images, classes=[3])
    >>> table.groupby("image")["contribution"].sum().shape  # the two logits of class 3
    (2,)

    Args:
        network: a checkpoint, a module or a state dict.
        images: (N, C, H, W) normalized for the network, (N, C, D, H, W) for a network on volumes; in float64
            everything is computed in float64.
        classes: class indices to return; by default all classes.

    Returns:
        Columns image (0-based), class (0-based), source_layer and contribution (in units of the logit). Source layer 0
        is the input of the last block (of a ResNet's last stage: its shortcut), s the s-th layer (residual branch) in
        it, and -1 the bias; in a pre-activation ResNet the shift of the last norm is part of the bias.

    Raises:
        CheckpointError: the classifier of the network reads neither a concatenation nor a sum of layers.
        DataError: the images do not fit the network, or it does not predict one of the classes.
    """
    predictor = as_predictor(network)
    chosen = check_classes(classes, predictor.spec.num_classes)
    check_tensor(images)
    if len(images) == 0:
        raise DataError("images is empty: pass at least one image")
    values = []
    with torch.inference_mode():
        for batch in images.split(BATCH):
            final = predictor.final_maps(batch)
            parts = torch.cat((final.bias[:, None], final.contributions()), dim=1)  # (N, 1 + sources, classes)
            values.append(parts[:, :, chosen].cpu())
    return _as_table(torch.cat(values).numpy(), chosen)


def check_classes(classes: Sequence[int] | None, num_classes: int) -> list[int]:
    """Return the chosen class indices, all of them for None.

    Raises:
        DataError: the network does not predict one of them.
    """
    if classes is None:
        return list(range(num_classes))
    chosen = [int(number) for number in classes]
    if wrong := [number for number in chosen if not 0 <= number < num_classes]:
        raise DataError(f"classes has {wrong[0]}: the network predicts classes 0 to {num_classes - 1}")
    return chosen


def _as_table(values: np.ndarray, classes: list[int]) -> pd.DataFrame:
    """Return a row for each contribution, the bias first, from values of shape (images, 1 + sources, classes)."""
    num_images, num_parts = values.shape[:2]
    image, own_class, source = np.meshgrid(np.arange(num_images), classes, np.arange(num_parts) + BIAS, indexing="ij")
    columns = (image, own_class, source, values.transpose(0, 2, 1))
    return pd.DataFrame({name: column.ravel() for name, column in zip(COLUMNS, columns, strict=True)})


def contrast(table: pd.DataFrame, for_class: int, against: int) -> pd.DataFrame:
    """Return what each layer adds to the difference of two logits: why this class and not that one.

    >>> table = pd.DataFrame({"image": 0, "class": [3, 5], "source_layer": 1, "contribution": [2.0, 0.5]})
    >>> contrast(table, 3, 5)["contribution"].tolist()
    [1.5]

    Args:
        table: from ``logit_contributions``, with both classes.

    Returns:
        Columns image, class, against, source_layer, contribution (to the logit of ``for_class`` minus the logit
        of ``against``).

    Raises:
        DataError: the table does not have one of the classes.
    """
    for number in (for_class, against):
        if number not in set(table["class"]):
            raise DataError(f"class {number} is not in the table: it has {sorted(set(table['class']))}")
    keys = ["image", "source_layer"]
    ours, theirs = (table[table["class"] == number].set_index(keys)["contribution"] for number in (for_class, against))
    difference = (ours - theirs.reindex(ours.index)).reset_index()
    difference.insert(1, "class", for_class)
    difference.insert(2, "against", against)
    return difference


def mean_contributions(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean and the standard deviation of contributions over the images.

    >>> table = pd.DataFrame({"image": [0, 1], "class": 3, "source_layer": 1, "contribution": [1.0, 3.0]})
    >>> mean_contributions(table)["contribution"].tolist()
    [2.0]

    Args:
        table: from ``logit_contributions`` or ``contrast``, for example of images of one class.

    Returns:
        Columns class (and against, where the table has it), source_layer, contribution, std (over images; nan for one)
        and num_images.
    """
    keys = [key for key in ("class", "against", "source_layer") if key in table]
    grouped = table.groupby(keys)["contribution"]
    return grouped.agg(contribution="mean", std="std", num_images="size").reset_index()


def last_third_share(table: pd.DataFrame) -> float:
    """Return the share of the logits that the last third of the source layers add, over all rows of the table.

    The sum of abs(contribution) over the last third divided by the sum over all sources, 0..1, without the bias.
    Compare it with the last column of Figure 5 (Huang et al. 2017), which shows the weights.

    >>> table = pd.DataFrame({"source_layer": [-1, 0, 1, 2], "contribution": [9.0, 1.0, 1.0, -2.0]})
    >>> last_third_share(table)
    0.5
    """
    sources = table[table["source_layer"] != BIAS]
    num_sources = int(sources["source_layer"].max()) + 1
    first_late = num_sources - max(1, num_sources // 3)
    sizes = sources["contribution"].abs()
    return float(sizes[sources["source_layer"] >= first_late].sum() / sizes.sum())
