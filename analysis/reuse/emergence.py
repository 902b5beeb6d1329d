"""Feature reuse over a training: the feature-reuse tables of all epochs, in one file per run."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pandas as pd

from analysis.reuse.connections import KEYS, connection_weights
from analysis.reuse.ranks import spearman
from densenet_core import DenseNet, RunError
from densenet_core.errors import own_words
from densenet_core.files import open_file, write_whole
from densenet_core.networks.network import Network
from densenet_core.training.runs.files import REUSE, Metric

logger = logging.getLogger(__name__)


def record_reuse(folder: Path, model: Network, metrics: list[Metric]) -> None:
    """Add the network's feature-reuse table to the run's reuse.parquet; pass it to ``train`` as ``on_epoch``.

    Tables of this epoch and later ones, which an interrupted run may have left, are replaced. A damaged file is
    replaced too, with a warning: the tables then begin at this epoch. Nothing is written for a network that is not a
    DenseNet.
    """
    if not isinstance(model, DenseNet):
        return
    table, epoch = connection_weights(model), metrics[-1].epoch
    table.insert(0, "epoch", epoch)
    whole = pd.concat([*_tables_before(folder, epoch), table], ignore_index=True)
    write_whole(folder / REUSE, lambda temporary: whole.to_parquet(temporary, index=False))


def _tables_before(folder: Path, epoch: int) -> list[pd.DataFrame]:
    """Return the tables of earlier epochs, in one; none, with a warning, where the file is damaged."""
    if not (folder / REUSE).exists():
        return []
    try:
        tables = reuse_over_training(folder)
    except RunError as error:
        logger.warning("%s; it is replaced, and begins anew with epoch %s", error, epoch)
        return []
    return [tables[tables["epoch"] < epoch]]


def reuse_over_training(run: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the feature-reuse tables of a run, with a first column ``epoch`` (1-based).

    Raises:
        RunError: the run has no tables, or the file is damaged.
    """
    file = Path(run) / REUSE
    if not file.exists():
        raise RunError(
            f"run {Path(run).resolve().name!r} has no {REUSE}: train it with densenet-lens train (without --no-reuse)"
        )
    try:
        with open_file(file) as stream:
            tables = pd.read_parquet(stream)
    except Exception as error:  # damaged files make pyarrow raise many kinds
        raise RunError(f"{str(file)!r} is damaged: {own_words(error, 'it is not a whole Parquet file')}") from error
    if missing := [name for name in ("epoch", *KEYS, "mean_abs_weight") if name not in tables]:
        raise RunError(f"{str(file)!r} is damaged: it has no column {missing[0]!r}")
    if not pd.api.types.is_integer_dtype(tables["epoch"]):
        raise RunError(f"{str(file)!r} is damaged: its epochs are not integers")
    return tables


def reuse_at(run: str | os.PathLike[str], epoch: int) -> pd.DataFrame:
    """Return the feature-reuse table of a run after an epoch (1-based), as ``connection_weights`` returned it then.

    Raises:
        RunError: the run has no tables, or none of this epoch.
    """
    tables = reuse_over_training(run)
    if (own := tables[tables["epoch"] == epoch]).empty:
        first, last = (int(number) for number in (tables["epoch"].min(), tables["epoch"].max()))
        raise RunError(f"run {Path(run).resolve().name!r} has no table of epoch {epoch}: choose from {first} to {last}")
    return own.drop(columns="epoch").reset_index(drop=True)


STEADY = 0.9  # rank correlation with the last epoch that counts as the same pattern


def likeness_to_end(tables: pd.DataFrame, measure: str = "mean_abs_weight") -> pd.DataFrame:
    """Return how similar the pattern of reuse is to the final one after each epoch.

    Args:
        tables: as returned by ``reuse_over_training``.

    Returns:
        Columns epoch, likeness: Spearman's rank correlation of the measure, over all connections, with the last
        epoch's.
    """
    epochs = sorted(int(epoch) for epoch in tables["epoch"].unique())
    values = {epoch: tables.loc[tables["epoch"] == epoch, measure].to_numpy(float) for epoch in epochs}
    rows = [(epoch, spearman(values[epoch], values[epochs[-1]])) for epoch in epochs]
    return pd.DataFrame(rows, columns=["epoch", "likeness"])


def onset(likeness: pd.DataFrame) -> int:
    """Return the first epoch from which the likeness to the last epoch stays at ``STEADY`` or above."""
    below = likeness.loc[likeness["likeness"] < STEADY, "epoch"]
    later = likeness.loc[likeness["epoch"] > (below.max() if len(below) else 0), "epoch"]
    return int(later.min())
