"""The Notes page: how DenseNet works, each idea with a picture to move."""

from __future__ import annotations

import streamlit as st

from app.dashboard.language import t
from app.dashboard.views.notes import blocks, connectivity, reference, short_paths
from app.dashboard.views.notes.connectivity import TEXT_WIDTH

SECTIONS = {
    "connections": connectivity.show_connections,
    "preservation": connectivity.show_preservation,
    "growth": connectivity.show_growth,
    "bottleneck": blocks.show_bottleneck,
    "compression": blocks.show_compression,
    "composite": blocks.show_composite,
    "short_paths": short_paths.show_short_paths,
    "table_1": reference.show_table_1,
    "training": reference.show_training,
}


def show() -> None:
    """Draws the page."""
    with st.sidebar:
        st.subheader(t("notes.contents"), anchor=False)
        st.markdown("\n".join(f"- [{t(f'notes.{name}.title')}](#{name})" for name in SECTIONS))
    st.header(t("notes.title"), anchor=False)
    st.markdown(t("notes.intro"), width=TEXT_WIDTH)
    for name, show_section in SECTIONS.items():
        st.subheader(t(f"notes.{name}.title"), anchor=name)
        show_section()
