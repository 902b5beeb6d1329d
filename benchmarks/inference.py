"""Evaluation forward passes: fused, plain and torchvision's networks, in turns in one process, medians.

`python benchmarks/inference.py`: DenseNet-BC (L=100, k=12), batch 32 of 32x32, and densenet121, batch 4 of 224x224.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models import densenet121

import recorded
from densenet_core import DenseNetSpec, create_model
from densenet_core.architectures import spec_from_name
from densenet_core.hardware import hardware
from densenet_core.inference import fuse
from peers import torchvision_densenet

TURNS = 9
CASES = {"densenet-bc-100-12": (32, 32), "densenet121": (4, 224)}  # batch, pixels a side


def torchvisions(name: str) -> nn.Module:
    """The same network as torchvision builds it."""
    if name == "densenet121":
        return densenet121()
    spec = spec_from_name(name, 10, 3)
    assert isinstance(spec, DenseNetSpec)
    return torchvision_densenet(spec)


def ways(name: str, images: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Every way to run the network; all give the same scores."""
    peer, own = torchvisions(name).eval(), create_model(name, 1000 if name == "densenet121" else 10).eval()
    own.load_state_dict(peer.state_dict())
    nhwc, fused = images.to(memory_format=torch.channels_last), fuse(own)
    peer_nhwc = torchvisions(name).eval()
    peer_nhwc.load_state_dict(peer.state_dict())
    peer_nhwc.to(memory_format=torch.channels_last)
    return {
        "torchvision": lambda: peer(images),
        "torchvision, channels_last": lambda: peer_nhwc(nhwc),
        "ours, plain": lambda: own(images),
        "ours, fused": lambda: fused(images),
    }


def main() -> None:
    print(f"{hardware()}, torch {torch.__version__}, fp32, medians of {TURNS}")
    rows = []
    for name, (batch, size) in CASES.items():
        torch.manual_seed(0)
        images = torch.randn(batch, 3, size, size)
        runs = ways(name, images)
        with torch.inference_mode():
            scores = {way: run() for way, run in runs.items()}
            seconds = recorded.in_turns(runs, TURNS)
        case = f"{name}, batch {batch} of {size}x{size}"
        print(f"\n{case}")
        for way, taken in seconds.items():
            difference = (scores[way] - scores["torchvision"]).abs().max().item()
            row = recorded.row(case, way, taken, seconds["ours, fused"], difference=difference)
            print(f"  {way:28}{row['ms']:>7.0f} ms{row['times_ours']:>7.2f} x fused   differs by {difference:.1e}")
            rows.append(row)
    recorded.write("inference", f"Evaluation forward pass, fp32, in turns, {TURNS} each; ours: fused", rows)


if __name__ == "__main__":
    main()
