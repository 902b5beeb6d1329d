"""The feature-reuse table with any measures, those on images too."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.reuse.ablation import OnTable, connection_ablation
from analysis.reuse.connections import Network, connection_weights
from analysis.reuse.effects import OnBatch, connection_effects
from analysis.reuse.measures import MEASURES, WEIGHT_MEASURES, Precision, Replacement, as_names, needs_images
from densenet_core.data.images import Images
from densenet_core.errors import own_words

logger = logging.getLogger(__name__)


def measure_reuse(
    network: Network,
    measures: Iterable[str] | str = WEIGHT_MEASURES,
    images: Images | None = None,
    num_images: int = 500,
    replace: Replacement = "zero",
    on_batch: OnBatch = lambda done, total: None,
    keep_in: Path | None = None,
    workers: int = 1,
    precision: Precision = "fp32",
    on_table: OnTable = lambda table: None,
) -> pd.DataFrame:
    """Return the feature-reuse table with a column for each measure; the measures of the weights are always there.

    >>> from densenet_core import checkpoint_from_state_dict, create_model
    >>> from densenet_core.data.datasets import load_test_images
    >>> network = checkpoint_from_state_dict(create_model("densenet-10-4", in_channels=1).state_dict())
    >>> table = measure_reuse(network, ("mean_abs_weight", "taylor"), load_test_images("digits"), num_images=20)
    >>> len(table)
    18

    Args:
        measures: names of ``MEASURES``, or one name.
        images: labeled images for the measures that need some; ``num_images`` are taken, evenly spaced.
        replace, on_batch, keep_in, workers, precision, on_table: as in ``connection_ablation``.

    Raises:
        ValueError: a measure is unknown, or needs images and there are none.
        CheckpointError: the network is not a DenseNet.
        DataError: the images do not fit the network.
    """
    wanted = sorted(set(as_names(measures)))
    table = connection_weights(network)
    if not needs_images(wanted):
        return table
    if images is None:
        first = next(name for name in wanted if MEASURES[name].on_images)
        raise ValueError(f"measure {first} needs images: give images, such as load_test_images('digits')")
    needs = {MEASURES[name].needs for name in wanted}
    if needs & {"images", "gradients"}:
        table = connection_effects(network, images, num_images, on_batch=on_batch)
    if "cuts" in needs:
        options: Any = {"on_batch": on_batch, "keep_in": keep_in, "workers": workers, "precision": precision}
        options |= {"on_table": on_table}
        cut = connection_ablation(network, images, num_images, replace, **options)
        table = table.assign(**{name: cut[name] for name in cut.columns.difference(table.columns, sort=False)})
        table.attrs |= cut.attrs
    return table


def cache_folder() -> Path:
    """Return the folder that keeps slow measurements for the next call.

    ``$XDG_CACHE_HOME/densenet-lens``, by default in ``~/.cache``. Where that folder can't be written, a temporary one
    takes its place until this process ends, and a warning says so.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "densenet-lens"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        return _temporary_folder(own_words(error, "the user has no home folder"))


@functools.cache
def _temporary_folder(reason: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="densenet-lens-cache-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    logger.warning("the cache folder can't be written (%s): measurements are kept until this process ends", reason)
    return folder
