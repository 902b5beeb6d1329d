"""What the dashboard's tests share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from streamlit import config
from streamlit.components.v2.component_manager import BidiComponentManager
from streamlit.testing.v1 import local_script_runner
from streamlit.testing.v1.local_script_runner import LocalScriptRunner

from app.dashboard.jobs import session
from app.dashboard.jobs.queue import Queue
from app.dashboard.jobs.task import Task
from app.dashboard.jobs.worker import Message, run

config.set_option("server.address", "localhost")  # as the server's settings have it: strangers are refused
config.set_option("browser.gatherUsageStats", False)  # theirs, too; each call of st would be noted otherwise


@pytest.fixture(scope="session", autouse=True)
def pages_are_drawn_at_once() -> Iterator[None]:
    """Leave out what AppTest spends most of its time on.

    Every new one searches all installed packages for Streamlit components, of which the pages use none, and a thousand
    times a second the thread that draws is interrupted to see whether it is done. And put the main module back, in
    whose place Streamlit puts the script: processes that tests start would run it again.
    """
    wait, main = local_script_runner.require_widgets_deltas, sys.modules["__main__"]

    def wait_for_the_thread(runner: LocalScriptRunner, timeout: float = 3) -> None:
        runner._script_thread.join(timeout)
        sys.modules["__main__"] = main
        wait(runner, 1)  # raises the usual error where the thread is not done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BidiComponentManager, "discover_and_register_components", lambda *_, **__: None)
        patch.setattr(local_script_runner, "require_widgets_deltas", wait_for_the_thread)
        yield


class AtOnce:
    """A job that is done where it is asked for, instead of in a process of its own."""

    def __init__(self, task: Task, network: Any, hear: Callable[[Message | None], None]) -> None:
        run(task.kind, network, task.options, hear)

    def end(self) -> None:
        """There is nothing left to stop."""


@pytest.fixture(autouse=True)
def jobs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue of its own for each test, whose jobs are done at once."""
    session.the_queue.clear()
    monkeypatch.setattr(session, "Queue", partial(Queue, launch=AtOnce))
