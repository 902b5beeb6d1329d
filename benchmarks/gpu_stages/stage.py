"""What the stages share: their options, and results that are on disk as soon as they are known."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from support import recorded


@dataclass(frozen=True)
class Options:
    """What a stage is given by ``gpu.py``."""

    out: Path
    ends: float  # time.time() at which the stage is killed
    archive: Path  # CIFAR-10's images as JPEG files, a tar file
    arch: str  # the network to train
    seed: int
    tiny: bool  # small networks and few steps: a test of the program on a CPU

    @property
    def left(self) -> float:
        """Seconds until the stage is killed."""
        return self.ends - time.time()


class Results:
    """Rows of one result file, which is written again, whole, with each new row."""

    def __init__(self, out: Path, name: str, about: str) -> None:
        self.out, self.name, self.about = out, name, about
        self.rows: list[dict[str, Any]] = []

    def add(self, **row: Any) -> None:
        """Append a row, write the file, and print the row."""
        self.rows.append(row)
        recorded.write(self.name, self.about, self.rows, self.out, is_quiet=True)
        print(f"  {self.name}: " + ", ".join(f"{key} {recorded.round_number(value)}" for key, value in row.items()))
        sys.stdout.flush()


def run_stage(about: str, run: Callable[[Options, Results], None], arguments: Sequence[str] | None = None) -> None:
    """Run a stage with the options on its command line."""
    parser = argparse.ArgumentParser()
    for name, kind in (("name", str), ("out", Path), ("ends", float), ("archive", Path), ("arch", str), ("seed", int)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--tiny", action="store_true")
    given = vars(parser.parse_args(arguments))
    name = given.pop("name")
    run(Options(**given), Results(given["out"], name, about))


def wait() -> None:
    """Wait until the GPU has done all that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
