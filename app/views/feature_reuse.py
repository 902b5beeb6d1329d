"""The Feature-reuse page: the paper's Figure 5 to explore, for any network."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from analysis import connection_filter, feature_reuse_figure, figure5_observations, target_share
from analysis.connections import DATA_MEASURES, MEASURES
from analysis.figures.heatmap import COLOR_MAPS, MEASURE_TITLES, ColorMap
from analysis.figures.screen import (
    Connection,
    feature_reuse_screen,
    source_profile,
    target_profile,
    weight_histogram,
)
from analysis.observations import Observation
from analysis.scaling import SCALING_TITLES, SCALINGS, Scaling
from app import loading
from app.charts import show_chart
from app.data_picker import pick_images
from app.downloads import download_row, take_home
from app.loading import NetworkKey
from app.network_picker import pick_network
from app.text import literal, network_facts

DEFINITIONS = """
**What is computed.** A connection goes from a *source* inside a dense block (0 is what enters the block, *s* its *s*-th
layer) to a *target* that reads it: a later dense layer, the transition, or the classifier. Its weights *w* are the
slice of the target's **first** convolution (or the classifier's matrix) that reads the source's feature maps.

- **mean |w|**: the mean of |w| over the source's channels, all output channels and all kernel positions.
- **L1 norm per input map**: the sum of |w| over output channels and kernel positions, divided by the source's
  channels.
- **mean |w γ|** (effective weight): |w| times the factor γ of the target's own batch norm for that channel: the weight
  per standard deviation of the source.

On images:

- **contribution**: the L2 norm of what the source adds to the target's pre-activation, as a share of all its sources'.
- **Taylor**: |Σ gradient × activation|: the first-order change of the loss when the connection is cut.
- **loss rise when cut** (ablation): the true change of the mean cross-entropy, in nats, when zeros stand in the
  source's place, after the target's norm and ReLU. Below 0 the network is better without; colours begin at 0.

Within a target the two differ by one factor; between a 3x3 target, a 1x1 transition and the classifier by another, so
the framed columns change with the measure. **Scaling** is for the colours alone; the table keeps the raw values. The
paper does not say how its colours were scaled: per block by its maximum is how Figure 5 reads.

**The observations** are the paper's words; the statistics and criteria are this suite's. The *effective number of
sources* is the exponential of the entropy of the sources' shares in a target's mean |w|: all sources alike give their
number, one alone gives 1. A network that was never trained spreads its weights evenly and so meets the first two.
"""


class Options(NamedTuple):
    """How the table is drawn."""

    measure: str
    scaling: Scaling
    color_map: ColorMap


def show() -> None:
    """Draws the page."""
    key = pick_network(table_is_enough=True)
    if key is None:
        st.title("Feature reuse")
        st.write("Choose a network in the sidebar to see how its layers use each other's feature maps.")
        return
    _show_heading(key)
    table = _table(key)
    if table is None:
        _choose_options()
        return
    cell = _chosen_cell(key, table)
    left, right = st.columns([3, 1], gap="medium")
    with left:
        options = _choose_options()
        _show_heatmap(table, options, cell)
        _show_export(table, options)
        _show_connection(key, table, options.measure, cell)
    with right:
        _show_observations(table)
    with st.expander("What exactly is computed", icon=":material/function:"):
        st.markdown(DEFINITIONS)
    with st.expander("The table", icon=":material/table:"):
        st.dataframe(table, hide_index=True)


def _table(key: NetworkKey) -> pd.DataFrame | None:
    """The feature-reuse table with the chosen measure; None where that needs images and there are none that fit."""
    measure = st.session_state.get("measure", MEASURES[0])
    if measure not in DATA_MEASURES:
        return loading.measured_table(key, (), None)
    images = pick_images(key)
    return None if images is None else loading.measured_table(key, (measure,), images)


def _show_heading(key: NetworkKey) -> None:
    facts = network_facts(loading.load(key))
    st.subheader(f"How the layers of {literal(facts[0][1])} reuse each other's features", anchor=False)
    st.caption("  ·  ".join(f"{label}: **{literal(value)}**" for label, value in facts[1:]))


def _choose_options() -> Options:
    measure, scaling, colors = st.columns(3)
    return Options(
        measure.selectbox("Measure", MEASURES, format_func=lambda m: MEASURE_TITLES[m], key="measure"),
        scaling.selectbox("Scaling", SCALINGS, format_func=lambda s: SCALING_TITLES[s], key="scaling"),
        colors.selectbox("Colours", COLOR_MAPS, key="color_map"),
    )


def _show_heatmap(table: pd.DataFrame, options: Options, cell: Connection) -> None:
    figure = feature_reuse_screen(table, *options, marked=cell)
    show_chart(
        figure,
        key="heatmap",
        on_select=_remember_click,
        selection_mode="points",
        alt="Heatmaps of the weights between the layers of each dense block",
    )


def _remember_click() -> None:
    points: list[dict[str, Any]] = st.session_state["heatmap"]["selection"]["points"]
    if points:
        st.session_state["cell"] = Connection(*(int(number) for number in points[0]["customdata"][:3]))


def _chosen_cell(key: NetworkKey, table: pd.DataFrame) -> Connection:
    """The cell that was clicked; for a network not seen before, its connection of the largest mean |w|."""
    if st.session_state.get("cell_of") != key:
        strongest = table.iloc[int(table["mean_abs_weight"].argmax())]
        st.session_state["cell"] = Connection(
            int(strongest["block"]), int(strongest["source_layer"]), int(strongest["target_layer"])
        )
        st.session_state["cell_of"] = key
    cell: Connection = st.session_state["cell"]
    return cell


def _show_observations(table: pd.DataFrame) -> None:
    st.markdown("**The paper's four observations, on this network**")
    for observation in figure5_observations(table):
        with st.container(border=True, gap="xsmall"):
            _show_verdict(observation)
            st.markdown(f"{observation.number}. {observation.statement}")
            st.caption(_evidence(observation))


def _evidence(observation: Observation) -> str:
    if observation.value is None:
        return f"{observation.reason} ({observation.statistic})"
    return f"{observation.statistic}: **{observation.value:.3g}** (holds if {observation.criterion})"


def _show_verdict(observation: Observation) -> None:
    if observation.holds is None:
        st.badge("not decidable", icon=":material/help:", color="gray")
    elif observation.holds:
        st.badge("holds", icon=":material/check:", color="green")
    else:
        st.badge("does not hold", icon=":material/close:", color="red")


def _show_connection(key: NetworkKey, table: pd.DataFrame, measure: str, cell: Connection) -> None:
    place = (table["block"] == cell.block) & (table["source_layer"] == cell.source_layer)
    row = table.assign(share=target_share(table))[place & (table["target_layer"] == cell.target_layer)].iloc[0]
    weights = connection_filter(loading.load(key), *cell).float().numpy()
    source = "the block's input" if cell.source_layer == 0 else f"layer {cell.source_layer}"
    target = f"layer {cell.target_layer}" if row["target_kind"] == "dense_layer" else f"the {row['target_kind']}"
    st.markdown(f"##### Block {cell.block}: from {source} to {target}")
    st.caption(
        f"**{row['share']:.1%}** of the target's total |w|  ·  {row['num_channels']} feature maps  ·  "
        f"{weights.size:,} weights, {' × '.join(map(str, weights.shape))} (out × in × kernel)  ·  "
        f"mean |w| **{row['mean_abs_weight']:.4g}**  ·  L1 norm per input map **{row['l1_per_input_map']:.4g}**  ·  "
        "Click a cell of the heatmap for another connection."
    )
    if measure in DATA_MEASURES:
        st.caption(f"{MEASURE_TITLES[measure]}: **{row[measure]:.4g}**")
    panels = {
        "Its weights": weight_histogram(weights),
        f"Row: from source {cell.source_layer}": source_profile(table, measure, cell),
        f"Column: into target {cell.target_layer}": target_profile(table, measure, cell),
    }
    columns = st.columns(3, gap="medium")
    for number, (title, figure) in enumerate(panels.items()):
        columns[number].markdown(f"**{title}**")
        with columns[number]:
            show_chart(figure, f"connection_{number}", title)


def _show_export(table: pd.DataFrame, options: Options) -> None:
    name = f"feature_reuse_{options.measure}"
    with take_home():
        width = st.segmented_control(
            "Width", (1, 2), default=2, format_func=_width_title, key="width", label_visibility="collapsed"
        )
        download_row(
            name,
            table,
            partial(loading.figure_file, feature_reuse_figure, "feature_reuse", table, *options, width or 2),
        )


def _width_title(columns: int) -> str:
    return {1: "one column", 2: "two columns"}[columns]
