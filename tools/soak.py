"""Visit a dashboard with many sessions for a while: no error, no growing memory, no file left behind.

    python -m tools.soak --minutes 20 --sessions 20

Every visitor opens pages in random order, uploads files and starts measurements. Exits with 1 where the server's log
has an error, the median memory of the last third is more than 5 % above that of the first, or a file is left. Linux.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from app.dashboard.language import catalogue
from app.dashboard.pages import PAGES
from tests.app.server.live import Visitor, free_port, serve

ADDRESSES = [address for address, _ in PAGES.values()]
MEASURE = [words for key, words in catalogue("en").items() if key.startswith("jobs.start.")]
MAX_GROWTH = 0.05
OPTIONS = ("--read-only", "--jobs", "1", "--max-upload", "8", "--session-memory", "16")
SESSION_TTL_S = 5  # after which Streamlit forgets a closed session; two minutes otherwise
SETTLE_S = 15
PATIENCE_S = 300  # 20 visitors on one core wait for minutes, which is no error
ERRORS = ("Traceback", "Error:", "Uncaught")


class Outcome(NamedTuple):
    """What a soak found."""

    num_pages: int
    failures: list[str]  # of visitors
    errors: list[str]  # lines of the server's log
    medians: tuple[float, float]  # of the server's memory in the first and the last third, bytes
    left: list[str]  # files in the server's folders

    @property
    def growth(self) -> float:
        """Of the median memory, the last third against the first."""
        return self.medians[1] / self.medians[0] - 1


def memory(process: int) -> int:
    """Return the resident memory of a process in bytes."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def visit(port: int, until: float, chance: random.Random, pages: list[str], failures: list[str]) -> None:
    """Open pages, upload files and start measurements until the time is over."""
    number = 0
    while time.monotonic() < until:
        page = chance.choice(ADDRESSES)
        try:
            with Visitor(port, page, patience_s=PATIENCE_S) as visitor:
                for _ in range(chance.randint(1, 3)):
                    number += 1
                    visitor.upload(chance.randint(1, 2_000_000), str(number))
                    offered = [label for label in visitor.buttons if label in MEASURE]
                    visitor.click(chance.choice(offered)) if offered and chance.random() < 0.3 else visitor.run()
                    visitor.said = ""
                    pages.append(page)
        except Exception as error:
            failures.append(f"{page}: {type(error).__name__}: {error}")


def server_environment(folder: Path, log: Path) -> dict[str, str]:
    """Return variables that keep the server's files in a folder, but for its log, and end closed sessions soon."""
    (folder / "tmp").mkdir(parents=True)
    places = {"TMPDIR": folder / "tmp", "XDG_CACHE_HOME": folder / "cache"}
    places["MPLCONFIGDIR"] = log.parent  # matplotlib's list of fonts is no file of ours
    own = {"STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": str(SESSION_TTL_S)}
    return own | {name: str(place) for name, place in places.items()}


def soak(minutes: float, sessions: int, folder: Path, log: Path) -> Outcome:
    """Visit a server of its own in ``folder``."""
    port = free_port()
    with serve(folder, port, *OPTIONS, log=log, **server_environment(folder, log)) as process:
        pages: list[str] = []
        failures: list[str] = []
        for page in ADDRESSES:  # imports and caches of the pages are no leak
            with Visitor(port, page, patience_s=PATIENCE_S):
                pass
        until = time.monotonic() + 60 * minutes
        visitors = [
            threading.Thread(target=visit, args=(port, until, random.Random(seed), pages, failures))
            for seed in range(sessions)
        ]
        for visitor in visitors:
            visitor.start()
        samples: list[int] = []
        while time.monotonic() < until:
            samples.append(memory(process.pid))
            time.sleep(1)
        for visitor in visitors:
            visitor.join()
        time.sleep(SETTLE_S)
        left = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
    third = max(1, len(samples) // 3)
    medians = statistics.median(samples[:third]), statistics.median(samples[-third:])
    errors = [line for line in log.read_text(errors="replace").splitlines() if any(sign in line for sign in ERRORS)]
    return Outcome(len(pages), failures, errors, medians, left)


def main() -> int:
    """Soak a server and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--sessions", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as logs:
        found = soak(options.minutes, options.sessions, Path(folder), Path(logs) / "log.txt")
    print(f"{found.num_pages} pages in {options.minutes:g} minutes, {options.sessions} sessions")
    first, last = (f"{size / 2**20:,.0f} MiB" for size in found.medians)
    print(f"memory: {found.growth:+.1%}, from {first} in the first third to {last} in the last")
    for name in ("failures", "errors", "left"):
        lines: list[str] = getattr(found, name)
        print(f"{name}: {len(lines)}", *lines[:5], sep="\n  ")
    return 1 if found.failures or found.errors or found.left or found.growth > MAX_GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())
