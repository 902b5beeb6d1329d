"""Loss and error of runs by epoch, as one tidy table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from densenet_core.training.runs.files import METRIC_COLUMNS, METRICS, read_whole_metrics


def training_curves(runs: Mapping[str, str | Path]) -> pd.DataFrame:
    """Return the metrics of run folders.

    Args:
        runs: folders by the names to show.

    Returns:
        Columns network and the fields of ``Metric``: epoch, split, loss (nats), error (percent), seconds, ... Damaged
        rows of a metrics.csv are left out; ``attrs["skipped"]`` reports them.

    Raises:
        RunError: a folder has no metrics.csv.
    """
    parts, skipped = [], []
    for network, folder in runs.items():
        metrics, num_damaged = read_whole_metrics(Path(folder) / METRICS)
        table = pd.DataFrame([asdict(metric) for metric in metrics], columns=list(METRIC_COLUMNS))
        parts.append(table.assign(network=network)[["network", *METRIC_COLUMNS]])
        if num_damaged:
            skipped.append(f"{network}: {num_damaged} damaged line(s) of {METRICS} were skipped")
    curves = pd.concat(parts, ignore_index=True)
    curves.attrs["skipped"] = skipped
    return curves
