"""Measure where the shipped networks decide: the numbers of "Where a decision is made" in docs/findings.md.

python -m tools.findings.measure_decisions NETWORK [--dataset folder --data DIR --normalize cifar10]
    [--images N] [--classes N]

Writes ``decisions_NETWORK.json`` into ``analysis/results/measured``. With ``--classes``, it measures whether classes
need connections of their own instead, and writes ``classes_NETWORK.csv``. tools/make_figures.py makes the tables.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from analysis.figures.export import save_table
from analysis.prediction.class_agreement import class_agreement
from analysis.prediction.lens import PooledParts, decision_depths, lens_by_depth, pooled_parts
from analysis.prediction.predictor import compute_contributions
from analysis.reuse.untrained import build_untrained
from densenet_core import Checkpoint
from densenet_core.data.datasets import load_test_images
from densenet_core.data.images import Images
from densenet_core.data.recorded import choose_data
from densenet_core.networks.spec import Spec
from tools.findings.measured import MEASURED, name_network, open_network

NUM_SEEDS = 5  # untrained networks
NUM_UNTRAINED = 300  # images for each of them


def decisions(parts: PooledParts) -> dict[str, Any]:
    """Return depths of decision, the share of the last third, the lens by depth, and the share (%) of one class.

    The last is what any depth that predicts one class for all images agrees with the whole network.
    """
    depths, table = decision_depths(parts), lens_by_depth(parts)
    scores = parts.scores_by_depth(slice(None), parts.means("mean"))[:, -1]
    chosen = scores.argmax(1)
    own = compute_contributions(parts.pooled, parts.weights)[torch.arange(len(chosen)), :, chosen].abs()
    last_third = max(1, own.shape[1] // 3)
    shares = own[:, -last_third:].sum(1) / own.sum(1)
    bootstrap = np.random.default_rng(0).integers(len(shares), size=(1000, len(shares)))
    return {
        "sources": own.shape[1],
        "images": len(chosen),
        "median_depth": float(np.median(depths)),
        "depth_quartiles": np.percentile(depths, (25, 75)).tolist(),
        "last_third_share": float(shares.mean()),
        "last_third_interval": np.percentile(shares.numpy()[bootstrap].mean(1), (2.5, 97.5)).tolist(),
        "last_third_of_channels": sum(w.shape[1] for w in parts.weights[-last_third:])
        / sum(w.shape[1] for w in parts.weights),
        "error_by_depth": table["error"].round(2).tolist(),
        "decided_by_depth": table["decided"].round(1).tolist(),
        "most_common_class": 100 * float(chosen.bincount().max()) / len(chosen),
    }


def shuffle_labels(parts: PooledParts) -> dict[str, Any]:
    """Return the error by depth against labels in random order: chance, whatever the depth."""
    order = torch.randperm(len(parts.labels), generator=torch.Generator().manual_seed(0))
    table = lens_by_depth(PooledParts(parts.pooled, parts.weights, parts.bias, parts.labels[order]))
    return {"error_by_depth": table["error"].round(2).tolist()}


def decide(network: Checkpoint, images: Images, num_images: int) -> dict[str, Any]:
    """Return where a network decides, the same against shuffled labels, and where untrained ones do."""
    trained = pooled_parts(network, images, num_images)
    return {
        "trained": decisions(trained),
        "shuffled": shuffle_labels(trained),
        "untrained": untrained_decisions(network.architecture, images),
    }


def untrained_decisions(spec: Spec, images: Images) -> dict[str, Any]:
    """Return where untrained networks decide, whose norms have the images' statistics: means and ranges over seeds."""
    networks = [build_untrained(spec, images, seed) for seed in range(NUM_SEEDS)]
    found = [decisions(pooled_parts(network, images, NUM_UNTRAINED)) for network in networks]
    shares = [own["last_third_share"] for own in found]
    return {
        "seeds": NUM_SEEDS,
        "images": found[0]["images"],
        "median_depths": [own["median_depth"] for own in found],
        "last_third_share": float(np.mean(shares)),
        "last_third_range": [min(shares), max(shares)],
        "error_by_depth": np.mean([own["error_by_depth"] for own in found], axis=0).round(2).tolist(),
        "decided_by_depth": np.mean([own["decided_by_depth"] for own in found], axis=0).round(1).tolist(),
    }


def classes(network: Checkpoint, images: Images, num_images: int) -> pd.DataFrame:
    """Measure how well the profiles of classes repeat on other images, for the network and an untrained one."""
    networks = {"trained": network, "untrained": build_untrained(network.architecture, images)}
    rows = [{"weights": name, **asdict(class_agreement(own, images, num_images))} for name, own in networks.items()]
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network")
    parser.add_argument("--dataset")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--normalize")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--classes", type=int, default=0, help="measure the profiles of classes on this many images")
    options = parser.parse_args()
    network = open_network(options.network)
    data = choose_data(network.record, options.dataset, options.normalize)
    images = load_test_images(data.dataset, options.data, data.normalize)
    if options.classes:
        table = classes(network, images, options.classes)
        print("wrote", save_table(table, MEASURED / f"classes_{name_network(options.network)}.csv"))
        return
    file = MEASURED / f"decisions_{name_network(options.network)}.json"
    file.write_text(json.dumps(decide(network, images, options.images), indent=1) + "\n")
    print("wrote", file)


if __name__ == "__main__":
    main()
