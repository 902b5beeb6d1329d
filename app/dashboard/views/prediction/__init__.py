"""The Prediction page: what each layer adds to a decision on one image."""

from __future__ import annotations

import streamlit as st

from app.dashboard.language import t
from app.dashboard.views.prediction.choosing import choose_image
from app.dashboard.widgets.network_picker import pick_network


def show() -> None:
    """Draw the page."""
    st.subheader(t("prediction.heading"), anchor=False)
    key = pick_network()
    if key is None:
        st.write(t("common.choose_network"))
        return
    chosen = choose_image(key)
    if chosen is None:
        st.write(t("prediction.choose"))
        return
    from app.dashboard.views.prediction.layers import show_prediction

    show_prediction(key, chosen)
