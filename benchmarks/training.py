"""Training steps of DenseNet-BC (k=12): ours beside torchvision's.

`python benchmarks/training.py`: steps at L=100, batch 64 of 32x32, of networks that each have a process of their own
and take turns, ours as `train` trains it: with freed memory kept (`densenet_core/training/malloc.py`). Memory is how
much the first step raises the most that the process has held (Linux); `memory.py` measures it at other depths. All
start from one state, and how far their losses are apart after three steps is printed. bf16 is left out where the
processor has no instructions for it. `--compile` measures torch.compile too (minutes).
"""

from __future__ import annotations

import re
import sys
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from densenet_core import DenseNet, DenseNetSpec
from densenet_core.hardware import hardware
from densenet_core.training.malloc import keep_freed_memory
from support import recorded
from support.half_precision import has_bf16
from support.peers import torchvision_densenet
from support.workers import Worker, answer, in_turns, run

DEPTH, BATCH, TURNS = 100, 64, 4  # one step a turn
COMPARED_TURN = 1  # after the first step and two turns: three steps


class Way(NamedTuple):
    """How a network trains."""

    ours: bool
    channels_last: bool
    memory_efficient: bool = False
    bf16: bool = False
    compiled: bool = False
    keeps_memory: bool = False


OURS, BF16 = "ours", "ours, bf16"
WAYS = {
    OURS: Way(ours=True, channels_last=True, keeps_memory=True),
    "ours, memory_efficient": Way(ours=True, channels_last=True, memory_efficient=True, keeps_memory=True),
    BF16: Way(ours=True, channels_last=True, bf16=True, keeps_memory=True),
    "ours, memory given back": Way(ours=True, channels_last=True),
    "torchvision": Way(ours=False, channels_last=False),
    "torchvision, channels_last": Way(ours=False, channels_last=True),
    "torchvision, channels_last, memory kept": Way(ours=False, channels_last=True, keeps_memory=True),
    "torchvision, memory_efficient": Way(ours=False, channels_last=False, memory_efficient=True),
    "torchvision, memory_efficient, channels_last": Way(ours=False, channels_last=True, memory_efficient=True),
}
COMPILED = {"torchvision, channels_last, compiled": Way(ours=False, channels_last=True, compiled=True)}


def spec_of(depth: int) -> DenseNetSpec:
    """Return the spec of DenseNet-BC (L=depth, k=12)."""
    return DenseNetSpec.cifar(depth, 12, bottleneck=True, compression=0.5)


class Trained:
    """A network in training, on one batch."""

    def __init__(self, way: Way, depth: int, batch: int) -> None:
        torch.manual_seed(0)
        peer = torchvision_densenet(spec_of(depth), way.memory_efficient)
        network: nn.Module = DenseNet(spec_of(depth), way.memory_efficient) if way.ours else peer
        network.load_state_dict(peer.state_dict())
        memory_format = torch.channels_last if way.channels_last else torch.contiguous_format
        self.way, network = way, network.to(memory_format=memory_format).train()
        self.model = torch.compile(network) if way.compiled else network
        torch.manual_seed(0)
        self.images = torch.randn(batch, 3, 32, 32).to(memory_format=memory_format)
        self.labels = torch.randint(10, (batch,))
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)

    def step(self) -> float:
        """Return a forward pass, a backward pass and the optimizer's step; the loss."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.way.bf16):
            scores = self.model(self.images)
        loss = F.cross_entropy(scores.float(), self.labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def serve(name: str, depth: str, batch: str) -> None:
    """Answer each question with a step and its numbers."""
    trained = Trained(way := (WAYS | COMPILED)[name], int(depth), int(batch))
    with torch.no_grad():  # loads what any step loads
        F.cross_entropy(torch.randn(2, 10), torch.tensor([0, 1]))
    before = peak_kilobytes()

    def step() -> tuple[float, float, float]:
        """Return seconds, loss, and by how many MB the process has grown at its largest."""
        start = perf_counter()
        loss = trained.step()
        return perf_counter() - start, loss, (peak_kilobytes() - before) / 1024

    with keep_freed_memory() if way.keeps_memory else nullcontext():
        answer(step)


def peak_kilobytes() -> int:
    """Return the most memory that this process has held (Linux)."""
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])


def step_times(ways: list[str]) -> list[dict[str, object]]:
    """Return the rows of the result: every way takes a step in each turn."""
    workers = {name: Worker(__file__, name, DEPTH, BATCH) for name in ways}
    peaks = {name: worker.ask()[2] for name, worker in workers.items()}
    answers = in_turns(workers, TURNS, asked=1, not_counted=0)
    for worker in workers.values():
        worker.end()
    losses = {name: own[COMPARED_TURN][1] for name, own in answers.items()}
    seconds = {name: [answer[0] for answer in own] for name, own in answers.items()}
    print(f"L={DEPTH}, batch {BATCH}: ms (least, median), times ours (of least, of medians), MB, loss apart")
    rows = []
    for name, taken in seconds.items():
        least, apart = min(taken), abs(losses[name] - losses["torchvision"]) / losses["torchvision"]
        times = least / min(seconds[OURS])
        row = recorded.row(f"L={DEPTH}, batch {BATCH}", name, taken, seconds[OURS], ms_least=1000 * least)
        rows.append(row | {"times_ours_least": times, "peak_mb": peaks[name], "loss_apart": apart})
        numbers = f"{1000 * least:>7.0f}{row['ms']:>7.0f}{times:>8.2f}{row['times_ours']:>6.2f}"
        print(f"  {name:46}{numbers}{peaks[name]:>8.0f}{apart:>10.1e}")
    return rows


def main() -> None:
    print(f"DenseNet-BC (k=12) on 32x32, {hardware()}, torch {torch.__version__}\n")
    ways = [*WAYS, *(COMPILED if "--compile" in sys.argv else {})]
    if not has_bf16():
        print(f"the processor has no instructions for bf16: {BF16!r} is left out")
        ways.remove(BF16)
    about = f"Training step of DenseNet-BC (k=12) on 32x32, fp32 but for bf16, a process each, {TURNS} turns of a step"
    recorded.write("training", about, step_times(ways))


if __name__ == "__main__":
    run(main, serve)
