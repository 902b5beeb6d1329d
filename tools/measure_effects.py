"""What the README says of feature reuse by effect, measured: `python tools/measure_effects.py [CIFAR10_JPEG]`.

Writes for each network of the zoo, into ``analysis/results/measured``, ``effects_NAME.csv`` (the reuse table with
all measures, on 500 test images, or all where there are fewer) and ``pruning_NAME.csv``.
CIFAR10_JPEG is a folder that holds CIFAR-10's images as JPEG files in class folders under test/ and train/; without it,
the network that was trained on them is left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

from analysis.figures.export import save_table
from analysis.reuse.measures import MEASURES
from analysis.reuse.measuring import measure_reuse
from analysis.reuse.pruning import pruning_curves
from densenet_core import load_zoo, zoo_names
from densenet_core.data.datasets import DataSplits, load_splits

MEASURED = Path(__file__).parents[1] / "analysis" / "results" / "measured"
NUM_IMAGES = 500


def splits_of(name: str, cifar10_jpeg: str | None) -> DataSplits | None:
    """The images that a network of the zoo was trained and tested on."""
    if name.endswith("digits"):
        return load_splits("digits")
    return load_splits("folder", cifar10_jpeg, normalize="cifar10") if cifar10_jpeg else None


def main(cifar10_jpeg: str | None = None) -> None:
    for name in zoo_names():
        splits = splits_of(name, cifar10_jpeg)
        if splits is None:
            print("left out:", name)
            continue
        network = load_zoo(name)
        table = measure_reuse(network, MEASURES, splits.test, NUM_IMAGES)
        print("wrote", save_table(table, MEASURED / f"effects_{name}.csv"))
        chosen_by = measure_reuse(network, MEASURES, splits.train, NUM_IMAGES)
        measures = [measure for measure in MEASURES if measure != "l1_per_input_map"]
        curves = pruning_curves(network, chosen_by, measures, splits.test, num_images=1000)
        print("wrote", save_table(curves, MEASURED / f"pruning_{name}.csv"))


if __name__ == "__main__":
    main(*sys.argv[1:])
