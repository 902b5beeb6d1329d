"""The process of one job: reads a task from its standard input, writes progress and the result to its standard output.

Its arguments are the server's options: it opens files in the same folders only.

Messages are pickles of pairs: ("progress", (done, total)) and ("so_far", pickle of a result), then one of ("result",
its pickle), whose length is the size of the result, ("error", sentence), where the user can correct it, and ("crash",
traceback).
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
PAUSE_OF_RESULTS = 2.0  # seconds between two results so far
NICE = 5  # pages answer first
MEASURES_TIME = "latency"  # which would be another at a lower priority


def run(kind: str, network: Any, options: tuple[Any, ...], say: Callable[[Message], None]) -> None:
    """Do a task and send its result or error."""
    try:
        say(("result", pickle.dumps(WORK[kind](Reporter(say), network, *options))))
    except ValueError as error:  # every error of a user's is one
        say(("error", str(error)))
    except Exception:
        say(("crash", traceback.format_exc()))


class Reporter:
    """What work reports: its steps, passed on a few times a second, and its result so far, every few seconds."""

    def __init__(self, say: Callable[[Message], None]) -> None:
        self._say, self._last, self._last_result = say, 0.0, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Report that so many of all steps are done."""
        if time.monotonic() - self._last >= PAUSE or done >= total:
            self._last = time.monotonic()
            self._say(("progress", (done, total)))

    def show(self, result: Callable[[], Any]) -> None:
        """Report what the result is so far; it is made only if it is passed on."""
        if time.monotonic() - self._last_result >= PAUSE_OF_RESULTS:
            self._say(("so_far", pickle.dumps(result())))
            self._last_result = time.monotonic()


def _own_output() -> BinaryIO:
    """Return the pipe to the dashboard; what libraries print goes to standard error."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return pipe


def _end_with_the_dashboard() -> None:
    """End this process when the dashboard's end of its standard input is closed."""

    def wait() -> None:
        while os.read(0, 1024):  # not by sys.stdin: Python aborts where a thread that waits holds its lock at the end
            pass
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
