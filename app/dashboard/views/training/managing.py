"""Renaming and deleting a run, each behind a confirmation."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import streamlit as st

from app.dashboard.language import t
from app.dashboard.processes import delete_run, rename_run
from app.dashboard.refusals import show_error
from app.dashboard.views.training.new_run import STARTED
from app.dashboard.widgets.clicks import note_click, was_clicked
from app.text import literal
from densenet_core import RunError


def show_manage(folder: Path) -> None:
    """Draw the button that opens both, and do what was clicked."""
    with st.popover(t("training.manage"), icon=":material/more_horiz:", type="tertiary", key=f"manage_{folder.name}"):
        name = st.text_input(t("training.new_name"), folder.name, key=f"rename_{folder.name}")
        rename = partial(note_click, "rename_run")
        st.button(t("training.rename"), key="rename_run", disabled=name == folder.name, on_click=rename)
        st.divider()
        is_sure = st.checkbox(t("training.sure", name=literal(folder.name)), key=f"sure_{folder.name}")
        delete, icon = partial(note_click, "delete_run"), ":material/delete:"
        st.button(t("training.delete"), key="delete_run", icon=icon, disabled=not is_sure, on_click=delete)
    try:
        if was_clicked("rename_run"):
            st.session_state[STARTED] = rename_run(folder, name).name  # the page chooses it
            st.rerun()
        if was_clicked("delete_run") and is_sure:
            delete_run(folder)
            st.rerun()
    except RunError as error:
        show_error(error)
