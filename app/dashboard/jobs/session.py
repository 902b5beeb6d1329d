"""The server's queue, as a session sees it."""

from __future__ import annotations

import weakref

import streamlit as st
from streamlit.runtime import get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app.dashboard.jobs.queue import Queue
from app.dashboard.jobs.task import Job, Task
from app.dashboard.server.access import needs_login
from app.dashboard.server.options import server_options

_TICKETS = "job_tickets"  # of the session's state


class Ticket:
    """Held by a session for a job on its upload: when the session ends, the job and its result go too."""

    def __init__(self, queue: Queue, task: Task) -> None:
        weakref.finalize(self, queue.forget, task)


@st.cache_resource(show_spinner=False)
def the_queue() -> Queue:
    """Return the server's queue."""
    return Queue(server_options().places)


def ask_for(task: Task, network: object, title: str, size: float = 0.0, expected: float | None = None) -> Job:
    """Put a task into the queue for this session; ``size`` and ``expected`` as in ``Queue.submit``.

    Raises:
        QueueError: too many jobs wait.
    """
    queue = the_queue()
    job = queue.submit(task, network, title, session_id(), size, expected)
    if task.is_private:
        st.session_state.setdefault(_TICKETS, {}).setdefault(task, Ticket(queue, task))
    return job


def session_id() -> str:
    """Return this session's own name."""
    context = get_script_run_ctx()
    return context.session_id if context else ""


def own_jobs() -> list[Job]:
    """Return the jobs that this session may see, the newest first.

    All but those on other sessions' uploads; only its own where people log in, for runs are each user's own.
    """
    own, sees_others = session_id(), not needs_login(server_options())
    jobs = reversed(the_queue().jobs())
    return [job for job in jobs if job.owner == own or (sees_others and not job.task.is_private)]


def may_cancel(job: Job) -> bool:
    """Return whether this session may end a job: its own, and one whose session is gone."""
    return job.owner == session_id() or not get_instance().is_active_session(job.owner)
