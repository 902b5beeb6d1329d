"""Measure what docs/findings.md says of feature reuse by effect.

python -m tools.measure_effects [NETWORK ...] [--cifar10-jpeg DIR]

Writes two tables for each network of the zoo, or those named, into ``analysis/results/measured``: ``effects_NAME.csv``,
the feature-reuse table with all measures on test images, and ``pruning_NAME.csv``. DIR holds CIFAR-10's images as JPEG
files in class folders under test/ and train/; without it, the networks trained on them are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from analysis.figures.export import save_table
from analysis.reuse.baselines import ORDERS
from analysis.reuse.measures import MEASURES
from analysis.reuse.measuring import cache_folder, measure_reuse
from analysis.reuse.pruning import pruning_curves
from densenet_core import load_zoo, zoo_names
from densenet_core.data.datasets import DataSplits, load_splits
from densenet_core.data.images import sample_evenly

MEASURED = Path(__file__).parents[1] / "analysis" / "results" / "measured"
NUM_IMAGES = 500  # test images of the effects; all, where there are fewer
NUM_CHOOSING = 100  # training images that order the connections for pruning
NUM_TESTED = 300  # test images of the pruned networks
KEEPS = (1.0, 0.8, 0.6, 0.4, 0.2)
REPAIRED = ("total_abs_weight", "taylor")


def load_own_splits(name: str, cifar10_jpeg: str | None) -> DataSplits | None:
    """Return the images that a network of the zoo was trained and tested on."""
    if name.endswith("digits"):
        return load_splits("digits")
    return load_splits("folder", cifar10_jpeg, normalize="cifar10") if cifar10_jpeg else None


def measure_effects(name: str, splits: DataSplits) -> None:
    table = measure_reuse(load_zoo(name), MEASURES, splits.test, NUM_IMAGES, keep_in=cache_folder())
    table = table.assign(num_images=table.attrs["num_images"])
    print("wrote", save_table(table, MEASURED / f"effects_{name}.csv"), flush=True)


def measure_pruning(name: str, splits: DataSplits) -> None:
    """Measure every order with zeros in place of what is cut, and some with means or norms estimated again."""
    network = load_zoo(name)
    training = sample_evenly(splits.train, NUM_CHOOSING)
    table = measure_reuse(network, MEASURES, training, NUM_CHOOSING, keep_in=cache_folder())
    curves = [pruning_curves(network, table, ORDERS, splits.test, KEEPS, num_images=NUM_TESTED, num_random=3)]
    for repair in ("mean", "norms"):
        how = {"num_images": NUM_TESTED, "num_random": 1, "repair": repair, "training": training}
        curves.append(pruning_curves(network, table, REPAIRED, splits.test, KEEPS, **how))
    print("wrote", save_table(pd.concat(curves, ignore_index=True), MEASURED / f"pruning_{name}.csv"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--cifar10-jpeg")
    options = parser.parse_args()
    for measure in (measure_effects, measure_pruning):
        for name in options.networks or zoo_names():
            splits = load_own_splits(name, options.cifar10_jpeg)
            if splits is None:
                print("left out:", name)
                continue
            measure(name, splits)


if __name__ == "__main__":
    main()
