"""The Training page: runs with their curves, how their feature reuse emerges, and new runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from app.dashboard.language import column_title, duration_words, t
from app.dashboard.memory import choose_for, remember, remember_several
from app.dashboard.processes import first_word, last_words, resume_training, stop_training
from app.dashboard.refusals import show_error
from app.dashboard.roots import in_served_folders, runs_dir, training_folders
from app.dashboard.server.options import server_options
from app.dashboard.views.training.curves import show_curves
from app.dashboard.views.training.emergence import show_emergence
from app.dashboard.views.training.managing import show_manage
from app.dashboard.views.training.new_run import STARTED, is_outcome_stale, is_start_open, show_form
from app.dashboard.widgets.clicks import note_click, was_clicked
from app.dashboard.widgets.downloads import download_row, take_home
from app.dashboard.widgets.handover import Code
from app.dashboard.widgets.scripts import TABLE, joined, plain_script
from app.dashboard.widgets.tables import show_rows
from app.text import literal
from densenet_core import RunError
from densenet_core.training.runs.files import METRICS
from densenet_core.training.runs.status import RunSummary, read_summary

BADGES = {"running": "blue", "finished": "green", "stopped": "gray", "diverged": "red"}
ICONS = {"stop": ":material/stop:", "resume": ":material/play_arrow:"}
REFRESH = 2.0  # seconds, while a run trains
CONSOLE_LINES = 12
SHORT_WIDTHS = (150, 70, 62, 70)  # pixels of the columns on a phone
MAX_CURVES = 6  # runs over each other, each in its own color
_SEEN = "training_seen"  # of the session's state: what the whole page was drawn for


def show() -> None:
    """Draw the page."""
    st.subheader(t("pages.training"), anchor=False)
    if not server_options().read_only:
        with st.sidebar:
            show_form()
    runs, unreadable = _runs()
    for reason in unreadable:
        st.warning(literal(reason), icon=":material/warning:")
    if not runs:
        st.info(t("training.no_runs_served" if server_options().read_only else "training.no_runs"))
        st.fragment(_wait_for_runs, run_every=REFRESH)()
        return
    st.session_state[_SEEN] = None
    is_training = any(run.state == "running" for run in runs)
    is_starting = _choose_started([run.name for run in runs]) or is_start_open()
    st.fragment(_watch, run_every=REFRESH if is_training or is_starting else None)()
    name, *_ = st.session_state[_SEEN]
    show_emergence(runs_dir() / name)


@in_served_folders()
def _runs() -> tuple[list[RunSummary], list[str]]:
    """Return the runs, and why others can't be read."""
    runs, unreadable = [], []
    for folder in training_folders():
        try:
            runs.append(read_summary(folder))
        except RunError as error:
            unreadable.append(str(error))
    return runs, unreadable


def _wait_for_runs() -> None:
    """Draw the page again when the first run is there; on a busy machine a process takes long to start."""
    if _runs()[0] or is_outcome_stale():
        st.rerun()


def _choose_started(names: list[str]) -> bool:
    """Choose the run that this session has started, and return whether it is still to come."""
    started = st.session_state.get(STARTED)
    if started in names:
        choose_for("training_run", st.session_state.pop(STARTED))
    return STARTED in st.session_state


def _watch() -> None:
    """The table and the chosen run, drawn again while one trains; a new epoch or state draws the whole page again."""
    runs = {run.name: run for run in _runs()[0]}
    if not runs:
        st.rerun()
    with st.container(key="off_phone_runs"):
        show_rows([_row(run) for run in runs.values()])
    with st.container(key="on_phone_runs"):  # one of the two is seen, by the width of the screen
        widths = zip(_short_titles(), SHORT_WIDTHS, strict=True)
        columns = {title: st.column_config.Column(width=width) for title, width in widths}
        show_rows([_short_row(run) for run in runs.values()], column_config=columns)
    with take_home():
        download_row("runs", pd.DataFrame([vars(run) for run in runs.values()]), None, "runs_", _runs_code(list(runs)))
    running = next((name for name, run in runs.items() if run.state == "running"), next(iter(runs)))
    name = remember(
        st.selectbox,
        t("picker.run"),
        options=runs,
        key="training_run",
        default=running,
        is_default_written=True,  # another run may be the one that trains when the link is opened
    )
    _show_run(runs[name], runs_dir() / name, [other for other in runs if other != name])
    seen = (name, runs[name].epoch, runs[name].state, tuple(runs))
    before, st.session_state[_SEEN] = st.session_state.get(_SEEN), seen
    if before not in (None, seen) or is_outcome_stale():
        st.rerun()


def _runs_code(names: list[str]) -> Code:
    imports = joined(TABLE, {"densenet_core.training.runs.status": "read_summary", "pandas": "DataFrame"})
    imports |= {"pathlib": "Path"}
    lines = [
        f"folder = Path({str(runs_dir())!r})",
        f'save_table(DataFrame([vars(read_summary(folder / name)) for name in {names}]), "runs.csv")',
    ]
    return plain_script(imports, lines)


def _row(run: RunSummary) -> dict[str, Any]:
    left = run.seconds_left
    return {
        t("training.columns.run"): run.name,
        t("training.columns.state"): t(f"training.states.{run.state}"),
        t("training.columns.epoch"): t("training.done", done=run.epoch, planned=run.epochs_planned),
        t("training.columns.error"): None if run.test_error is None else f"{run.test_error:.2f}",
        t("training.columns.left"): "" if left is None or run.state == "finished" else duration_words(left),
        t("columns.network"): run.arch,
        t("training.columns.data"): run.dataset,
        t("training.columns.seed"): run.seed,
    }


def _short_row(run: RunSummary) -> dict[str, Any]:
    """Return what a phone has room for."""
    error = None if run.test_error is None else f"{run.test_error:.2f}"
    values = (run.name, t(f"training.states.{run.state}"), f"{run.epoch}/{run.epochs_planned}", error)
    return dict(zip(_short_titles(), values, strict=True))


def _short_titles() -> list[str]:
    return [column_title(t(f"training.columns.{name}")) for name in ("run", "state", "epoch", "error")]


def _show_run(run: RunSummary, folder: Path, others: list[str]) -> None:
    """State, progress, buttons, curves and console of one run."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(t(f"training.states.{run.state}"), color=BADGES[run.state])  # type: ignore[arg-type]
        words = t("training.progress", done=run.epoch, planned=run.epochs_planned)
        st.progress(run.epoch / max(run.epochs_planned, 1), words)
        if not server_options().read_only:
            _show_buttons(run, folder)
    if (folder / METRICS).exists():
        _show_curves(run.name, folder, [other for other in others if (folder.with_name(other) / METRICS).exists()])
    else:
        st.caption(t("training.first_epoch"))
    with in_served_folders():
        said = last_words(folder, CONSOLE_LINES)
    if said:
        with st.expander(t("training.console"), icon=":material/terminal:", key="console"):
            st.code(said, language=None)


def _show_curves(name: str, folder: Path, others: list[str]) -> None:
    """Draw the run's curves, and over them those of other runs that are chosen."""
    beside = remember_several(
        st.multiselect,
        t("training.beside"),
        options=others,
        key="training_beside",
        max_selections=MAX_CURVES - 1,
        placeholder=t("training.no_other"),
    )
    runs = {name: folder} | {other: folder.with_name(other) for other in beside}
    try:
        show_curves(runs, f"{name}_curves")
    except RunError as error:
        show_error(error)


def _show_buttons(run: RunSummary, folder: Path) -> None:
    does = "stop" if run.state == "running" else "resume"
    key = f"{does}_{run.name}"  # a click is for the run that was seen
    try:
        if was_clicked(key):
            _stop_or_resume(run, folder)
    except (RunError, OSError) as error:
        show_error(error)
    if run.state != "finished":
        st.button(t(f"training.{does}"), icon=ICONS[does], key=key, on_click=partial(note_click, key))
    if run.state != "running":
        show_manage(folder)


def _stop_or_resume(run: RunSummary, folder: Path) -> None:
    if run.state == "running":
        stop_training(folder)
        return
    with st.spinner(t("training.starting", name=literal(run.name))):
        first_word(folder, resume_training(folder))
    st.rerun()
