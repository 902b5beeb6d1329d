"""Compare the time of reuse by class with that of the ablation of all classes together.

python benchmarks/by_class.py --arch densenet-bc-100-12 --images 1000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from analysis.prediction.by_class import reuse_by_class
from analysis.reuse.ablation import connection_ablation
from densenet_core import checkpoint_from_state_dict, create_model
from densenet_core.data.images import TensorImages
from support import recorded


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the processor time of a call, which other programs of the machine change less than the clock's time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Measure both in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="densenet-bc-40-12")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    network = checkpoint_from_state_dict(create_model(options.arch).state_dict())
    number = options.images
    pixels = torch.randint(0, 256, (number, 3, 32, 32), dtype=torch.uint8)
    images = TensorImages(pixels, torch.arange(number) % 10, tuple("0123456789"), "cifar10")
    connection_ablation(network, images, 2)  # imports and first allocations
    together: list[float] = []
    by_class: list[float] = []
    for _ in range(options.repeats):
        together.append(cpu_seconds(lambda: connection_ablation(network, images, number)))
        by_class.append(cpu_seconds(lambda: reuse_by_class(network, images, number)))
        print(f"all classes together {together[-1]:.2f} s, by class {by_class[-1]:.2f} s")
    case = f"{network.spec.title}, {number} images"
    rows = [
        recorded.row(case, "ablation of all classes together", together, together),
        recorded.row(case, "reuse by class", by_class, together),
    ]
    print(f"by class {rows[1]['times_ours']:.2f} times as long")
    recorded.write("by_class", f"Processor time, in turns, {options.repeats} each", rows)


if __name__ == "__main__":
    main()
