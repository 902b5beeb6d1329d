"""Compare pruned networks that are trained further with the same networks trained from new weights, on digits.

python -m tools.findings.measure_scratch [--only pruned|random]

For each of three seeds, a small DenseNet is trained and pruned to shares of its connections. Each is then trained
further, and from new weights for as many epochs as the whole network and the further training had together. As many
connections as the fewest, but random ones, are trained from new weights, too. Writes ``scratch_digits.csv`` into
``analysis/results/measured``; with ``--only``, the other rows there stay.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from analysis.figures.export import save_table
from analysis.reuse.connections import connection_weights, dense_spec
from analysis.reuse.pruning import RANDOM, compare_with_scratch, prune
from analysis.reuse.untrained import build_untrained
from densenet_core.data.datasets import DataSplits, load_splits
from densenet_core.networks.names import spec_from_name
from densenet_core.training.evaluation import evaluate_checkpoint
from densenet_core.training.finetuning import finetune
from tools.findings.measured import MEASURED

ARCH = "densenet-22-8"
EPOCHS, FURTHER = 30, 3
ORDER, KEEPS = "total_effective_weight", (0.6, 0.3)
RANDOM_KEEP = 0.3  # of the random connections
SEEDS = (0, 1, 2)


def measure_seed(splits: DataSplits, seed: int) -> pd.DataFrame:
    """Return the errors of one seed's networks, one row for each share and way."""
    spec = spec_from_name(ARCH, in_channels=1)
    whole = finetune(build_untrained(spec, seed=seed), splits, EPOCHS, 0.1, seed)
    table, rows = connection_weights(whole), []
    for keep in KEEPS:
        pruned = prune(whole, table, ORDER, keep, input_size=splits.test.image_size)
        compared = compare_with_scratch(pruned, splits, FURTHER, EPOCHS + FURTHER, (seed,))
        errors = {
            f"{name}_error": evaluate_checkpoint(each, splits.test).top1_error
            for name, each in (("whole", whole), ("pruned", pruned))
        }
        rows.append(compared.assign(keep=keep, **errors))
    return pd.concat(rows, ignore_index=True)


def measure_random(splits: DataSplits, seed: int) -> pd.DataFrame:
    """Return the error of a network with as many connections at random, from new weights: one row."""
    new = build_untrained(spec_from_name(ARCH, in_channels=1), seed=seed)
    table = connection_weights(new)
    table = table.assign(**{RANDOM: np.random.default_rng(seed).random(len(table))})
    pruned = prune(new, table, RANDOM, RANDOM_KEEP, input_size=splits.test.image_size)
    trained = finetune(build_untrained(dense_spec(pruned), seed=seed), splits, EPOCHS + FURTHER, 0.1, seed)
    row = (RANDOM, seed, EPOCHS + FURTHER, trained.num_params, trained.record["test_error"], RANDOM_KEEP)
    return pd.DataFrame([row], columns=["start", "seed", "epochs", "params", "test_error", "keep"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("pruned", "random"))
    only, splits, file = parser.parse_args().only, load_splits("digits"), MEASURED / "scratch_digits.csv"
    measures = {"pruned": measure_seed, "random": measure_random}
    found = [measures[part](splits, seed) for part in ([only] if only else measures) for seed in SEEDS]
    if only:
        before = pd.read_csv(file)
        is_random = before["start"] == RANDOM
        found.insert(0, before[~is_random if only == "random" else is_random])
    print("wrote", save_table(pd.concat(found, ignore_index=True), file), flush=True)


if __name__ == "__main__":
    main()
