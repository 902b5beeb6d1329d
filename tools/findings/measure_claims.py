"""Test the paper's claims on the networks of the zoo, or those named.

python -m tools.findings.measure_claims [NETWORK ...] [--cifar10-jpeg DIR]

NETWORK is one of the zoo or a file. Writes ``claims_NAME.csv`` into ``analysis/results/measured``. DIR is a folder
with CIFAR-10's images as JPEG files in class folders under test/ and train/; without it, the networks that were trained
on them are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.claims.claims import check_claims
from analysis.figures.export import save_table
from densenet_core import zoo_names
from tools.findings.measured import MEASURED, load_own_splits, name_network, open_network

NUM_IMAGES = {"digits": 200, "cifar10": 100}  # gradients by path length take most of the time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--cifar10-jpeg", type=Path)
    options = parser.parse_args()
    for network in options.networks or zoo_names():
        name = name_network(network)
        splits = load_own_splits(name, options.cifar10_jpeg)
        if splits is None:
            print("left out:", network)
            continue
        number = NUM_IMAGES["digits" if name.endswith("digits") else "cifar10"]
        claims = check_claims(open_network(network), splits.test, num_images=number)
        print("wrote", save_table(claims, MEASURED / f"claims_{name}.csv"), flush=True)


if __name__ == "__main__":
    main()
