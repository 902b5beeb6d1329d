"""Renaming and deleting a run, each behind a confirmation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import streamlit as st

from app.dashboard.language import t
from app.dashboard.memory import choose_for
from app.dashboard.processes import delete_run, rename_run
from app.dashboard.refusals import show_error
from app.text import literal
from densenet_core import RunError

_REFUSED = "manage_refused"  # of the session's state


def show_manage(folder: Path) -> None:
    """Draw the button that opens both."""
    with st.popover(t("training.manage"), icon=":material/more_horiz:", type="tertiary", key=f"manage_{folder.name}"):
        typed = f"rename_{folder.name}"
        name = st.text_input(t("training.new_name"), folder.name, key=typed)
        st.button(
            t("training.rename"),
            key="rename_run",
            disabled=name == folder.name,
            on_click=partial(_do, partial(_rename, folder, typed)),
        )
        st.divider()
        sure = f"sure_{folder.name}"
        is_sure = st.checkbox(t("training.sure", name=literal(folder.name)), key=sure)
        st.button(
            t("training.delete"),
            key="delete_run",
            icon=":material/delete:",
            disabled=not is_sure,
            on_click=partial(_do, partial(_delete, folder, sure)),
        )
    if refused := st.session_state.pop(_REFUSED, None):
        show_error(refused)


def _do(change: Callable[[], None]) -> None:
    try:
        change()
    except RunError as error:
        st.session_state[_REFUSED] = str(error)


def _rename(folder: Path, typed: str) -> None:
    """Rename it to what the widget of this key says at the click."""
    choose_for("training_run", rename_run(folder, st.session_state[typed]).name)


def _delete(folder: Path, sure: str) -> None:
    """Delete it, where the box of this key is still checked at the click."""
    if not st.session_state[sure]:
        return
    delete_run(folder)
    st.session_state.pop("training_run", None)
