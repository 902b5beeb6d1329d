"""`densenet-lens reuse` from a file of DenseNet-201 to table and figure, as a whole process, and what is start-up.

`python benchmarks/reuse.py`: a .safetensors and a .pth file, the import of torch alone, and `--help`, in turns.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

import recorded
from densenet_core import Checkpoint, create_model, save_checkpoint
from densenet_core.hardware import hardware

TURNS = 7
OURS = "reuse, .safetensors to CSV and PDF"


def process(*arguments: str) -> Callable[[], object]:
    """Return a fresh interpreter with these arguments."""
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def main() -> None:
    torch.manual_seed(0)
    model = create_model("densenet201", 1000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_checkpoint(Checkpoint(model.spec, model.state_dict()), folder / "network.safetensors")
        torch.save(model.state_dict(), folder / "network.pth")
        to_files = ("--figure", str(folder / "reuse.pdf"), "--table", str(folder / "reuse.csv"))
        ways = {
            OURS: process("-m", "app", "reuse", str(folder / "network.safetensors"), *to_files),
            "reuse, .pth to CSV and PDF": process("-m", "app", "reuse", str(folder / "network.pth"), *to_files),
            "import torch": process("-c", "import torch"),
            "densenet-lens --help": process("-m", "app", "--help"),
        }
        seconds = recorded.in_turns(ways, TURNS)
    print(f"DenseNet-201, whole processes, medians of {TURNS}, {hardware()}")
    rows = [recorded.row("densenet201, whole process", way, taken, seconds[OURS]) for way, taken in seconds.items()]
    for row in rows:
        print(f"  {row['way']:38}{row['ms'] / 1000:>6.2f} s")
    recorded.write("reuse", f"Whole processes, in turns, {TURNS} each", rows)


if __name__ == "__main__":
    main()
