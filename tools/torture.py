"""Kill a training again and again, some of the times inside a write, and compare it with one that was left alone.

    python tools/torture.py --kills 30

Small networks on digits, on the CPU. Exits with 1 where metrics or weights differ.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Trains in a process of its own. With MOMENT "write:N:WHERE" it kills itself in its Nth write of a file: in the middle
# of the temporary file, before the rename, or (last.ckpt) between the two renames of its two generations.
TRAIN = """
import os, signal, sys
import torch
from densenet_core import files
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train

runs_dir, name, epochs, moment = sys.argv[1:]
torch.set_num_threads(1)
real_flush, real_replace, count = files._flush, files.os.replace, 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def flush(path, flags):
    global count
    if str(path).endswith(".tmp"):
        count += 1
        if moment == f"write:{count}:middle":
            os.truncate(path, os.path.getsize(path) // 2)
            die()
    real_flush(path, flags)
    if str(path).endswith(".tmp") and moment == f"write:{count}:before rename":
        die()

def replace(source, target):
    real_replace(source, target)
    if moment.startswith("write:") and moment.endswith(":between") and str(target).endswith("previous.ckpt"):
        if count >= int(moment.split(":")[1]):
            die()

files._flush, files.os.replace = flush, replace
config = TrainingConfig("densenet-7-2", "digits", name, epochs=int(epochs), batch_size=256, drop_rate=0.1,
                        runs_dir=runs_dir)
train(config, show_progress=False)
"""
WHERE = ("middle", "before rename", "between")


def start(runs_dir: Path, name: str, epochs: int, moment: str = "") -> subprocess.Popen[bytes]:
    """Start a training; ``moment`` is where it kills itself."""
    command = [sys.executable, "-c", TRAIN, str(runs_dir), name, str(epochs), moment]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})


def finished_epoch(folder: Path) -> int:
    """Return the last epoch that the run's newest whole state holds."""
    from densenet_core.training.run_state import resume

    return resume(folder).epoch if folder.is_dir() else 0


def kill_at_random(runs_dir: Path, name: str, epochs: int, moments: random.Random) -> None:
    """Kill the training from outside, after a part of a second in which it has trained."""
    last = runs_dir / name / "last.ckpt"
    before = last.stat().st_mtime_ns if last.exists() else 0
    process = start(runs_dir, name, epochs)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if last.exists() and last.stat().st_mtime_ns != before:
            break
        time.sleep(0.01)
    time.sleep(moments.uniform(0.0, 0.3))
    process.kill()
    process.wait()


def kill_in_a_write(runs_dir: Path, name: str, epochs: int, moments: random.Random) -> bool:
    """Let the training kill itself inside a write of its first two epochs; return whether it did."""
    moment = f"write:{moments.randint(2, 9)}:{moments.choice(WHERE)}"
    return start(runs_dir, name, epochs, moment).wait() == -9


def differences(a: Path, b: Path) -> list[str]:
    """Return in what two runs differ: rows of metrics without times, and weights."""
    import torch

    from densenet_core import load_checkpoint
    from densenet_core.training.run_folder import METRICS, read_metrics

    rows = [[(m.epoch, m.split, m.loss, m.error) for m in read_metrics(run / METRICS)] for run in (a, b)]
    found = [] if rows[0] == rows[1] else ["metrics.csv"]
    weights = [load_checkpoint(run).state_dict for run in (a, b)]
    return found + [key for key in weights[0] if not torch.equal(weights[0][key], weights[1][key])]


def torture(kills: int, runs_dir: Path, seed: int = 0) -> tuple[list[str], int]:
    """Return the differences after ``kills`` kills, and how many of them were inside a write: a third or more."""
    moments, in_writes, epochs = random.Random(seed), 0, 4 * kills + 4
    start(runs_dir, "unbroken", epochs).wait()
    for kill in range(kills):
        if kill % 2:
            in_writes += kill_in_a_write(runs_dir, "killed", epochs, moments)
        else:
            kill_at_random(runs_dir, "killed", epochs, moments)
        print(f"kill {kill + 1}: epoch {finished_epoch(runs_dir / 'killed')} is finished", flush=True)
    start(runs_dir, "killed", epochs).wait()
    return differences(runs_dir / "unbroken", runs_dir / "killed"), in_writes


def main() -> int:
    """Run the torture in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, in_writes = torture(options.kills, Path(folder), options.seed)
    print(
        f"{options.kills} kills, {in_writes} of them inside a write:", ", ".join(found) or "equal metrics and weights"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
