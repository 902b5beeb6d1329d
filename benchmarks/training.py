"""Step time and memory of training: ours plain and memory-efficient, torchvision's both ways, and our options.

`python benchmarks/training.py`: batch 16 of 32x32, the networks in turns in one process, medians. Peak memory is how
much the resident memory of a process of its own rises in its first step; "kept" is what autograd keeps for the backward
pass, by arithmetic on ours (tested against autograd to the byte). `--compile` measures torch.compile too (a minute).
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import DenseNet as TorchvisionDenseNet

import recorded
from analysis.memory import training_activation_bytes
from densenet_core import DenseNet, DenseNetSpec
from densenet_core.hardware import hardware

DEPTHS, BATCH, TURNS = (40, 70, 100), 16, 5
NAMES = ("ours", "ours, memory_efficient", "torchvision", "torchvision, memory_efficient")
Step = Callable[[], object]


def spec_of(depth: int) -> DenseNetSpec:
    """DenseNet-BC (L=depth, k=12)."""
    return DenseNetSpec.cifar(depth, 12, bottleneck=True, compression=0.5)


def network(name: str, depth: int) -> nn.Module:
    """One of ``NAMES``; all do the same work."""
    efficient = "memory_efficient" in name
    if name.startswith("ours"):
        return DenseNet(spec_of(depth), memory_efficient=efficient).train()
    shape = {"growth_rate": 12, "block_config": spec_of(depth).block_config, "num_init_features": 24}
    model = TorchvisionDenseNet(**shape, num_classes=10, memory_efficient=efficient).train()
    for part in ("norm0", "relu0", "pool0"):  # the stem for small images
        setattr(model.features, part, nn.Identity())
    model.features.conv0 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
    return model


def step_of(model: nn.Module, memory_format: torch.memory_format = torch.contiguous_format, bf16: bool = False) -> Step:
    """One forward and backward pass."""
    images, labels = torch.randn(BATCH, 3, 32, 32).to(memory_format=memory_format), torch.randint(10, (BATCH,))
    model.to(memory_format=memory_format)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            scores = model(images)
        F.cross_entropy(scores.float(), labels).backward()
        model.zero_grad(set_to_none=True)

    return step


def peak_megabytes(name: str, depth: int) -> float:
    """Of a first step, in a process of its own."""
    command = [sys.executable, __file__, "--peak", name, str(depth)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_peak(name: str, depth: int) -> None:
    step = step_of(network(name, depth))
    step_of(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)))()  # loads what any step loads
    before = peak_kilobytes()
    step()
    print((peak_kilobytes() - before) / 1024)


def peak_kilobytes() -> int:
    """The most memory that this process has held (Linux)."""
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])


def main() -> None:
    print(f"DenseNet-BC (k=12), batch {BATCH} of 32x32, {hardware()}, torch {torch.__version__}\n")
    print(f"{'L':>4}  {'network':32}{'ms':>8}{'times ours':>12}{'peak, MB':>10}{'kept, MB':>10}")
    rows, peaks = [], {name: [] for name in NAMES}
    for depth in DEPTHS:
        seconds = recorded.in_turns({name: step_of(network(name, depth)) for name in NAMES}, TURNS)
        for name, taken in seconds.items():
            median = statistics.median(taken)
            peaks[name].append(peak_megabytes(name, depth))
            kept = ""
            if name.startswith("ours"):
                kept = f"{training_activation_bytes(spec_of(depth), 32, BATCH, 'efficient' in name) / 1e6:.0f}"
            rows.append(recorded.row(f"L={depth}", name, taken, seconds["ours"], peak_mb=peaks[name][-1]))
            ratio = rows[-1]["times_ours"]
            print(f"{depth:>4}  {name:32}{1000 * median:>8.0f}{ratio:>12.2f}{peaks[name][-1]:>10.0f}{kept:>10}")
    print("\nhow peak memory grows, MB per dense layer (a constant is linear growth), and R² of a straight line:")
    layers = np.array([sum(spec_of(depth).block_config) for depth in DEPTHS])
    for name, found in peaks.items():
        slopes = ", ".join(f"{slope:.1f}" for slope in np.diff(found) / np.diff(layers))
        print(f"  {name:32}{slopes:>12}{np.corrcoef(layers, found)[0, 1] ** 2:>10.4f}")
    print("\noptions, L=40:")
    options = {
        "fp32, contiguous": step_of(network("ours", 40)),
        "fp32, channels_last": step_of(network("ours", 40), torch.channels_last),
        "bf16, channels_last": step_of(network("ours", 40), torch.channels_last, bf16=True),
    }
    if "--compile" in sys.argv:
        options["fp32, channels_last, compiled"] = step_of(torch.compile(network("ours", 40)), torch.channels_last)
    for name, taken in (seconds := recorded.in_turns(options, TURNS)).items():
        rows.append(recorded.row("L=40, options", name, taken, seconds["fp32, contiguous"]))
        print(f"  {name:32}{rows[-1]['ms']:>8.0f} ms{rows[-1]['times_ours']:>8.2f}")
    about = f"Training step of DenseNet-BC (k=12), batch {BATCH} of 32x32, in turns, {TURNS} each; ours: plain, fp32"
    recorded.write("training", about, rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        print_peak(sys.argv[2], int(sys.argv[3]))
    else:
        main()
