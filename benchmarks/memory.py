"""Memory of a first training step of DenseNet-BC (k=12) by depth: ours beside torchvision's.

`python benchmarks/memory.py`: batch 16 of 32x32, a process for each network and depth. Memory is how much the step
raises the most that the process has held (Linux).
"""

from __future__ import annotations

import numpy as np

import training
from analysis.architecture.memory import training_activation_bytes
from densenet_core.hardware import hardware
from support import recorded
from support.workers import Worker
from training import OURS, spec_of

DEPTHS, BATCH = (40, 100, 190), 16
WAYS = (OURS, "ours, memory_efficient", "torchvision", "torchvision, memory_efficient")


def main() -> None:
    rows, peaks = [], {}
    for name in WAYS:
        for depth in DEPTHS:
            worker = Worker(training.__file__, name, depth, BATCH)
            peaks[name, depth] = worker.ask()[2]
            worker.end()
            rows.append({"case": f"L={depth}, batch {BATCH}", "way": name, "peak_mb": peaks[name, depth]})
    layers = np.array([sum(spec_of(depth).block_config) for depth in DEPTHS])
    print(f"memory of a first step, batch {BATCH}, MB, and its growth, MB per dense layer, {hardware()}")
    for name in WAYS:
        found = np.array([peaks[name, depth] for depth in DEPTHS])
        growth = ", ".join(f"{slope:.1f}" for slope in np.diff(found) / np.diff(layers))
        print(f"  {name:32}" + "".join(f"{value:>8.0f}" for value in found) + f"   {growth}")
    for title, efficient in (("kept by ours, by arithmetic", False), ("memory_efficient, likewise", True)):
        kept = [training_activation_bytes(spec_of(depth), 32, BATCH, efficient) / 1e6 for depth in DEPTHS]
        print(f"  {title:32}" + "".join(f"{value:>8.0f}" for value in kept))
    recorded.write("memory", f"Memory of a first training step of DenseNet-BC (k=12), batch {BATCH} of 32x32", rows)


if __name__ == "__main__":
    main()
