"""Reads many damaged files and checks what SECURITY.md promises: `python -m tests.fuzz.mutate --files 10000`.

Every file is read, or refused with a CheckpointError that gives a reason; in less than 5 s; with less memory than twice
the file and 200 MB; and nothing runs meanwhile: no process, no socket, no file written, no code compiled or imported.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path

from densenet_core import CheckpointError, load_checkpoint
from tests.fuzz.hostile import damaged, seeds, watched

MAX_SECONDS = 5.0
MAX_MEMORY = 200_000_000  # bytes beside twice the file


def status(field: str) -> int:
    """VmRSS or VmHWM (its peak) of this process in bytes; Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def read(file: Path) -> str:
    """Return "read" or "refused"; raise an AssertionError where a promise is broken."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = status("VmRSS"), time.monotonic()
    try:
        with watched() as found:
            load_checkpoint(file)
        outcome = "read"
    except CheckpointError as error:
        if not str(error).startswith(f"{file.name}: ") or len(str(error)) > 1100:
            raise AssertionError(f"no reason: {error}") from error
        outcome = "refused"
    took, grown = time.monotonic() - start, status("VmHWM") - before
    if took > MAX_SECONDS:
        raise AssertionError(f"took {took:.1f} s")
    if grown > 2 * file.stat().st_size + MAX_MEMORY:
        raise AssertionError(f"took {grown / 1e6:.0f} MB for {file.stat().st_size / 1e6:.1f} MB")
    if found:
        raise AssertionError(f"did {found}")
    return outcome


def run(number: int, seed: int) -> collections.Counter[str]:
    """Damage and read this many files; the first that breaks a promise is kept and named."""
    warnings.simplefilter("ignore")
    sys.dont_write_bytecode = True  # of modules that are imported when they are first needed
    chance, files = random.Random(seed), seeds()
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file"
        for content in files:  # not damaged, they can be read
            file.write_bytes(content)
            load_checkpoint(file)
        for place in range(number):
            content = damaged(files[place % len(files)], chance, files)
            file.write_bytes(content)
            try:
                counts[read(file)] += 1
            except BaseException:
                kept = Path(tempfile.gettempdir()) / f"hostile-{seed}-{place}"
                kept.write_bytes(content)
                print(f"file {place} of seed {seed} is kept as {kept}", file=sys.stderr)
                raise
    return counts


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    faulthandler.enable()
    start = time.monotonic()
    counts = run(arguments.files, arguments.seed)
    took = time.monotonic() - start
    print(f"{sum(counts.values())} damaged files in {took:.0f} s: {counts['read']} read, {counts['refused']} refused")


if __name__ == "__main__":
    main()
