"""Kill a training many times, half of them inside a write, and compare the result with a run that was left alone.

    python -m tools.torture --kills 30
    python -m tools.torture --kills 30 --folder /tmp/torture    # interrupt it and run it again: it continues

Small networks on digits, on the CPU. Exits with 1 where metrics or weights differ, or a training was not killed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import lightning_fabric  # noqa: F401  (here once, instead of in every process)
import torch

from densenet_core import files, load_checkpoint
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from densenet_core.training.runs.files import METRICS, read_metrics
from densenet_core.training.runs.state import resume

# In the middle of a temporary file, before it is renamed, or between the renames of last.ckpt's two generations.
PLACES = ("middle", "before rename", "between renames")
JOURNAL = "kills.jsonl"
MAX_WAIT_S = 120


class Kill(NamedTuple):
    """A line of the journal."""

    place: str  # "random", or one of PLACES
    is_killed: bool
    epoch: int  # the last epoch that the run can resume from


def train_until(runs_dir: Path, name: str, epochs: int, place: str = "", write: int = 0) -> None:
    """Train; with a ``place``, kill this process there in its write number ``write`` or a later one."""
    torch.set_num_threads(1)
    if place:
        kill_in_write(place, write)
    config = TrainingConfig(
        "densenet-7-2", "digits", name, epochs=epochs, batch_size=256, drop_rate=0.1, runs_dir=str(runs_dir)
    )
    train(config, show_progress=False)


def kill_in_write(place: str, write: int) -> None:
    """Replace the functions that write files by functions that kill the process at the place."""
    real_flush, real_replace, count = files._flush, os.replace, 0

    def flush(path: Path, flags: int) -> None:
        nonlocal count
        is_file = str(path).endswith(".tmp")
        count += is_file
        if is_file and count >= write and place == "middle":
            os.truncate(path, os.path.getsize(path) // 2)
            die()
        real_flush(path, flags)
        if is_file and count >= write and place == "before rename":
            die()

    def replace(source: Any, target: Any) -> None:
        real_replace(source, target)
        if count >= write and place == "between renames" and str(target).endswith("previous.ckpt"):
            die()

    files._flush, files.os.replace = flush, replace  # type: ignore[assignment]


def die() -> None:
    """End this process as a power loss would: no handler runs."""
    os.kill(os.getpid(), signal.SIGKILL)


def start(work: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process of its own; on Linux a copy of this one, which has imported torch."""
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    process = context.Process(target=work, args=arguments)
    process.start()
    return process


def kill_at_random(runs_dir: Path, name: str, epochs: int, moments: random.Random) -> bool:
    """Kill a training a part of a second after it finished an epoch; return whether it was still running."""
    last = runs_dir / name / "last.ckpt"
    before = last.stat().st_mtime_ns if last.exists() else 0
    process, deadline = start(train_until, runs_dir, name, epochs), time.monotonic() + MAX_WAIT_S
    while process.is_alive() and time.monotonic() < deadline:
        if last.exists() and last.stat().st_mtime_ns != before:
            break
        time.sleep(0.01)
    time.sleep(moments.uniform(0.0, 0.3))
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def one_kill(number: int, runs_dir: Path, name: str, epochs: int, seed: int) -> Kill:
    """Kill the run once: odd numbers inside a write, even ones at a random moment."""
    moments = random.Random(f"{seed} {number}")
    if number % 2:
        place = moments.choice(PLACES)
        process = start(train_until, runs_dir, name, epochs, place, moments.randint(2, 9))
        process.join()
        is_killed = process.exitcode == -signal.SIGKILL
    else:
        place, is_killed = "random", kill_at_random(runs_dir, name, epochs, moments)
    folder = runs_dir / name
    return Kill(place, is_killed, resume(folder).epoch if folder.is_dir() else 0)


def differences(a: Path, b: Path) -> list[str]:
    """Return what differs between two runs: the rows of metrics without times, and weights."""
    rows = [[(m.epoch, m.split, m.loss, m.error) for m in read_metrics(run / METRICS)] for run in (a, b)]
    found = [] if rows[0] == rows[1] else [METRICS]
    weights = [load_checkpoint(run).state_dict for run in (a, b)]
    return found + [key for key in weights[0] if not torch.equal(weights[0][key], weights[1][key])]


def torture(kills: int, folder: Path, seed: int = 0) -> tuple[list[str], list[Kill]]:
    """Return the differences after ``kills`` kills, and the kills; those in the folder's journal are not repeated."""
    journal, epochs = folder / JOURNAL, 4 * kills + 4
    lines = journal.read_text().splitlines() if journal.exists() else []
    done = [Kill(*json.loads(line)) for line in lines]
    start(train_until, folder, "unbroken", epochs).join()
    for number in range(len(done), kills):
        done.append(one_kill(number, folder, "killed", epochs, seed))
        with journal.open("a") as stream:
            stream.write(json.dumps(done[-1]) + "\n")
        print(f"kill {number + 1} ({done[-1].place}): epoch {done[-1].epoch} is finished", flush=True)
    start(train_until, folder, "killed", epochs).join()
    return differences(folder / "unbroken", folder / "killed"), done


def main(arguments: list[str] | None = None) -> int:
    """Run the torture, in a temporary folder where none is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep the runs here, and continue those that are here")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # threads of this process would not exist in its copies
    with tempfile.TemporaryDirectory() as temporary:
        found, kills = torture(options.kills, options.folder or Path(temporary), options.seed)
    in_writes = sum(kill.place != "random" and kill.is_killed for kill in kills)
    missed = sum(not kill.is_killed for kill in kills)
    print(
        f"{len(kills)} kills, {in_writes} of them inside a write, {missed} after the training's end:",
        ", ".join(found) or "equal metrics and weights",
    )
    return 1 if found or missed else 0


if __name__ == "__main__":
    sys.exit(main())
