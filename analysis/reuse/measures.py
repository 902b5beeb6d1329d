"""All measures of feature reuse by their names: the feature-reuse table with whichever are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from analysis.reuse.ablation import Replace, connection_ablation
from analysis.reuse.connections import DATA_MEASURES, MEASURES, WEIGHT_MEASURES, Network, connection_weights
from analysis.reuse.effects import OnBatch, connection_effects
from densenet_core.data.images import Images


def needs_images(measures: Iterable[str]) -> bool:
    """Whether one of them is measured on data.

    Raises:
        ValueError: a name is not known; those that are, are listed.
    """
    wanted = list(measures)
    if unknown := [name for name in wanted if name not in MEASURES]:
        raise ValueError(f"measure {unknown[0]!r} is none of {', '.join(MEASURES)}")
    return bool(set(wanted) & set(DATA_MEASURES))


def measure_reuse(
    network: Network,
    measures: Iterable[str] = WEIGHT_MEASURES,
    images: Images | None = None,
    num_images: int = 500,
    replace: Replace = "zero",
    on_batch: OnBatch = lambda done, total: None,
    keep_in: Path | None = None,
) -> pd.DataFrame:
    """The feature-reuse table with a column a measure; those of the weights are always there.

    Args:
        measures: names of ``MEASURES``.
        images: for contribution, taylor and ablation, of which ``num_images`` are taken, evenly spaced.
        replace, on_batch, keep_in: as ``connection_ablation``'s.

    Raises:
        ValueError: a measure is not known, or needs images and there are none.
        CheckpointError: the network is no DenseNet.
        DataError: the images do not fit it.
    """
    wanted = set(measures)
    table = connection_weights(network)
    if not needs_images(wanted):
        return table
    if images is None:
        raise ValueError(f"measure {min(wanted & set(DATA_MEASURES))} needs images")
    if wanted & {"contribution", "taylor"}:
        table = connection_effects(network, images, num_images, on_batch=on_batch)
    if "ablation" in wanted:
        cut = connection_ablation(network, images, num_images, replace, on_batch=on_batch, keep_in=keep_in)
        table = table.assign(ablation=cut["ablation"], ablation_error=cut["ablation_error"])
        table.attrs |= cut.attrs
    return table


def cache_folder() -> Path:
    """Where measurements that take long are kept for the next time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "densenet-lens"
