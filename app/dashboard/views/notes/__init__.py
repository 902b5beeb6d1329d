"""The Notes page: how DenseNet works, an idea at a time, each with a picture to move."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app.dashboard.language import t
from app.dashboard.memory import choose_for, remember
from app.dashboard.views.notes import blocks, connectivity, reference, short_paths
from app.dashboard.views.notes.connectivity import TEXT_WIDTH

SECTIONS = {
    "connections": connectivity.show_connections,
    "preservation": connectivity.show_preservation,
    "growth": connectivity.show_growth,
    "bottleneck": blocks.show_bottleneck,
    "compression": blocks.show_compression,
    "composite": blocks.show_composite,
    "stochastic": short_paths.show_stochastic_depth,
    "fractal": short_paths.show_fractal,
    "highway": short_paths.show_highway,
    "supervision": short_paths.show_supervision,
    "table_1": reference.show_table_1,
    "training": reference.show_training,
}
KEY = "section"  # of the address: the section that is shown
_TURNED = "notes_turned"  # of the session's state: the reader went on at the end of a section


def show() -> None:
    """Draw the page: the contents in the sidebar, and the chosen section."""
    titles = {name: t(f"notes.{name}.title") for name in SECTIONS}
    name: str = remember(
        st.sidebar.radio,
        t("notes.contents"),
        options=SECTIONS,
        key=KEY,
        default=next(iter(SECTIONS)),
        format_func=titles.__getitem__,
    )
    place = list(SECTIONS).index(name)
    st.header(t("notes.title"), anchor=False)
    if place == 0:
        st.markdown(t("notes.intro"), width=TEXT_WIDTH)
    st.caption(t("notes.place", number=place + 1, total=len(SECTIONS)))
    st.subheader(titles[name], anchor=False)
    SECTIONS[name]()
    _show_neighbors(place)


def _show_neighbors(place: int) -> None:
    """Buttons to the sections before and behind this one."""
    names = list(SECTIONS)
    st.divider()
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        for step, icon in ((-1, "arrow_back"), (1, "arrow_forward")):
            if not 0 <= place + step < len(names):
                continue
            st.button(
                t(f"notes.{names[place + step]}.title"),
                key=f"notes_{icon}",
                icon=f":material/{icon}:",
                icon_position="left" if step < 0 else "right",
                type="tertiary",
                on_click=partial(_turn_to, names[place + step]),
            )
    if st.session_state.pop(_TURNED, False):  # Streamlit would stay at the end of the page
        top = "document.querySelector('[data-testid=stMain]').scrollTo(0, 0)"
        st.html(f"<script>{top}</script>", unsafe_allow_javascript=True)


def _turn_to(name: str) -> None:
    choose_for(KEY, name)
    st.session_state[_TURNED] = True
