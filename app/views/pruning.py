"""The Pruning page: what a network loses as its connections go, by each measure and at random."""

from __future__ import annotations

from functools import partial
from typing import get_args

import streamlit as st

from analysis.connections import MEASURES
from analysis.figures.heatmap import MEASURE_TITLES
from analysis.figures.pruning import X_TITLES, pruning_figure, pruning_screen
from analysis.pruning import Budget
from app import loading
from app.charts import show_chart
from app.data_picker import pick_images
from app.downloads import download_row, take_home
from app.network_picker import pick_network
from app.text import literal

DEFAULT = ("mean_abs_weight", "effective_weight", "taylor")


def show() -> None:
    """Draws the page."""
    st.subheader("Which connections can go?", anchor=False)
    key = pick_network()
    if key is None:
        st.write("Choose a network in the sidebar.")
        return
    images = pick_images(key)
    if images is None:
        return
    a, b, c = st.columns([2, 1, 1])
    measures = a.multiselect(
        "Least first, by", MEASURES, default=DEFAULT, format_func=MEASURE_TITLES.__getitem__, key="pruning_measures"
    )
    budget = b.selectbox("Budget", get_args(Budget), key="pruning_budget")
    x = c.selectbox("Across", list(X_TITLES), format_func=X_TITLES.__getitem__, key="pruning_x")
    try:
        curves = loading.pruning_table(key, tuple(measures), budget, images)
    except ValueError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    show_chart(pruning_screen(curves, x), key="pruning", alt="Test error against what is left, a curve a measure")
    with take_home():
        download_row("pruning", curves, partial(loading.figure_file, pruning_figure, "pruning", curves, x, 1))
    st.caption(
        "Without fine-tuning. Every point is a network with the least important connections cut, in the order of the "
        "measure; a target's last source stays. Random: five orders, mean. Measures on data are taken on as many "
        "training images, errors on the test images."
    )
    st.caption(
        "`densenet-lens prune CHECKPOINT --keep 0.6 --measure taylor --out small.safetensors` writes the network."
    )
