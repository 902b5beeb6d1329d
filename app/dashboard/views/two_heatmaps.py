"""Two networks' feature reuse side by side, and their difference where they have the same blocks."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from analysis.figures.difference import difference_figure, difference_screen
from analysis.figures.figure_5 import feature_reuse_screen
from analysis.reuse.scaling import Scaling, reuse_difference
from app.dashboard import loading
from app.dashboard.charts import show_chart
from app.dashboard.keys import NetworkKey
from app.dashboard.language import t
from app.dashboard.widgets.downloads import download_row, take_home
from app.text import literal

MEASURE = "mean_abs_weight"
SCALING: Scaling = "block_max"


def show_reuse(keys: tuple[NetworkKey, NetworkKey], names: tuple[str, ...]) -> None:
    """Draw both heatmaps and their difference; say what is missing where one has no weights or no dense blocks."""
    st.markdown(f"##### {t('comparison.reuse')}")
    tables = [_table(key) for key in keys]
    if tables[0] is None or tables[1] is None:
        st.caption(t("comparison.no_reuse"))
        return
    for column, table, name, side in zip(st.columns(2, gap="medium"), tables, names, "ab", strict=True):
        with column:
            st.markdown(f"**{literal(name)}**")
            assert table is not None
            show_chart(feature_reuse_screen(table, MEASURE, SCALING, "viridis"), f"reuse_{side}", t("reuse.alt"))
    try:
        difference = reuse_difference(tables[0], tables[1], MEASURE, SCALING)
    except ValueError as error:
        st.caption(literal(str(error)))
        return
    correlation = difference.attrs["rank_correlation"]
    st.markdown(f"**{t('comparison.difference')}**")
    st.caption(t("comparison.correlation", correlation=correlation))
    show_chart(difference_screen(difference), "reuse_difference", t("comparison.difference"))
    with take_home():
        draw = partial(loading.figure_file, difference_figure, "difference", difference, 2)
        download_row("reuse_difference", difference, draw, key="difference_")


def _table(key: NetworkKey) -> pd.DataFrame | None:
    """The feature-reuse table; None for an architecture without weights, or a network without dense blocks."""
    if key.origin == "arch":
        return None
    try:
        return loading.measured_table(key, (), None)
    except ValueError:
        return None
