"""The Agreement page: do two measures of feature reuse say the same?"""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from analysis.agreement import Agreement, agreement, disagreements
from analysis.connections import DATA_MEASURES, MEASURES
from analysis.figures.agreement import agreement_figure, agreement_screen
from analysis.figures.heatmap import MEASURE_TITLES
from app import loading
from app.charts import show_chart
from app.data_picker import pick_images
from app.downloads import download_row, take_home
from app.loading import NetworkKey
from app.network_picker import pick_network
from app.text import literal

KINDS = {"dense_layer": "dense layers", "transition": "transitions", "classifier": "the classifier", None: "all"}
DEFINITIONS = """
**What is computed.** Each connection gets its rank among the connections of the chosen targets by both measures, from
0 (least) to 1 (largest). *Spearman's rank correlation* is 1 where both order them alike and 0 where they have nothing
to do with one another; its 95 % interval is a bootstrap over the connections (1,000 resamples, seed 0). *Within a
target* is the mean of the correlations inside each target with three sources or more: what is left when targets are not
compared with one another. *Overlap* is the share of the k largest by one measure that are among the k largest by the
other.
"""


def show() -> None:
    """Draws the page."""
    st.subheader("Do two measures of feature reuse agree?", anchor=False)
    key = pick_network()
    if key is None:
        st.write("Choose a network in the sidebar.")
        return
    first, second, kind = _choose()
    table = _table(key, first, second)
    if table is None:
        return
    try:
        found = agreement(table, first, second, kind)
    except ValueError as error:
        st.info(literal(str(error)), icon=":material/info:")
        return
    _show_numbers(found)
    left, right = st.columns(2, gap="medium")
    with left:
        figure = agreement_screen(table, first, second, kind)
        show_chart(figure, key="agreement", alt="A point a connection, by its rank under both measures")
        with take_home():
            draw = partial(loading.figure_file, agreement_figure, "agreement", table, first, second, kind)
            download_row(f"agreement_{first}_{second}", table, draw)
    with right:
        _show_disagreements(disagreements(table, first, second, kind), first, second)
    with st.expander("What exactly is computed", icon=":material/function:"):
        st.markdown(DEFINITIONS)


def _choose() -> tuple[str, str, str | None]:
    a, b, c = st.columns(3)
    first = a.selectbox("One measure", MEASURES, format_func=MEASURE_TITLES.__getitem__, key="agreement_first")
    others = [measure for measure in MEASURES if measure != first]
    default = others.index("ablation") if "ablation" in others else 0
    second = b.selectbox(
        "The other", others, index=default, format_func=MEASURE_TITLES.__getitem__, key="agreement_second"
    )
    kind = c.selectbox("Connections into", list(KINDS), format_func=KINDS.__getitem__, key="agreement_kind")
    return first, second, kind


def _table(key: NetworkKey, *measures: str) -> pd.DataFrame | None:
    wanted = tuple(measure for measure in measures if measure in DATA_MEASURES)
    images = pick_images(key) if wanted else None
    if wanted and images is None:
        return None
    try:
        return loading.measured_table(key, wanted, images)
    except ValueError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return None


def _show_numbers(found: Agreement) -> None:
    columns = st.columns(4)
    columns[0].metric("Rank correlation", f"{found.spearman:.2f}", border=True)
    columns[1].metric("95 % interval", f"{found.low:.2f} to {found.high:.2f}", border=True)
    columns[2].metric("Within a target, mean", f"{found.within_targets:.2f}", border=True)
    columns[3].metric(f"Overlap of the {found.top} largest", f"{found.overlap:.0%}", border=True)


def _show_disagreements(rows: pd.DataFrame, first: str, second: str) -> None:
    st.markdown("**Where they differ most**")
    shown = pd.DataFrame(
        {
            "block": rows["block"],
            "source": rows["source_layer"],
            "target": rows["target_layer"],
            MEASURE_TITLES[first]: rows[first].map("{:.3g}".format),
            "rank": rows[f"rank_{first}"].round(2),
            MEASURE_TITLES[second]: rows[second].map("{:.3g}".format),
            "rank ": rows[f"rank_{second}"].round(2),
        }
    )
    st.dataframe(shown, hide_index=True)
