"""Measure what of the findings depends on the seed: the numbers of "Over seeds" in docs/findings.md.

python -m tools.findings.measure_seeds [--runs DIR] [--seeds N]

Trains a small DenseNet on digits with several seeds and measures each like the networks of the zoo. Writes the
feature-reuse tables (``seeds_effects_digits.csv``), the claims (``seeds_claims_digits.csv``) and where they decide
(``seeds_decisions_digits.csv``) into ``analysis/results/measured``. Run it again to resume.
"""

from __future__ import annotations

import pandas as pd

from analysis.claims.claims import check_claims
from analysis.figures.export import save_table
from analysis.prediction.lens import pooled_parts
from analysis.reuse.measures import CONNECTION, HALVES, MEASURES
from analysis.reuse.measuring import cache_folder, measure_reuse
from densenet_core import Checkpoint
from densenet_core.data.datasets import load_splits
from densenet_core.data.images import Images
from tools.findings.measure_decisions import decisions, untrained_decisions
from tools.findings.measure_overfitting import parse_seeds, train_seeds
from tools.findings.measured import MEASURED

ARCH, EPOCHS = "densenet-22-8", 100
NUM_CLAIM_IMAGES = 200  # as tools/findings/measure_claims.py
KEPT = (*CONNECTION, "num_channels", *MEASURES, *HALVES)


def effects(network: Checkpoint, images: Images) -> pd.DataFrame:
    """Return the feature-reuse table with all measures, on all images."""
    table = measure_reuse(network, MEASURES, images, len(images), keep_in=cache_folder())
    return table[[column for column in KEPT if column in table]]


def decided(network: Checkpoint, images: Images) -> pd.DataFrame:
    """Return where the network decides, beside five untrained ones: one row."""
    found = decisions(pooled_parts(network, images, len(images)))
    low, high = (untrained := untrained_decisions(network.architecture, images))["last_third_range"]
    numbers = {name: value for name, value in found.items() if not isinstance(value, list)}
    of_untrained = {"untrained": untrained["last_third_share"], "untrained_low": low, "untrained_high": high}
    return pd.DataFrame([numbers | of_untrained])


def main() -> None:
    options = parse_seeds(__doc__)
    images = load_splits("digits").test
    tables: dict[str, list[pd.DataFrame]] = {"effects": [], "claims": [], "decisions": []}
    for seed, network in enumerate(train_seeds(ARCH, 0.0, options.seeds, options.runs, EPOCHS)):
        found = {
            "effects": effects(network, images),
            "claims": check_claims(network, images, num_images=NUM_CLAIM_IMAGES),
            "decisions": decided(network, images),
        }
        for what, table in found.items():
            tables[what].append(table.assign(seed=seed, error=network.record["test_error"]))
        print("measured seed", seed, flush=True)
    for what, own in tables.items():
        print("wrote", save_table(pd.concat(own, ignore_index=True), MEASURED / f"seeds_{what}_digits.csv"))


if __name__ == "__main__":
    main()
