"""Evaluation forward passes: fused, plain, torchvision's, ONNX Runtime's and OpenVINO's, in a process each, in turns.

`python benchmarks/inference.py`: DenseNet-BC (L=100, k=12), batch 32 of 32x32, densenet121, batch 4 of 224x224 and
batch 1, and densenet201, batch 4. The fused network runs as `evaluate` runs it: with freed memory kept
(densenet_core/training/malloc.py). Peers that are not installed are left out.
"""

from __future__ import annotations

from contextlib import nullcontext
from importlib.util import find_spec
from time import perf_counter

import torch
from torch import nn
from torchvision.models import densenet121, densenet201

import recorded
from densenet_core import DenseNetSpec, create_model
from densenet_core.hardware import hardware
from densenet_core.networks.fused import fuse
from densenet_core.networks.names import spec_from_name
from densenet_core.training.malloc import keep_freed_memory
from peers import RUNTIMES, torchvision_densenet
from workers import Worker, answer, in_turns, run

TURNS, PASSES = 6, 4  # of a turn, of which the first is not counted
CASES = (  # network, batch, pixels a side
    ("densenet-bc-100-12", 32, 32),
    ("densenet121", 4, 224),
    ("densenet121", 1, 224),
    ("densenet201", 4, 224),
)
OURS = "ours, fused"
WAYS = ("torchvision", "torchvision, channels_last", "ours, plain", OURS, *RUNTIMES)


def torchvisions(name: str) -> nn.Module:
    """The network as torchvision builds it."""
    if name in (networks := {"densenet121": densenet121, "densenet201": densenet201}):
        return networks[name]()
    spec = spec_from_name(name, 10, 3)
    assert isinstance(spec, DenseNetSpec)
    return torchvision_densenet(spec)


def network(name: str, way: str, peer: nn.Module) -> nn.Module:
    """The same network, as it runs in this way."""
    if way == "torchvision":
        return peer
    if way == "torchvision, channels_last":
        other = torchvisions(name).eval()
        other.load_state_dict(peer.state_dict())
        return other.to(memory_format=torch.channels_last)
    own = create_model(name, 10 if name.startswith("densenet-") else 1000).eval()
    own.load_state_dict(peer.state_dict())
    return fuse(own) if way == OURS else own


@torch.inference_mode()
def serve(name: str, batch: str, size: str, way: str) -> None:
    """In a process of its own: a pass for each question; its seconds, and how far its scores are from torchvision's."""
    torch.manual_seed(0)
    images, peer = torch.randn(int(batch), 3, int(size), int(size)), torchvisions(name).eval()
    model = RUNTIMES[way](peer, images) if way in RUNTIMES else network(name, way, peer)
    expected = peer(images)
    given = images.to(memory_format=torch.channels_last) if "channels_last" in way else images
    difference = (model(given) - expected).abs().max().item()

    def time_pass() -> tuple[float, float]:
        start = perf_counter()
        model(given)
        return perf_counter() - start, difference

    with keep_freed_memory() if way == OURS else nullcontext():
        answer(time_pass)


def main() -> None:
    print(f"{hardware()}, torch {torch.__version__}, fp32, medians of {TURNS * (PASSES - 1)}")
    rows = []
    ways = [way for way in WAYS if way not in RUNTIMES or find_spec(way)]
    for missing in sorted({*WAYS} - {*ways}):
        print(f"{missing} is not installed: left out")
    for name, batch, size in CASES:
        workers = {way: Worker(__file__, name, batch, size, way) for way in ways}
        differences = {way: worker.ask()[1] for way, worker in workers.items()}
        seconds = in_turns(workers, TURNS, PASSES)
        case = f"{name}, batch {batch} of {size}x{size}"
        print(f"\n{case}")
        for way, taken in seconds.items():
            workers[way].end()
            row = recorded.row(case, way, taken, seconds[OURS], difference=differences[way])
            print(f"  {way:28}{row['ms']:>7.0f} ms{row['times_ours']:>7.2f} x fused, differs by {differences[way]:.1e}")
            rows.append(row)
    about = f"Evaluation forward pass, fp32, a process each, {TURNS} turns of {PASSES - 1} passes; ours: fused"
    recorded.write("inference", about, rows)


if __name__ == "__main__":
    run(main, serve)
