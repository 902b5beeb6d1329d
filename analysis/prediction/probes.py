"""Linear probes: how well a linear classifier separates the classes after each layer of every block."""

from __future__ import annotations

import warnings
from itertools import groupby

import numpy as np
import pandas as pd
import torch

from analysis.prediction.predictor import NetworkLike, Predictor, as_predictor
from analysis.reuse.effects import OnBatch, batches_on_device
from densenet_core.data.images import Images, sample_evenly
from densenet_core.errors import DataError
from densenet_core.networks.densenet import DenseNet
from densenet_core.training.evaluation import check_fit

ITERATIONS = 300  # of a probe's solver, at most
Features = dict[tuple[int, int], np.ndarray]  # (block, source layer) -> (N, C)


def linear_probes(
    network: NetworkLike,
    train: Images,
    test: Images,
    num_train: int = 2000,
    num_test: int = 1000,
    on_batch: OnBatch = lambda done, total: None,
) -> pd.DataFrame:
    """Return the error of a linear classifier trained on the averaged maps after each layer.

    Linear classifier probes (Alain and Bengio 2017): scikit-learn's logistic regression with its default penalty, on
    standardized averages over positions, trained on training images and evaluated on test images. In a DenseNet the
    probe after layer s reads all maps of the block so far, as layer s+1 does; elsewhere the output of the layer.

    >>> from densenet_core import load_zoo
    >>> from densenet_core.data.datasets import load_splits
    >>> splits = load_splits("digits")
    >>> table = linear_probes(load_zoo("densenet-40-12-digits"), splits.train, splits.test, 100, 50)
    >>> table.columns.tolist()
    ['block', 'source_layer', 'num_maps', 'train_error', 'test_error']

    Args:
        train, test: labeled images, of which ``num_train`` and ``num_test`` are used, evenly spaced.
        on_batch: called with the number of trained probes and their total.

    Returns:
        Columns block, source_layer, num_maps, train_error and test_error (percent).

    Raises:
        DataError: the images do not fit the network, or those to train on are all of one class.
    """
    predictor = as_predictor(network)
    check_fit(predictor.spec, test)
    inputs, labels = pooled_features(predictor, sample_evenly(train, num_train))
    if len(np.unique(labels)) < 2:
        raise DataError("the images to train probes on are all of one class: give images of two classes or more")
    test_inputs, test_labels = pooled_features(predictor, sample_evenly(test, num_test))
    rows = []
    on_batch(0, len(inputs))  # the time that is left is counted from here, for reading the images is another speed
    for done, place in enumerate(inputs, start=1):
        errors = _probe_errors(inputs[place], labels, test_inputs[place], test_labels)
        rows.append((*place, inputs[place].shape[1], *errors))
        on_batch(done, len(inputs))
    return pd.DataFrame(rows, columns=["block", "source_layer", "num_maps", "train_error", "test_error"])


def pooled_features(predictor: Predictor, images: Images, batch_size: int = 64) -> tuple[Features, np.ndarray]:
    """Return the averages over positions after each layer, (N, C) each, and the labels, (N,)."""
    batches: list[Features] = []
    labels = []
    with torch.inference_mode():
        for batch, own_labels in batches_on_device(images, batch_size):
            maps = predictor.block_maps(batch)
            batches.append({place: own.flatten(2).mean(2).float().cpu().numpy() for place, own in maps.items()})
            labels.append(own_labels.cpu().numpy())
    features = {place: np.concatenate([own[place] for own in batches]) for place in batches[0]}
    return _concatenate_sources(features) if isinstance(predictor.model, DenseNet) else features, np.concatenate(labels)


def _concatenate_sources(features: Features) -> Features:
    """Concatenate each source with all earlier ones of its block, as a dense layer reads them."""
    found: Features = {}
    for block, places in groupby(sorted(features), key=lambda place: place[0]):
        own = list(places)
        found |= {(block, s): np.concatenate([features[p] for p in own[: n + 1]], 1) for n, (_, s) in enumerate(own)}
    return found


def _probe_errors(
    inputs: np.ndarray, labels: np.ndarray, test_inputs: np.ndarray, test_labels: np.ndarray
) -> tuple[float, float]:
    """Return the errors in percent on the training and the test images."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(inputs, labels)
    return 100 * (1 - probe.score(inputs, labels)), 100 * (1 - probe.score(test_inputs, test_labels))
