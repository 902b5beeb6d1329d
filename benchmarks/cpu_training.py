"""Training speed on the CPU by precision, memory format and batch size: median images per second.

    python benchmarks/cpu_training.py --steps 50       # --steps 5 for a first impression
    python benchmarks/cpu_training.py --table          # the table again, from the last result

Random images of 32x32 pixels, so that only the network's steps are timed. The result goes to
benchmarks/results/cpu_training.json, its table to docs/training.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
from itertools import product
from pathlib import Path
from time import perf_counter

import torch
from torch.nn import functional as F

from densenet_core.networks.build import build_model
from densenet_core.networks.names import spec_from_name
from densenet_core.training.malloc import keep_freed_memory
from support import recorded

WARM_UP = 3  # steps
EPOCH = 50_000  # images
PAGE = Path(__file__).parents[1] / "docs" / "training.md"
MARK = "<!-- cpu_training: made by benchmarks/cpu_training.py -->"
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def step_seconds(arch: str, batch: int, bf16: bool, memory_format: str, memory_efficient: bool, steps: int) -> float:
    """Return the median seconds of a training step."""
    torch.manual_seed(0)
    layout = FORMATS[memory_format]
    model = build_model(spec_from_name(arch, 10, 3, 0.0), memory_efficient).train().to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    images = torch.randn(batch, 3, 32, 32).contiguous(memory_format=layout)
    labels = torch.randint(0, 10, (batch,))
    seconds = []
    with keep_freed_memory():
        for _ in range(WARM_UP + steps):
            start = perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seconds.append(perf_counter() - start)
    return statistics.median(seconds[WARM_UP:])


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="densenet-40-12")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--table", action="store_true", help="write the table from the last result")
    options = parser.parse_args()
    if not options.table:
        measure(options)
    write_table()


def measure(options: argparse.Namespace) -> None:
    """Time every combination and write the result."""
    rows = []
    for batch, bf16, layout, saving in product(options.batch_sizes, (False, True), FORMATS, (False, True)):
        seconds = step_seconds(options.arch, batch, bf16, layout, saving, options.steps)
        way = ", ".join(["bf16" if bf16 else "fp32", layout, *(["memory_efficient"] if saving else [])])
        rows.append({"case": f"batch {batch}", "way": way, "ms": 1000 * seconds, "images_per_s": batch / seconds})
        print(f"batch {batch:4}  {way:40} {batch / seconds:8.1f} images/s", flush=True)
    recorded.write("cpu_training", f"Training steps of {options.arch}, 32x32, median of {options.steps}.", rows)


def write_table() -> None:
    """Write the last result into docs/training.md."""
    found = json.loads((recorded.FOLDER / "cpu_training.json").read_text())
    lines = [f"{found['about']} {found['hardware']}.", ""]
    lines += ["| batch size | how | images/s | an epoch of 50,000 images |", "| ---: | --- | ---: | ---: |"]
    for row in found["rows"]:
        minutes = EPOCH / row["images_per_s"] / 60
        batch = row["case"].removeprefix("batch ")
        lines.append(f"| {batch} | {row['way']} | {row['images_per_s']:.1f} | {minutes:.0f} min |")
    head, rest = PAGE.read_text().split(f"{MARK}\n", 1)
    PAGE.write_text(head + MARK + "\n" + "\n".join(lines) + "\n\n<!-- end -->" + rest.split("<!-- end -->", 1)[1])


if __name__ == "__main__":
    main()
