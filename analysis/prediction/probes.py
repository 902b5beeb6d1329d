"""Linear probes: how well the classes can be told apart after each layer, also inside the earlier blocks."""

from __future__ import annotations

import warnings
from itertools import groupby

import numpy as np
import pandas as pd
import torch

from analysis.prediction.opened import Network, Opened, open_network
from analysis.reuse.effects import OnBatch, batches_on_device
from densenet_core.data.images import Images, evenly_spaced
from densenet_core.networks.densenet import DenseNet
from densenet_core.training.evaluation import check_fit

ITERATIONS = 300  # of a probe's training
Features = dict[tuple[int, int], np.ndarray]  # (block, source layer) -> (N, C)


def linear_probes(
    network: Network,
    train: Images,
    test: Images,
    num_train: int = 2000,
    num_test: int = 1000,
    on_batch: OnBatch = lambda done, total: None,
) -> pd.DataFrame:
    """Return the error of a linear classifier trained on the averaged maps after each layer.

    Linear classifier probes (Alain and Bengio 2017): scikit-learn's logistic regression with its default penalty, on
    standardized averages over positions; trained on training images, judged on test images. In a DenseNet the probe
    after layer s reads all maps of the block so far, as layer s+1 does; elsewhere the output of the layer.

    >>> from densenet_core import load_zoo
    >>> from densenet_core.data.datasets import load_splits
    >>> splits = load_splits("digits")
    >>> table = linear_probes(load_zoo("densenet-40-12-digits"), splits.train, splits.test, 100, 50)
    >>> table.columns.tolist()
    ['block', 'source_layer', 'num_maps', 'train_error', 'test_error']

    Args:
        train, test: labeled images, of which ``num_train`` and ``num_test`` are used, evenly spaced.
        on_batch: called with the probes trained and their total.

    Returns:
        Columns block, source_layer, num_maps, train_error and test_error (percent).

    Raises:
        DataError: the images do not fit the network.
    """
    opened = open_network(network)
    check_fit(opened.spec, test)
    inputs, labels = pooled_features(opened, evenly_spaced(train, num_train))
    test_inputs, test_labels = pooled_features(opened, evenly_spaced(test, num_test))
    rows = []
    for done, place in enumerate(inputs, start=1):
        errors = _probe_errors(inputs[place], labels, test_inputs[place], test_labels)
        rows.append((*place, inputs[place].shape[1], *errors))
        on_batch(done, len(inputs))
    return pd.DataFrame(rows, columns=["block", "source_layer", "num_maps", "train_error", "test_error"])


def pooled_features(opened: Opened, images: Images, batch_size: int = 64) -> tuple[Features, np.ndarray]:
    """Return the averages over positions that are there after each layer, (N, C) each, and the labels, (N,)."""
    batches: list[Features] = []
    labels = []
    with torch.inference_mode():
        for batch, own_labels in batches_on_device(images, batch_size):
            maps = opened.block_maps(batch)
            batches.append({place: own.flatten(2).mean(2).float().cpu().numpy() for place, own in maps.items()})
            labels.append(own_labels.cpu().numpy())
    features = {place: np.concatenate([own[place] for own in batches]) for place in batches[0]}
    return _cumulated(features) if isinstance(opened.model, DenseNet) else features, np.concatenate(labels)


def _cumulated(features: Features) -> Features:
    """Each source with all before it in its block, as a dense layer reads them."""
    found: Features = {}
    for block, places in groupby(sorted(features), key=lambda place: place[0]):
        own = list(places)
        found |= {(block, s): np.concatenate([features[p] for p in own[: n + 1]], 1) for n, (_, s) in enumerate(own)}
    return found


def _probe_errors(
    inputs: np.ndarray, labels: np.ndarray, test_inputs: np.ndarray, test_labels: np.ndarray
) -> tuple[float, float]:
    """Errors in percent on the training and the test images."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(inputs, labels)
    return 100 * (1 - probe.score(inputs, labels)), 100 * (1 - probe.score(test_inputs, test_labels))
