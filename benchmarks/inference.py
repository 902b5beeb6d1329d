"""Evaluation forward passes: fused, plain, torchvision's, ONNX Runtime's and OpenVINO's, in a process each, in turns.

`python benchmarks/inference.py`: DenseNet-BC (L=100, k=12), batch 32 of 32x32, densenet121, batch 4 of 224x224 and
batch 1, and densenet201, batch 4. The fused network runs as `evaluate` runs it: with freed memory kept
(densenet_core/training/malloc.py). ONNX Runtime and OpenVINO run one ONNX file; where they are not installed, their
rows are left out. "convolutions alone" is a floor: the fused network's convolutions without norms, ReLUs and copies,
each in the fastest of oneDNN's layouts. `--onnx FOLDER` keeps the ONNX files for the next call.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import torch
from torch import nn
from torchvision.models import densenet121, densenet201

from densenet_core import DenseNetSpec, create_model
from densenet_core.checkpoints.onnx_export import to_onnx
from densenet_core.hardware import hardware
from densenet_core.networks.fused import fuse
from densenet_core.networks.names import spec_from_name
from densenet_core.training.malloc import keep_freed_memory
from support import recorded
from support.convolutions import convolutions_alone
from support.peers import RUNTIMES, torchvision_densenet
from support.workers import Worker, answer, in_turns, run

TURNS, PASSES = 5, 3  # of a turn, of which the first is not counted
CASES = (  # network, batch, pixels a side
    ("densenet-bc-100-12", 32, 32),
    ("densenet121", 4, 224),
    ("densenet121", 1, 224),
    ("densenet201", 4, 224),
)
OURS = "ours, fused"
FLOOR = "convolutions alone"
WAYS = ("torchvision", "torchvision, channels_last", "ours, plain", OURS, *RUNTIMES, FLOOR)


def torchvisions(name: str) -> nn.Module:
    """Return the network as torchvision builds it, with the same random weights in every process."""
    torch.manual_seed(0)
    if name in (networks := {"densenet121": densenet121, "densenet201": densenet201}):
        return networks[name]()
    spec = spec_from_name(name, 10, 3)
    assert isinstance(spec, DenseNetSpec)
    return torchvision_densenet(spec)


def network(name: str, way: str, peer: nn.Module) -> nn.Module:
    """Return the same network, as it runs in this way."""
    if way == "torchvision":
        return peer
    if way == "torchvision, channels_last":
        other = torchvisions(name).eval()
        other.load_state_dict(peer.state_dict())
        return other.to(memory_format=torch.channels_last)
    own = create_model(name, 10 if name.startswith("densenet-") else 1000).eval()
    own.load_state_dict(peer.state_dict())
    return fuse(own) if way in (OURS, FLOOR) else own


@torch.inference_mode()
def serve(name: str, batch: str, size: str, way: str, onnx: str) -> None:
    """Answer each question with the seconds of a pass, and how far its scores are from torchvision's."""
    peer = torchvisions(name).eval()
    images = torch.randn(int(batch), 3, int(size), int(size))
    model = RUNTIMES[way](Path(onnx)) if way in RUNTIMES else network(name, way, peer)
    expected = peer(images)
    given = images.to(memory_format=torch.channels_last) if "channels_last" in way else images
    difference = (model(given) - expected).abs().max().item()
    forward = convolutions_alone(model, images) if way == FLOOR else partial(model, given)

    def time_pass() -> tuple[float, float]:
        start = perf_counter()
        forward()
        return perf_counter() - start, difference

    with keep_freed_memory() if way in (OURS, FLOOR) else nullcontext():
        answer(time_pass)


def onnx_file(name: str, size: int, folder: Path) -> Path:
    """Return the network's ONNX file, which the first call writes."""
    file = folder / f"{name}.onnx"
    if not file.exists():
        file.write_bytes(to_onnx(torchvisions(name).eval(), torch.randn(2, 3, size, size)))
    return file


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        measure(Path(sys.argv[2] if sys.argv[1:2] == ["--onnx"] else temporary))


def measure(folder: Path) -> None:
    """Time all ways of all cases; ``folder`` keeps the ONNX files."""
    print(f"{hardware()}, torch {torch.__version__}, fp32, medians of {TURNS * (PASSES - 1)}")
    rows = []
    ways = [way for way in WAYS if way not in RUNTIMES or find_spec(way)]
    for missing in sorted({*WAYS} - {*ways}):
        print(f"{missing} is not installed: left out")
    for name, batch, size in CASES:
        onnx = onnx_file(name, size, folder) if {*ways} & {*RUNTIMES} else ""
        workers = {way: Worker(__file__, name, batch, size, way, onnx) for way in ways}
        differences = {way: worker.ask()[1] for way, worker in workers.items()}
        answers = in_turns(workers, TURNS, PASSES)
        seconds = {way: [taken for taken, _ in own] for way, own in answers.items()}
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
