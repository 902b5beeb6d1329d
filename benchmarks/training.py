"""Step time and memory of a training step: ours plain and memory-efficient, torchvision's both ways.

`python benchmarks/training.py`: three depths, batch 16 of 32x32, the networks in turns, medians; one process. Memory is
what autograd keeps for the backward pass, by arithmetic on ours (tested against autograd to the byte).
"""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import DenseNet as TorchvisionDenseNet

from analysis.memory import training_activation_bytes
from densenet_core import DenseNet, DenseNetSpec

DEPTHS, BATCH, TURNS = (40, 70, 100), 16, 5


def networks(depth: int) -> dict[str, nn.Module]:
    """DenseNet-BC (L=depth, k=12) four ways."""
    spec = DenseNetSpec.cifar(depth, 12, bottleneck=True, compression=0.5)
    shape = {"growth_rate": 12, "block_config": spec.block_config, "num_init_features": 24, "num_classes": 10}
    models = {
        "ours": DenseNet(spec),
        "ours, memory_efficient": DenseNet(spec, memory_efficient=True),
        "torchvision": TorchvisionDenseNet(**shape),
        "torchvision, memory_efficient": TorchvisionDenseNet(**shape, memory_efficient=True),
    }
    for name, model in models.items():
        if name.startswith("torchvision"):  # the stem for small images, so that all do the same work
            for part in ("norm0", "relu0", "pool0"):
                setattr(model.features, part, nn.Identity())
            model.features.conv0 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
    return {name: model.train() for name, model in models.items()}


def step(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Seconds of one forward and backward pass."""
    start = time.perf_counter()
    F.cross_entropy(model(images), labels).backward()
    model.zero_grad(set_to_none=True)
    return time.perf_counter() - start


def main() -> None:
    images, labels = torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))
    print(f"{'L':>4}  {'network':32}{'ms':>8}{'times ours':>12}{'kept, MB':>10}")
    for depth in DEPTHS:
        models = networks(depth)
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for turn in range(TURNS + 1):
            for name, model in models.items():
                taken = step(model, images, labels)
                if turn:  # the first warms up
                    seconds[name].append(taken)
        ours = statistics.median(seconds["ours"])
        spec = models["ours"].spec
        for name, taken in seconds.items():
            kept = ""
            if name.startswith("ours"):
                kept = f"{training_activation_bytes(spec, 32, BATCH, 'efficient' in name) / 1e6:.0f}"
            median = statistics.median(taken)
            print(f"{depth:>4}  {name:32}{1000 * median:>8.0f}{median / ours:>12.2f}{kept:>10}")


if __name__ == "__main__":
    main()
