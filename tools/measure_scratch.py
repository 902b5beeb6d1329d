"""Compare pruned networks that are trained further with the same networks trained from new weights, on digits.

python -m tools.measure_scratch

For each of three seeds, a small DenseNet is trained and pruned to shares of its connections. Each is then trained
further, and from new weights for as many epochs as the whole network and the further training had together. Writes
``scratch_digits.csv`` into ``analysis/results/measured``.
"""

from __future__ import annotations

import pandas as pd

from analysis.figures.export import save_table
from analysis.reuse.connections import connection_weights
from analysis.reuse.pruning import compare_with_scratch, prune
from analysis.reuse.untrained import build_untrained
from densenet_core.data.datasets import DataSplits, load_splits
from densenet_core.networks.names import spec_from_name
from densenet_core.training.evaluation import evaluate_checkpoint
from densenet_core.training.finetuning import finetune
from tools.measured import MEASURED

ARCH = "densenet-22-8"
EPOCHS, FURTHER = 30, 3
ORDER, KEEPS = "total_effective_weight", (0.6, 0.3)
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


def main() -> None:
    splits = load_splits("digits")
    found = pd.concat([measure_seed(splits, seed) for seed in SEEDS], ignore_index=True)
    print("wrote", save_table(found, MEASURED / "scratch_digits.csv"), flush=True)


if __name__ == "__main__":
    main()
