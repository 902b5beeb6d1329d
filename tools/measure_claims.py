"""Test the paper's claims on the networks of the zoo, or those named.

python -m tools.measure_claims [NETWORK ...] [--cifar10-jpeg DIR]

Writes ``claims_NAME.csv`` into ``analysis/results/measured``. DIR is a folder with CIFAR-10's images as JPEG files in
class folders under test/ and train/; without it, the networks that were trained on them are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.claims.claims import check_claims
from analysis.figures.export import save_table
from densenet_core import load_zoo, zoo_names
from densenet_core.data.datasets import load_test_images

MEASURED = Path(__file__).parents[1] / "analysis" / "results" / "measured"
NUM_IMAGES = {"digits": 200, "cifar10-jpeg": 100}  # gradients by path length take most of the time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--cifar10-jpeg", type=Path)
    options = parser.parse_args()
    for name in options.networks or zoo_names():
        if name.endswith("digits"):
            images, number = load_test_images("digits"), NUM_IMAGES["digits"]
        elif options.cifar10_jpeg:
            images = load_test_images("folder", options.cifar10_jpeg / "test", "cifar10")
            number = NUM_IMAGES["cifar10-jpeg"]
        else:
            print("left out:", name)
            continue
        claims = check_claims(load_zoo(name), images, num_images=number)
        print("wrote", save_table(claims, MEASURED / f"claims_{name}.csv"))


if __name__ == "__main__":
    main()
