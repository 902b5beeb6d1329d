"""Clicks that are neither lost nor done with the choices before.

Streamlit calls a button's callback with what the button was given when it was drawn last, so a click right after a
change of a choice would act by the choice before; and the value of ``st.button`` is lost where another change draws
the page again before its line is reached. So the callback only notes the click, and the page asks ``was_clicked``
where it has read its choices:

    if was_clicked("start"):
        start(chosen)
    st.button("Start", key="start", on_click=partial(note_click, "start"))
"""

from __future__ import annotations

import streamlit as st

_CLICKED = "clicked"  # of the session's state: the keys of the buttons whose clicks are still to be done


def note_click(key: str) -> None:
    """Note that the button of this key was clicked: its callback."""
    st.session_state.setdefault(_CLICKED, set()).add(key)


def was_clicked(key: str) -> bool:
    """Return whether the button was clicked since this was asked last."""
    clicked: set[str] = st.session_state.get(_CLICKED, set())
    is_clicked = key in clicked
    clicked.discard(key)
    return is_clicked


def forget_clicks() -> None:
    """Drop what no page has asked for: a page that is opened does not do what was clicked on the one before."""
    st.session_state.pop(_CLICKED, None)
