"""Reuse by class: which connections a class needs, measured in the same passes as the ablation of all classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.reuse.connections import Network, as_checkpoint, connection_weights
from analysis.reuse.cuts.partial_sums import PartialSums, measurement_file
from analysis.reuse.cuts.scores import cut_scores
from analysis.reuse.dissection import Dissection, dissect
from analysis.reuse.effects import OnBatch, batches_on_device, in_halves
from analysis.reuse.measures import CONNECTION, PLACE
from densenet_core import DataError
from densenet_core.data.images import Images, sample_evenly
from densenet_core.hardware import device
from densenet_core.training.evaluation import check_images

MAX_CONFUSIONS = 5e7  # numbers, of 8 bytes each: DenseNet-BC (L=100, k=12) on 100 classes has 4.6 million


def reuse_by_class(
    network: Network,
    images: Images,
    num_images: int = 1000,
    batch_size: int = 50,
    on_batch: OnBatch = lambda done, total: None,
    keep_in: Path | None = None,
) -> pd.DataFrame:
    """Return the effect of cutting each connection on each class: the ablation, grouped by the true class.

    All classes are measured in the same passes as in ``connection_ablation``.

    >>> from densenet_core import create_model
    >>> from densenet_core.data.datasets import load_test_images
    >>> network = create_model("densenet-bc-16-4", in_channels=1).eval()
    >>> table = reuse_by_class(network, load_test_images("digits"), num_images=40)
    >>> table.columns.tolist()[4:]
    ['class', 'num_images', 'ablation', 'error_rise', 'logit']

    Args:
        images: Labeled images; ``num_images`` of them are used, evenly spaced over the set.
        on_batch: Called with the number of images done and their total.
        keep_in: A folder that keeps the results after every batch: an interrupted call resumes, and a repeated one
            returns at once.

    Returns:
        A row for each connection and class that has images: block, source_layer, target_layer, target_kind, class,
        num_images, ablation (rise of the mean cross-entropy of the images of this class when the connection is cut,
        nats), error_rise (of their error, percentage points) and logit (fall of the mean logit of their class).
        ``attrs`` has confusions, an array (connections, classes, classes): how many images of the first class are
        predicted as the second when the connection is cut, minus how many are with the whole network. It is left out
        where it would have more than ``MAX_CONFUSIONS`` numbers, as for ImageNet's classes.

    Raises:
        CheckpointError: The network is not a DenseNet.
        DataError: The images do not fit the network.
    """
    checkpoint = as_checkpoint(network)
    check_images(checkpoint, images)
    table = connection_weights(checkpoint)[CONNECTION]
    chosen, number = sample_evenly(images, num_images), len(images.class_names)
    counts_pairs = len(table) * number**2 <= MAX_CONFUSIONS
    kind = f"classes {number}" if counts_pairs else f"classes {number} without pairs"
    file = measurement_file(keep_in, "classes", kind, checkpoint, chosen)
    sums = PartialSums(file, len(chosen), (len(table) + 1, number, 3 + (number if counts_pairs else 1)))
    remaining = chosen.subset(torch.arange(sums.done, len(chosen)))
    with torch.inference_mode():
        dissection = dissect(checkpoint, device(), fold=True)
        for batch, labels in batches_on_device(remaining, batch_size):
            halves = in_halves(lambda x, y: _sums_by_class(dissection, x, y, number, counts_pairs), batch, labels)
            sums.add(len(labels), np.sum(halves, axis=0))
            on_batch(sums.done, len(chosen))
    return _as_table(table, sums.total, counts_pairs)


def _sums_by_class(
    dissection: Dissection, images: Tensor, labels: Tensor, number: int, counts_pairs: bool
) -> np.ndarray:
    """Return the sums of 1, loss, logit and one-hot prediction: (connections + 1, classes, 3 + classes).

    Without ``counts_pairs``, the sum of right predictions takes the place of the one-hot prediction: 3 + 1. The last
    entry of the first dimension is the whole network.
    """
    own = F.one_hot(labels, number).double()  # (N, classes)
    found = []
    for scores in cut_scores(dissection, images):
        scores = scores.float()
        loss = F.cross_entropy(scores, labels, reduction="none")
        logit = scores.gather(1, labels[:, None])[:, 0]
        best = scores.argmax(1)
        predicted = F.one_hot(best, number) if counts_pairs else (best == labels)[:, None]
        values = torch.cat((torch.ones_like(own[:, :1]), loss[:, None], logit[:, None], predicted), dim=1).double()
        found.append(own.T @ values)
    return torch.stack(found).cpu().numpy()


def _as_table(table: pd.DataFrame, sums: np.ndarray, counts_pairs: bool) -> pd.DataFrame:
    counts, changes = sums[-1, :, 0], (sums[:-1] - sums[-1])[:, :, 1:]
    present = np.flatnonzero(counts)
    means = changes[:, present] / counts[present, None]
    right = means[:, np.arange(len(present)), 2 + present] if counts_pairs else means[:, :, 2]
    rows = table.loc[table.index.repeat(len(present))].reset_index(drop=True)
    rows["class"] = np.tile(present, len(table))
    rows["num_images"] = np.tile(counts[present].astype(int), len(table))
    rows["ablation"] = means[:, :, 0].ravel()
    rows["error_rise"] = 0 - 100 * right.ravel()  # 0, not -0
    rows["logit"] = 0 - means[:, :, 1].ravel()
    if counts_pairs:
        rows.attrs["confusions"] = changes[:, :, 2:]
    return rows


def class_profiles(table: pd.DataFrame, measure: str = "ablation", centered: bool = True) -> pd.DataFrame:
    """Return each class as a row of its connections: classes down, connections across.

    Args:
        table: From ``reuse_by_class``.
        measure: ablation, error_rise or logit.
        centered: Subtract the mean over classes, which removes what all classes need.

    Raises:
        DataError: The table has no such measure.
    """
    if measure not in ("ablation", "error_rise", "logit"):
        raise DataError(f"measure {measure!r} is not one of ablation, error_rise, logit")
    profiles = table.pivot(index="class", columns=PLACE, values=measure)
    return profiles - profiles.mean() if centered else profiles


def cluster_classes(table: pd.DataFrame, measure: str = "ablation") -> pd.DataFrame:
    """Return the classes in the order of a clustering by the connections that they need, with their correlations.

    >>> places = {"block": 1, "source_layer": [0, 0, 0, 1, 1, 1], "target_layer": 2, "class": [0, 1, 2] * 2}
    >>> table = pd.DataFrame(places | {"ablation": [2.0, 0.0, 1.9, 0.1, 2.0, 0.0]})
    >>> sorted(cluster_classes(table).index.tolist()[1:]) == [0, 2]
    True

    Average linkage on 1 - Pearson's correlation of the centered profiles (SciPy).

    Returns:
        A square table of correlations, classes down and across in the order of the leaves; ``attrs`` has linkage, as
        SciPy returns it, for classes in ascending order.

    Raises:
        DataError: There are fewer than 3 classes.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    profiles = class_profiles(table, measure)
    if len(profiles) < 3:
        raise DataError(f"table has {len(profiles)} classes: clustering needs 3 or more")
    correlations = np.nan_to_num(np.corrcoef(profiles.to_numpy()))
    np.fill_diagonal(correlations, 1)
    distances = (1 - (correlations + correlations.T) / 2).clip(0)
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform(distances, checks=False), "average")
    order = leaves_list(tree)
    names = profiles.index[order]
    clustered = pd.DataFrame(correlations[np.ix_(order, order)], index=names, columns=names)
    clustered.attrs["linkage"] = tree
    return clustered


def confusion_pairs(table: pd.DataFrame, top: int = 10) -> pd.DataFrame:
    """Return the confusions that single connections prevent or cause.

    >>> from densenet_core import create_model
    >>> from densenet_core.data.datasets import load_test_images
    >>> network = create_model("densenet-bc-16-4", in_channels=1).eval()
    >>> table = reuse_by_class(network, load_test_images("digits"), num_images=40)
    >>> confusion_pairs(table, top=5).columns.tolist()
    ['block', 'source_layer', 'target_layer', 'target_kind', 'class', 'predicted', 'images']

    Args:
        table: From ``reuse_by_class``.
        top: The number of rows.

    Returns:
        Columns block, source_layer, target_layer, target_kind, class (true), predicted and images: the change of the
        number of images of the class predicted as ``predicted`` when the connection is cut. Above 0, the connection
        prevents these confusions; below 0, it causes them. Sorted by absolute value, largest first. Empty for a table
        without ``attrs["confusions"]``.
    """
    if "confusions" not in table.attrs:
        return table.head(0)[CONNECTION].assign(**{"class": [], "predicted": [], "images": []})
    changes = table.attrs["confusions"].copy()
    changes[:, np.arange(changes.shape[1]), np.arange(changes.shape[1])] = 0
    connections = table[CONNECTION].drop_duplicates().reset_index(drop=True)
    order = np.argsort(-np.abs(changes), axis=None, kind="stable")[:top]
    row, true, predicted = np.unravel_index(order, changes.shape)
    found = connections.loc[row].reset_index(drop=True)
    found = found.assign(**{"class": true, "predicted": predicted, "images": changes[row, true, predicted].astype(int)})
    return found[found["images"] != 0].reset_index(drop=True)
