"""Test the paper's claim that DenseNets overfit less, over seeds: the numbers of "Overfitting" in docs/findings.md.

python -m tools.findings.measure_overfitting [--runs DIR] [--seeds N]

Trains DenseNets and ResNets of about the same mult_adds on digits without augmentation, the DenseNets with the paper's
dropout and without, and compares their gaps between test and training loss: ``overfitting_digits.csv`` in
``analysis/results/measured``. Run it again to resume.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch

from analysis.claims.claim import Criterion, Measured, judge
from analysis.claims.generalization import compare_gaps
from analysis.figures.export import save_table
from densenet_core import Checkpoint, load_checkpoint
from densenet_core.training.config import recipe_config
from densenet_core.training.loop import train
from tools.findings.measured import MEASURED

PAIRS = (("densenet-16-6", "resnet-8"), ("densenet-22-8", "resnet-20"))
DROP_RATES = (0.2, 0.0)  # of the DenseNets; the ResNets have none, as in the paper
EPOCHS = 20


def parse_seeds(description: str | None) -> argparse.Namespace:
    """Return ``runs`` and ``seeds`` of the command line; from here on, one thread computes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the trained networks")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    torch.set_num_threads(1)
    return parser.parse_args()


def train_seeds(arch: str, drop_rate: float, num_seeds: int, runs: Path, epochs: int = EPOCHS) -> list[Checkpoint]:
    """Train a network by the paper's recipe with each seed, or return what is trained already."""
    networks = []
    for seed in range(num_seeds):
        name = f"{arch}-{epochs}-epochs-dropout-{drop_rate:g}-seed-{seed}"
        own = {"epochs": epochs, "seed": seed, "drop_rate": drop_rate, "runs_dir": str(runs)}
        train(recipe_config("cifar", arch, "digits", name, **own), show_progress=True)
        networks.append(load_checkpoint(runs / name))
    return networks


def overfitting_rows(num_seeds: int, runs: Path) -> pd.DataFrame:
    """Compare the gaps (nats) of each pair, with each rate of dropout: one row per comparison."""
    rows = []
    for densenet, resnet in PAIRS:
        theirs = train_seeds(resnet, 0.0, num_seeds, runs)
        for drop_rate in DROP_RATES:
            ours = train_seeds(densenet, drop_rate, num_seeds, runs)
            found = compare_gaps(ours, theirs)
            measured = Measured(found.difference, found.low, found.high)
            rows.append(
                {
                    "network": ours[0].spec.title,
                    "drop_rate": drop_rate,
                    "beside": theirs[0].spec.title,
                    "num_seeds": num_seeds,
                    "gap": pd.Series(found.ours).mean(),
                    "gap_std": pd.Series(found.ours).std(),
                    "gap_beside": pd.Series(found.theirs).mean(),
                    "gap_beside_std": pd.Series(found.theirs).std(),
                    "difference": found.difference,
                    "low": found.low,
                    "high": found.high,
                    "verdict": str(judge(measured, Criterion(at_most=0))),
                    "error": pd.Series([network.record["test_error"] for network in ours]).mean(),
                    "error_beside": pd.Series([network.record["test_error"] for network in theirs]).mean(),
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    options = parse_seeds(__doc__)
    table = overfitting_rows(options.seeds, options.runs)
    print("wrote", save_table(table, MEASURED / "overfitting_digits.csv"))


if __name__ == "__main__":
    main()
