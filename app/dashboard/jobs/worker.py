"""The process of one job: reads a task from its standard input, writes progress and the result to its standard output.

Its arguments are the server's options: it opens files in the same folders only.

Messages are pickles of pairs: ("progress", (done, total)), then one of ("result", its pickle), whose length is
the result's size, ("error", sentence), where the user can correct it, and ("crash", traceback).
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from app.dashboard.jobs.work import WORK
from app.dashboard.server.options import server_options
from densenet_core.files import only_in

Message = tuple[str, Any]
PAUSE = 0.2  # seconds between two reports
NICE = 5  # pages answer first
MEASURES_TIME = "latency"  # which would be another at a lower priority


def run(kind: str, network: Any, options: tuple[Any, ...], say: Callable[[Message], None]) -> None:
    """Do a task and send its result or error."""
    try:
        say(("result", pickle.dumps(WORK[kind](_sparingly(say), network, *options))))
    except ValueError as error:  # every error of a user's is one
        say(("error", str(error)))
    except Exception:
        say(("crash", traceback.format_exc()))


def _sparingly(say: Callable[[Message], None]) -> Callable[[int, int], None]:
    """Return a report that is passed on a few times a second."""
    last = 0.0

    def report(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PAUSE or done >= total:
            last = time.monotonic()
            say(("progress", (done, total)))

    return report


def _own_output() -> BinaryIO:
    """Return the pipe to the dashboard; what libraries print goes to standard error."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return pipe


def _end_with_the_dashboard() -> None:
    """End this process when the dashboard's end of its standard input is closed."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Read the task, do it, and send its result or error."""
    pipe = _own_output()
    kind, network, options = pickle.load(sys.stdin.buffer)
    _end_with_the_dashboard()
    if kind != MEASURES_TIME and hasattr(os, "nice"):
        os.nice(NICE)

    def say(message: Message) -> None:
        pickle.dump(message, pipe)
        pipe.flush()

    own = [option for option in options if isinstance(option, Path)]  # the cache's folder
    with only_in((*server_options().folders, *own)):
        run(kind, network, options, say)


if __name__ == "__main__":
    main()
