"""How time and memory grow with depth and growth rate, as slopes of straight lines through logarithms.

`python benchmarks/growth.py`: DenseNet-BC of L=40 to 250 (k=12), and of k=12 to 48 (L=40), batch 8 of 32x32. Beside
each slope is the ideal one: of the multiply-adds for passes, of the feature maps for memory, and of the
connections for table and page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from analysis.architecture.cost import count_cost, total_cost
from analysis.architecture.memory import training_activation_bytes
from analysis.figures.figure_5 import feature_reuse_screen
from analysis.reuse.connections import connection_weights
from densenet_core import Checkpoint, DenseNet, DenseNetSpec
from densenet_core.hardware import hardware
from densenet_core.networks.fused import fuse
from support import recorded

BATCH, TURNS = 8, 3
DEPTHS, GROWTH_RATES = (40, 70, 100, 160, 250), (12, 18, 24, 36, 48)
SERIES = {"depth L, k=12": [(depth, 12) for depth in DEPTHS], "growth rate k, L=40": [(40, k) for k in GROWTH_RATES]}
IDEAL = {
    "forward pass": "mult_adds",
    "training step": "mult_adds",
    "memory, memory_efficient": "maps",
    "feature-reuse table": "connections",
    "page's heatmaps": "connections",
}


def ways(spec: DenseNetSpec) -> dict[str, Callable[[], Any]]:
    """Return what is timed of one network."""
    torch.manual_seed(0)
    model = DenseNet(spec).train()
    fused, images, labels = fuse(model), torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))
    checkpoint = Checkpoint(spec, model.state_dict())
    table = connection_weights(checkpoint)
    return {
        "forward pass": lambda: fused(images),
        "training step": lambda: F.cross_entropy(model(images), labels).backward(),
        "feature-reuse table": lambda: connection_weights(checkpoint),
        "page's heatmaps": lambda: feature_reuse_screen(table).to_json(),
    }


def sizes(spec: DenseNetSpec) -> dict[str, float]:
    """Return what the ideal slopes refer to."""
    sides = [32 // 2**block for block in range(len(spec.block_config))]
    return {
        "mult_adds": total_cost(count_cost(spec, 32))["mult_adds"],
        "maps": sum(
            side**2 * (maps + layers * spec.bn_size * spec.growth_rate)
            for side, maps, layers in zip(sides, spec.block_outputs, spec.block_config, strict=True)
        ),
        "connections": sum((n + 1) * (n + 2) / 2 for n in spec.block_config),
    }


def slope(x: list[float], y: list[float]) -> float:
    """Return the slope of the straight line through the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def measure(title: str, networks: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """Return the rows of the result, and print the slopes."""
    specs = [DenseNetSpec.cifar(depth, k, bottleneck=True, compression=0.5) for depth, k in networks]
    along = [float(depth if title.startswith("depth") else k) for depth, k in networks]
    milliseconds: dict[str, list[float]] = {}
    rows = []
    for spec in specs:
        for way, taken in recorded.in_turns(ways(spec), TURNS).items():
            rows.append(recorded.row(spec.title, way, taken, taken))
            milliseconds.setdefault(way, []).append(rows[-1]["ms"])
    ideals = [sizes(spec) for spec in specs]
    kept = [float(training_activation_bytes(spec, 32, BATCH, memory_efficient=True)) for spec in specs]
    print(f"\n{title} = {', '.join(f'{value:.0f}' for value in along)}: slope (ideal), then each")
    for way, ideal in IDEAL.items():
        is_memory = way not in milliseconds
        found = kept if is_memory else milliseconds[way]
        unit = [f"{value / 1e6:.0f} MB" if is_memory else f"{value:.1f} ms" for value in found]
        slopes = slope(along, found), slope(along, [size[ideal] for size in ideals])
        print(f"  {way:24}{slopes[0]:>6.2f} ({slopes[1]:.2f})   {', '.join(unit)}")
        rows.append({"case": title, "way": way, "slope": slopes[0], "slope_ideal": slopes[1]})
    return rows


def main() -> None:
    print(f"DenseNet-BC, batch {BATCH} of 32x32, {hardware()}, torch {torch.__version__}, medians of {TURNS}")
    rows = [row for title, networks in SERIES.items() for row in measure(title, networks)]
    recorded.write("growth", f"Growth of time and memory, batch {BATCH} of 32x32, {TURNS} turns", rows)


if __name__ == "__main__":
    main()
