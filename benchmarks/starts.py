"""How long commands take as whole processes, from the shell's line to their end.

`python benchmarks/starts.py`: `reuse` from a file of DenseNet-201 to table and figure, the commands that answer a
question, the paper's Figures 1 to 4, and a finished training that is started again; beside the import of torch.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from densenet_core import Checkpoint, create_model, save_checkpoint
from densenet_core.hardware import hardware
from support import recorded

TURNS = 3
OURS = "reuse, .safetensors to CSV and PDF"
FIGURES = {"1": ("densenet121",), "2": ("densenet121",), "3": (), "4-left": ()}


def process(*arguments: str) -> Callable[[], object]:
    """Return a function that runs a fresh interpreter with these arguments."""
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def commands(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the arguments of each command, whose files are in ``folder``."""
    to_files = ("--figure", str(folder / "reuse.pdf"), "--table", str(folder / "reuse.csv"))
    network, runs = str(folder / "network.safetensors"), ("--runs", str(folder / "runs"))
    return {
        OURS: ("reuse", network, *to_files),
        "reuse, .pth to CSV and PDF": ("reuse", str(folder / "network.pth"), *to_files),
        "--help": ("--help",),
        "cost densenet201": ("cost", "densenet201"),
        "table 2": ("table", "2"),
        "zoo": ("zoo",),
        "runs": ("runs", *runs),
        "inspect, .safetensors": ("inspect", network),
        **{
            f"figure {number}": ("figure", number, *networks, "--out", str(folder / f"{number}.pdf"))
            for number, networks in FIGURES.items()
        },
        "train, a finished run again": ("train", "--arch", "densenet-10-4", "--epochs", "1", *runs),
    }


def main() -> None:
    torch.manual_seed(0)
    model = create_model("densenet201", 1000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_checkpoint(Checkpoint(model.spec, model.state_dict()), folder / "network.safetensors")
        torch.save(model.state_dict(), folder / "network.pth")
        ways = {way: process("-m", "app", *arguments) for way, arguments in commands(folder).items()}
        ways["train, a finished run again"]()
        seconds = recorded.in_turns({**ways, "import torch": process("-c", "import torch")}, TURNS)
    print(f"Whole processes, medians of {TURNS}, {hardware()}")
    rows = [recorded.row("whole process", way, taken, seconds[OURS]) for way, taken in seconds.items()]
    for row in rows:
        print(f"  {row['way']:38}{row['ms'] / 1000:>6.2f} s")
    recorded.write("starts", f"Whole processes, in turns, {TURNS} each; ours: reuse of a .safetensors file", rows)


if __name__ == "__main__":
    main()
