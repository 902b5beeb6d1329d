"""What the dashboard's tests share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from streamlit import config

from app.dashboard.jobs import session
from app.dashboard.jobs.queue import Queue
from app.dashboard.jobs.task import Task
from app.dashboard.jobs.worker import Message, run

config.set_option("server.address", "localhost")  # as the server's settings have it: strangers are refused


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
