"""The data set that a network was trained on, as its checkpoint's record names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from densenet_core.data.names import CHANNEL_STATISTICS, DATASET_NAMES, Normalization
from densenet_core.errors import DataError


class RecordedData(NamedTuple):
    """A data set's name, and the channel statistics for its images (None: the data set's own)."""

    dataset: str
    normalize: Normalization | None


def recorded_data(record: Mapping[str, Any]) -> RecordedData | None:
    """Return the data set in a checkpoint's record, or None where the record does not name one.

    >>> recorded_data({"recipe": {"dataset": "folder", "normalize": "cifar10"}})
    RecordedData(dataset='folder', normalize='cifar10')
    >>> recorded_data({}) is None
    True
    """
    recipe = record.get("recipe")
    if not isinstance(recipe, Mapping) or recipe.get("dataset") not in DATASET_NAMES:
        return None
    normalize = recipe.get("normalize")
    return RecordedData(recipe["dataset"], normalize if normalize in CHANNEL_STATISTICS else None)


def choose_data(record: Mapping[str, Any], dataset: str | None, normalize: Normalization | None) -> RecordedData:
    """Return the data set to measure on: what is given, else what the record names.

    Channel statistics are taken from the record where the data set is the recorded one, so that a network is
    measured on images normalized as in its training.

    Raises:
        DataError: neither names a data set, or a class folder's channel statistics.
    """
    recorded = recorded_data(record)
    if dataset is None:
        if recorded is None:
            raise DataError(
                f"the checkpoint's record does not name the data set it was trained on: give --dataset "
                f"({', '.join(DATASET_NAMES)})"
            )
        return RecordedData(recorded.dataset, normalize or recorded.normalize)
    if dataset == "folder" and normalize is None:
        if recorded is None:
            raise DataError(
                "the checkpoint's record does not name the channel statistics of its training: give --normalize "
                f"({', '.join(CHANNEL_STATISTICS)})"
            )
        own = {"svhn": "none", "folder": "imagenet"}.get(recorded.dataset, recorded.dataset)  # as load_splits has them
        return RecordedData(dataset, recorded.normalize or cast(Normalization, own))
    return RecordedData(dataset, normalize)
