"""Compare the time of reuse by class with that of the ablation of all classes together.

python benchmarks/by_class.py --arch densenet-bc-100-12 --images 1000
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from analysis.prediction.by_class import reuse_by_class
from analysis.reuse.ablation import connection_ablation
from densenet_core import checkpoint_from_state_dict, create_model
from densenet_core.data.images import TensorImages


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
    ratios = []
    for _ in range(options.repeats):
        together = cpu_seconds(lambda: connection_ablation(network, images, number))
        by_class = cpu_seconds(lambda: reuse_by_class(network, images, number))
        ratios.append(by_class / together)
        print(f"all classes together {together:.2f} s, by class {by_class:.2f} s: {ratios[-1]:.2f}")
    print(f"median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
