"""Reuse by class: which connections a class lives on, measured in the same passes as the ablation of all classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.reuse.ablation import cut_scores
from analysis.reuse.connections import Network, as_checkpoint, connection_weights
from analysis.reuse.dissection import Dissection, dissect
from analysis.reuse.effects import OnBatch, batches_on_device, in_halves
from densenet_core import DataError
from densenet_core.data.images import Images, evenly_spaced
from densenet_core.hardware import device
from densenet_core.training.evaluation import check_fit

KEYS = ["block", "source_layer", "target_layer", "target_kind"]


def reuse_by_class(
    network: Network,
    images: Images,
    num_images: int = 1000,
    batch_size: int = 50,
    on_batch: OnBatch = lambda done, total: None,
) -> pd.DataFrame:
    """Return what cutting each connection does to each class: the ablation, told apart by the true class.

    One pass for all classes together, the same as in ``connection_ablation``.

    >>> from densenet_core import create_model
    >>> from densenet_core.data.datasets import load_test_images
    >>> network = create_model("densenet-bc-16-4", in_channels=1).eval()
    >>> table = reuse_by_class(network, load_test_images("digits"), num_images=40)
    >>> table.columns.tolist()[4:]
    ['class', 'num_images', 'ablation', 'ablation_error', 'logit']

    Args:
        images: labeled; ``num_images`` of them are used, evenly spaced over the set.
        on_batch: called with the number of images done and their total.

    Returns:
        A row for each connection and class that has images: block, source_layer, target_layer, target_kind, class,
        num_images, ablation (rise of the mean cross-entropy of the images of this class when the connection is cut,
        nats), ablation_error (of their error, percentage points) and logit (fall of the mean logit of their class).
        ``attrs`` has confusions, an array (connections, classes, classes): how many images of the first class become
        the second when the connection is cut, minus how many are it in the whole network.

    Raises:
        CheckpointError: the network is no DenseNet.
        DataError: the images do not fit it.
    """
    checkpoint = as_checkpoint(network)
    check_fit(checkpoint.architecture, images)
    table = connection_weights(checkpoint)[KEYS]
    chosen, number = evenly_spaced(images, num_images), len(images.class_names)
    sums = np.zeros((len(table) + 1, number, 2 + number))
    counts = np.zeros(number)
    with torch.inference_mode():
        dissection = dissect(checkpoint, device(), fold=True)
        for batch, labels in batches_on_device(chosen, batch_size, on_batch):
            for found in in_halves(lambda x, y: _sums_by_class(dissection, x, y, number), batch, labels):
                sums += found
            counts += np.bincount(labels.cpu().numpy(), minlength=number)
    return _as_table(table, sums, counts)


def _sums_by_class(dissection: Dissection, images: Tensor, labels: Tensor, number: int) -> np.ndarray:
    """(connections + 1, classes, 2 + classes): loss, logit, and how often each class is predicted; the whole last."""
    own = F.one_hot(labels, number).double()  # (N, classes)
    found = []
    for scores in cut_scores(dissection, images):
        scores = scores.float()
        loss = F.cross_entropy(scores, labels, reduction="none")
        logit = scores.gather(1, labels[:, None])[:, 0]
        predicted = F.one_hot(scores.argmax(1), number)
        values = torch.cat((loss[:, None], logit[:, None], predicted), dim=1).double()  # (N, 2 + classes)
        found.append(own.T @ values)
    return torch.stack(found).cpu().numpy()


def _as_table(table: pd.DataFrame, sums: np.ndarray, counts: np.ndarray) -> pd.DataFrame:
    changes = sums[:-1] - sums[-1]
    present = np.flatnonzero(counts)
    means = changes[:, present] / counts[present, None]
    right = means[:, np.arange(len(present)), 2 + present]
    rows = table.loc[table.index.repeat(len(present))].reset_index(drop=True)
    rows["class"] = np.tile(present, len(table))
    rows["num_images"] = np.tile(counts[present].astype(int), len(table))
    rows["ablation"] = means[:, :, 0].ravel()
    rows["ablation_error"] = -100 * right.ravel()
    rows["logit"] = -means[:, :, 1].ravel()
    rows.attrs["confusions"] = changes[:, :, 2:]
    return rows


def class_profiles(table: pd.DataFrame, measure: str = "ablation", centered: bool = True) -> pd.DataFrame:
    """Return each class as a row of its connections: classes down, connections across.

    Args:
        table: as ``reuse_by_class`` returns it.
        measure: ablation, ablation_error or logit.
        centered: subtract the mean over the classes, so that what all classes need is left out.

    Raises:
        DataError: the table has no such measure.
    """
    if measure not in ("ablation", "ablation_error", "logit"):
        raise DataError(f"measure {measure!r} is not one of ablation, ablation_error, logit")
    profiles = table.pivot(index="class", columns=["block", "source_layer", "target_layer"], values=measure)
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
        DataError: there are fewer than 3 classes.
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
    """Return the confusions that single connections prevent or make.

    >>> from densenet_core import create_model
    >>> from densenet_core.data.datasets import load_test_images
    >>> network = create_model("densenet-bc-16-4", in_channels=1).eval()
    >>> table = reuse_by_class(network, load_test_images("digits"), num_images=40)
    >>> confusion_pairs(table, top=5).columns.tolist()
    ['block', 'source_layer', 'target_layer', 'target_kind', 'class', 'predicted', 'images']

    Args:
        table: as ``reuse_by_class`` returns it.
        top: number of rows.

    Returns:
        Columns block, source_layer, target_layer, target_kind, class (true), predicted and images: above 0, so many
        more images of the class are taken for ``predicted`` when the connection is cut (it prevents them); below 0,
        fewer (it makes them). The largest absolute numbers first.
    """
    changes = table.attrs["confusions"].copy()
    changes[:, np.arange(changes.shape[1]), np.arange(changes.shape[1])] = 0
    connections = table[KEYS].drop_duplicates().reset_index(drop=True)
    order = np.argsort(-np.abs(changes), axis=None, kind="stable")[:top]
    row, true, predicted = np.unravel_index(order, changes.shape)
    found = connections.loc[row].reset_index(drop=True)
    found = found.assign(**{"class": true, "predicted": predicted, "images": changes[row, true, predicted].astype(int)})
    return found[found["images"] != 0].reset_index(drop=True)
