"""Training speed on the CPU by precision, memory format, memory use, batch size and image size.

    python benchmarks/cpu_training.py --turns 50       # --turns 5 for a first impression
    python benchmarks/cpu_training.py --table          # the table again, from the last result

Random images, so that only the network's steps are timed; all ways take a step in each turn. bf16 is left out where the
processor has no instructions for it. The result goes to benchmarks/results/cpu_training.json, its table to
docs/training.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch.nn import functional as F

from densenet_core.networks.build import build_model
from densenet_core.networks.names import spec_from_name
from densenet_core.training.malloc import keep_freed_memory
from support import recorded
from support.half_precision import has_bf16

CASES = ((64, 32), (128, 32), (128, 16))  # batch size, pixels a side: as published, and as --half-size-epochs trains
EPOCH = 50_000  # images
PAGE = Path(__file__).parents[1] / "docs" / "training.md"
MARK = "<!-- cpu_training: made by benchmarks/cpu_training.py -->"
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="densenet-40-12")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--table", action="store_true", help="write the table from the last result")
    options = parser.parse_args()
    if not options.table:
        with keep_freed_memory():
            rows = [row for case in CASES for row in measure(options.arch, *case, options.turns)]
        about = f"Training steps of {options.arch} on random images, {options.turns} turns."
        recorded.write("cpu_training", about, rows)
    write_table()


def measure(arch: str, batch: int, side: int, turns: int) -> list[dict[str, object]]:
    """Return a row for each way: its step's time, that time by the first way's, and the images per second."""
    precisions = (False, True) if has_bf16() else (False,)
    ways = {
        ", ".join(["bf16" if bf16 else "fp32", layout, *["memory_efficient"] * saving]): stepper(
            arch, batch, side, bf16, layout, saving
        )
        for bf16, layout, saving in product(precisions, FORMATS, (False, True))
    }
    found = recorded.in_turns(ways, turns)
    first = next(iter(found.values()))
    rows = [recorded.row(f"batch {batch}, {side}x{side}", way, own, first) for way, own in found.items()]
    for row in rows:
        row["images_per_s"] = 1000 * batch / row["ms"]
        print(f"{row['case']}: {row['way']:40} {row['images_per_s']:8.1f} images/s", flush=True)
    return rows


def stepper(arch: str, batch: int, side: int, bf16: bool, memory_format: str, saving: bool) -> Callable[[], None]:
    """Return a function that takes one training step."""
    torch.manual_seed(0)
    layout = FORMATS[memory_format]
    model = build_model(spec_from_name(arch, 10, 3, 0.0), saving).train().to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    images = torch.randn(batch, 3, side, side).contiguous(memory_format=layout)
    return partial(step, model, optimizer, images, torch.randint(0, 10, (batch,)), bf16)


def step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor, bf16: bool
) -> None:
    """Take one training step."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = F.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def write_table() -> None:
    """Write the last result into docs/training.md."""
    found = json.loads((recorded.FOLDER / "cpu_training.json").read_text())
    machine = f"{found['hardware']}, {found['cpu']}, torch {found['versions']['torch']}, {found['date']}"
    lines = [f"{found['about']} {machine}; other processes used {found['load']['others']:.0%} of it.", ""]
    lines += ["| case | how | images/s | times the first's time | an epoch of 50,000 images |"]
    lines += ["| --- | --- | ---: | ---: | ---: |"]
    for row in found["rows"]:
        minutes, times = EPOCH / row["images_per_s"] / 60, row["times_ours"]
        lines.append(f"| {row['case']} | {row['way']} | {row['images_per_s']:.1f} | {times:.2f} | {minutes:.0f} min |")
    head, rest = PAGE.read_text().split(f"{MARK}\n", 1)
    PAGE.write_text(head + MARK + "\n" + "\n".join(lines) + "\n\n<!-- end -->" + rest.split("<!-- end -->", 1)[1])


if __name__ == "__main__":
    main()
