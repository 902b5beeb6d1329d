"""Measure what docs/findings.md says of feature reuse by effect.

python -m tools.findings.measure_effects [NETWORK ...] [--cifar10-jpeg DIR] [--images N] [--only effects]

Writes two tables for each network of the zoo, or those named (of the zoo, or files), into
``analysis/results/measured``: ``effects_NAME.csv``, the feature-reuse table with all measures on test images, and
``pruning_NAME.csv``. DIR holds CIFAR-10's images as JPEG files in class folders under test/ and train/; without it,
the networks trained on them are left out. An interrupted measurement resumes.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pandas as pd

from analysis.figures.export import save_table
from analysis.reuse.baselines import ORDERS
from analysis.reuse.comparison.image_effects import EFFECTS
from analysis.reuse.measures import MEASURES
from analysis.reuse.measuring import cache_folder, measure_reuse
from analysis.reuse.pruning import pruning_curves
from densenet_core import zoo_names
from densenet_core.data.datasets import DataSplits
from densenet_core.data.images import sample_evenly
from tools.findings.measured import MEASURED, load_own_splits, name_network, open_network

NUM_IMAGES = 500  # test images of the effects; all, where there are fewer
NUM_CHOOSING = 100  # training images that order the connections for pruning
NUM_TESTED = 300  # test images of the pruned networks
KEEPS = (1.0, 0.8, 0.6, 0.4, 0.2)
REPAIRED = ("total_abs_weight", "taylor")


def measure_effects(network: str, splits: DataSplits, num_images: int) -> None:
    table = measure_reuse(open_network(network), MEASURES, splits.test, num_images, keep_in=cache_folder())
    effects = table.attrs[EFFECTS].values
    errors = effects.std(axis=0, ddof=1, dtype=float) / math.sqrt(len(effects))  # nats, over images
    table = table.assign(num_images=table.attrs["num_images"], ablation_standard_error=errors)
    print("wrote", save_table(table, MEASURED / f"effects_{name_network(network)}.csv"), flush=True)


def measure_pruning(network: str, splits: DataSplits) -> None:
    """Measure every order with zeros in place of what is cut, and some with means or norms estimated again."""
    checkpoint = open_network(network)
    training = sample_evenly(splits.train, NUM_CHOOSING)
    table = measure_reuse(checkpoint, MEASURES, training, NUM_CHOOSING, keep_in=cache_folder())
    curves = [pruning_curves(checkpoint, table, ORDERS, splits.test, KEEPS, num_images=NUM_TESTED, num_random=3)]
    for repair in ("mean", "norms"):
        how = {"num_images": NUM_TESTED, "num_random": 1, "repair": repair, "training": training}
        curves.append(pruning_curves(checkpoint, table, REPAIRED, splits.test, KEEPS, **how))
    file = MEASURED / f"pruning_{name_network(network)}.csv"
    print("wrote", save_table(pd.concat(curves, ignore_index=True), file), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--cifar10-jpeg", type=Path)
    parser.add_argument("--images", type=int, default=NUM_IMAGES, help="test images of the effects")
    parser.add_argument("--only", choices=("effects", "pruning"))
    options = parser.parse_args()
    for network in options.networks or zoo_names():
        splits = load_own_splits(name_network(network), options.cifar10_jpeg)
        if splits is None:
            print("left out:", network)
            continue
        if options.only != "pruning":
            measure_effects(network, splits, options.images)
        if options.only != "effects":
            measure_pruning(network, splits)


if __name__ == "__main__":
    main()
