"""The networks that docs/findings.md measures, of the zoo and of files that others trained: images, titles, tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from densenet_core import Checkpoint, load_checkpoint, load_zoo, zoo_names
from densenet_core.data.datasets import DataSplits, load_splits

MEASURED = Path(__file__).parents[2] / "analysis" / "results" / "measured"
OTHERS = {  # files that others trained, which do not ship: what is measured of them is known by the file's name
    "densenet_bc_100_12_cifar10": "DenseNet-BC (L=100, k=12) that others trained on CIFAR-10+, on CIFAR-10 (JPEG)",
    "resnet20_cifar10": "ResNet-20 that others trained on CIFAR-10+, on CIFAR-10 (JPEG)",
}


def name_network(network: str) -> str:
    """Return the name of a network's results: its name in the zoo, or that of its file.

    >>> name_network("runs/densenet_bc_100_12_cifar10.pth.tar")
    'densenet_bc_100_12_cifar10'
    """
    return Path(network).name.split(".")[0]


def open_network(network: str) -> Checkpoint:
    """Return a network of the zoo, or that of a file."""
    return load_zoo(network) if network in zoo_names() else load_checkpoint(network)


def load_own_splits(network: str, cifar10_jpeg: Path | None) -> DataSplits | None:
    """Return the images that a network was trained and tested on, CIFAR-10's as JPEG files; ``None`` without them."""
    if network.endswith("digits"):
        return load_splits("digits")
    return load_splits("folder", cifar10_jpeg, normalize="cifar10") if cifar10_jpeg else None


def network_title(name: str) -> str:
    """Return a network and its data as the tables of docs/findings.md name them."""
    if name in OTHERS:
        return OTHERS[name]
    network = load_zoo(name)
    return f"{network.spec.title}, {network.record['dataset']}"


def measured_tables(what: str) -> dict[str, pd.DataFrame]:
    """Return the tables of one kind (``"effects"``, ``"pruning"``, ``"claims"``, ``"classes"``) by measured network."""
    return {name: pd.read_csv(file) for name, file in _measured_files(f"{what}_{{}}.csv").items()}


def measured_decisions() -> dict[str, dict[str, Any]]:
    """Return what tools/findings/measure_decisions.py found, by measured network."""
    return {name: json.loads(file.read_text()) for name, file in _measured_files("decisions_{}.json").items()}


def _measured_files(pattern: str) -> dict[str, Path]:
    files = {name: MEASURED / pattern.format(name) for name in (*zoo_names(), *OTHERS)}
    return {name: file for name, file in files.items() if file.exists()}
