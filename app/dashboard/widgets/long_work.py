"""Long work on a page: an offer to start it, its progress while it runs, its result when it is there.

Opening a page never starts a long computation. A job continues when the page is left; its result is shown on return.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.reuse.measures import needs_cuts
from app.dashboard import loading
from app.dashboard.jobs.estimate import rough_seconds, work_size
from app.dashboard.jobs.queue import QueueError
from app.dashboard.jobs.session import ask_for, may_cancel, own_jobs, the_queue
from app.dashboard.jobs.task import Job, Task
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import duration_words, t
from app.dashboard.refusals import show_error
from app.dashboard.widgets.clicks import note_click, was_clicked
from app.dashboard.widgets.network_picker import chosen_name
from app.text import literal

REFRESH = 1.0  # seconds
ICONS = {
    "waiting": ":material/hourglass_empty:",
    "running": ":material/progress_activity:",
    "finished": ":material/check:",
    "failed": ":material/error:",
    "cancelled": ":material/cancel:",
}


def result_of(task: Task, amount: str = "", show_so_far: Callable[[Any], None] | None = None) -> Any | None:
    """Return the result of long work; None while the page offers it or shows its progress.

    Args:
        amount: what it is done on, in words, such as "200 images".
        show_so_far: draws the result of what is done, below the progress.
    """
    job = the_queue().find(task)
    refused = ""
    if was_clicked(_start_key(task)) and (job is None or job.state != "finished"):
        refused = _start(task)
        job = the_queue().find(task)
    if job is not None and job.state == "finished":
        return job.result
    if job is None or job.is_over:
        _offer(task, job, amount, refused)
    else:
        _show_progress(task, show_so_far)
    return None


def _start_key(task: Task) -> str:
    return f"start_{task.kind}"


def measure_or_offer(
    key: NetworkKey,
    measures: tuple[str, ...],
    images: ImagesKey | None,
    show_so_far: Callable[[pd.DataFrame], None] | None = None,
) -> pd.DataFrame | None:
    """Return the feature-reuse table with these measures; None while the page offers it as a job or shows progress.

    Args:
        images: None for measures of the weights.
        show_so_far: as in ``result_of``.
    """
    if images is None or not _is_job(key, measures, images):
        return loading.measured_table(key, measures, images)
    task = loading.measured_task(key, measures, images)
    found: pd.DataFrame | None = result_of(task, amount(images), show_so_far)
    return found


def _is_job(key: NetworkKey, measures: tuple[str, ...], images: ImagesKey) -> bool:
    """Return whether measuring these takes so long that it is a job: ablation always does."""
    return needs_cuts(measures) or loading.takes_long(key, images, passes=3)


def amount(images: ImagesKey) -> str:
    """Return what is measured on, in words."""
    return t("jobs.images", number=images.number)


def _offer(task: Task, job: Job | None, amount: str, refused: str) -> None:
    """The button that starts it, with what is known of how long it takes, and why it was not started."""
    if job is not None and job.state == "failed":
        show_error(job.error) if job.error else st.error(t("jobs.crashed"), icon=ICONS["failed"])
    facts = [amount, _expected_time(task)]
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.button(
            t(f"jobs.start.{task.kind}"),
            key=_start_key(task),
            type="primary",
            icon=":material/play_arrow:",
            on_click=partial(note_click, _start_key(task)),
        )
        st.caption("  ·  ".join(fact for fact in facts if fact))
    if refused:
        st.warning(literal(refused), icon=":material/warning:")


def _expected_time(task: Task) -> str:
    """Return in words how long it takes: by earlier work of its kind, else roughly, by a forward pass."""
    if seconds := the_queue().expected_seconds(task, work_size(task)):
        return t("jobs.took", time=duration_words(seconds))
    rough = rough_seconds(task)
    return t("jobs.estimated") if rough is None else t("jobs.rough", time=duration_words(rough))


def _seconds(task: Task) -> float | None:
    """Return about how many seconds it takes, by the same; None where that is not known before it runs."""
    return the_queue().expected_seconds(task, work_size(task)) or rough_seconds(task)


def _start(task: Task) -> str:
    """Ask for the work, and return why it is not taken, or nothing."""
    try:
        name = "" if task.network is None else chosen_name()
        ask_for(task, loading.load_for(task), name, work_size(task), _seconds(task))
    except QueueError as error:
        return str(error)
    return ""


@st.fragment(run_every=REFRESH)
def _show_progress(task: Task, show_so_far: Callable[[Any], None] | None) -> None:
    """Progress, time left and a button to cancel, drawn again every second until the job is over."""
    job = the_queue().find(task)
    if job is None or job.is_over:
        st.rerun()
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.progress(job.share, f"**{t(f'jobs.kinds.{task.kind}')}**  ·  {progress_words(job)}")
        if may_cancel(job):
            st.button(
                t("jobs.cancel"), key=f"cancel_{task.kind}", icon=":material/stop:", on_click=partial(_cancel, task)
            )
    st.caption(t("jobs.goes_on"))
    if show_so_far is not None and job.so_far is not None:
        st.markdown(f"**{t('jobs.so_far', done=job.done, total=job.total)}**")
        show_so_far(job.so_far)


def _cancel(task: Task) -> None:
    the_queue().cancel(task)


def progress_words(job: Job) -> str:
    """Return the progress of a job in words."""
    if job.state == "waiting":
        return t("jobs.waiting", before=the_queue().before(job))
    if job.state != "running":
        return t(f"jobs.states.{job.state}")
    if job.seconds_left is None:
        begun = t("jobs.begun", time=duration_words(job.seconds))
        if job.expected is None or job.expected < job.seconds:
            return begun
        return f"{begun}, {t('jobs.expected', time=duration_words(job.expected))}"
    return t("jobs.running", done=job.done, total=job.total, time=duration_words(job.seconds_left))


def show_jobs() -> None:
    """Draw the list of jobs in the sidebar, where there are any."""
    jobs = own_jobs()
    if jobs:
        is_open = any(not job.is_over for job in jobs)
        with st.sidebar:
            st.fragment(_list_jobs, run_every=2 * REFRESH if is_open else None)()


def show_open_jobs(place: DeltaGenerator) -> None:
    """Draw a line a job that waits or runs, for while the sidebar is closed; ``place`` is the top of the page."""
    with place:
        if any(not job.is_over for job in own_jobs()):
            st.fragment(_name_open_jobs, run_every=2 * REFRESH)()


def _name_open_jobs() -> None:
    for job in own_jobs():
        if not job.is_over:
            st.progress(job.share, f"**{t(f'jobs.kinds.{job.task.kind}')}**  ·  {progress_words(job)}")


def _list_jobs() -> None:
    jobs = own_jobs()
    open_jobs = sum(not job.is_over for job in jobs)
    with st.expander(t("jobs.title", number=open_jobs), icon=":material/work_history:", key="jobs_list"):
        for number, job in enumerate(jobs[:8]):
            words = f"{ICONS[job.state]} **{t(f'jobs.kinds.{job.task.kind}')}**"
            st.markdown(words + (f"  \n{literal(job.title)}" if job.title else ""))
            if job.is_over:
                st.caption(progress_words(job))
                continue
            st.progress(job.share, progress_words(job))
            if may_cancel(job):
                st.button(t("jobs.cancel"), key=f"cancel_job_{number}", on_click=partial(_cancel, job.task))
