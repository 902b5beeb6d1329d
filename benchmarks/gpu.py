"""Everything that is worth measuring on one GPU, in a given time: checks, a training, times, CUDA graphs.

    python benchmarks/gpu.py --seconds 540 --out DIR --archive cifar10-jpeg.tar.gz

Each stage is a process with a deadline of its own and writes its result file row by row, so a stage that is cut leaves
its rows and all earlier files whole; time that a stage does not need goes to the next ones. The most valuable come
first. Nothing is downloaded and nothing needs to be installed: it runs from a copy of the sources. ``--archive`` is a
tar file with the folders train/CLASS and test/CLASS of 32x32 images. Files: checks.json, training.json, times.json,
graphs.json, gpu.json (what ran, and how it ended), and the folder of the run.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
DEFAULT_ARCHIVE = HERE.parents[1] / "shared" / "data" / "cifar10-jpeg.tar.gz"


class Stage(NamedTuple):
    """A module of gpu_stages and its part of the time."""

    name: str
    share: float


STAGES = (Stage("checks", 60), Stage("training", 360), Stage("times", 60), Stage("graphs", 60))


def deadlines(stages: Sequence[Stage], seconds: float, start: float) -> list[float]:
    """Return when each stage has to end: the shares add up to ``seconds``.

    >>> deadlines([Stage("a", 60), Stage("b", 180)], 120, start=1000)
    [1030.0, 1120.0]
    """
    total, ends, done = sum(stage.share for stage in stages), [], 0.0
    for stage in stages:
        done += stage.share
        ends.append(start + seconds * done / total)
    return ends


def run_until(command: Sequence[str], ends: float) -> str:
    """Run a command, kill it and what it started at ``ends``, and return how it ended."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), *sys.path[1:]])}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        code = process.wait(max(0.0, ends - time.time()))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return "cut at its deadline"
    return "finished" if code == 0 else f"failed with exit code {code}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages; the exit code is 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=540, help="for everything")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--archive", type=Path, default=DEFAULT_ARCHIVE)
    parser.add_argument("--arch", default="densenet-40-12", help="the network to train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", nargs="+", choices=[stage.name for stage in STAGES], help="only these")
    parser.add_argument("--tiny", action="store_true", help="small networks and few steps: a test on a CPU")
    options = parser.parse_args(arguments)
    stages = [stage for stage in STAGES if options.stages is None or stage.name in options.stages]
    options.out.mkdir(parents=True, exist_ok=True)
    about = []
    for stage, ends in zip(stages, deadlines(stages, options.seconds, time.time()), strict=True):
        start = time.time()
        given = {"name": stage.name, "out": options.out, "ends": ends, "archive": options.archive.resolve()}
        given |= {"arch": options.arch, "seed": options.seed}
        words = [f"--{key}={value}" for key, value in given.items()] + ["--tiny"] * options.tiny
        outcome = run_until([sys.executable, "-P", "-m", f"gpu_stages.{stage.name}", *words], ends)
        about.append({"stage": stage.name, "outcome": outcome, "seconds": round(time.time() - start, 1)})
        (options.out / "gpu.json").write_text(json.dumps(about, indent=1) + "\n")
        print(f"{stage.name}: {outcome} after {about[-1]['seconds']} s", flush=True)
    return int(any(row["outcome"].startswith("failed") for row in about))


if __name__ == "__main__":
    sys.exit(main())
