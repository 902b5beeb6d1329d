"""The Feature-reuse page: the paper's Figure 5 to explore, for any network."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.claims.figure_5 import figure5_observations, is_order_visible
from analysis.figures.connection import source_profile, target_profile, weight_histogram
from analysis.figures.figure_5 import Connection, feature_reuse_screen
from analysis.figures.style.heatmap import COLOR_MAPS, ColorMap
from analysis.reuse.connections import connection_filter
from analysis.reuse.measures import DEFAULT, IMAGE_MEASURES, MEASURES
from analysis.reuse.scaling import SCALINGS, Scaling, default_scaling, target_share
from app.dashboard import loading
from app.dashboard.caching import cache
from app.dashboard.charts import Kept, draw_once, show_chart
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import names, t
from app.dashboard.memory import recall, remember, write_address
from app.dashboard.pages import link_to
from app.dashboard.widgets.claim_cards import numbers, show_badge, statement, statistic
from app.dashboard.widgets.downloads import download_row, download_small, take_home
from app.dashboard.widgets.handover import reuse_code
from app.dashboard.widgets.long_work import measure_or_offer
from app.dashboard.widgets.network_picker import pick_network, show_network
from app.dashboard.widgets.tables import show_table_on_opening
from app.text import literal, network_facts

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FIRST_COLORS: ColorMap = "viridis"  # perceptually uniform; jet is for figures that look like the paper's


class Measured(NamedTuple):
    """What is in the table beside the weights' own measures: what ``loading.measured_table`` takes with a network."""

    measures: tuple[str, ...] = ()
    images: ImagesKey | None = None


class Options(NamedTuple):
    """How the table is drawn."""

    measure: str
    scaling: Scaling
    color_map: ColorMap


def show() -> None:
    """Draw the page."""
    key = pick_network(table_is_enough=True)
    if key is None:
        st.title(t("reuse.title"))
        st.write(t("reuse.choose"))
        return
    _show_heading(key)
    if not _has_reuse(key):
        return
    measured = _choose_measured(key)
    if measured is None:
        _choose_options()
        return
    _explore(key, measured)
    _show_observations(_observations(key))
    with st.expander(t("common.computed"), icon=":material/function:"):
        st.markdown(t("reuse.definitions"))
    show_table_on_opening(t("common.table"), partial(loading.measured_table, key, *measured), key="reuse_table")


def _has_reuse(key: NetworkKey) -> bool:
    """Return whether the network concatenates; if not, as in a ResNet, the page says so."""
    try:
        loading.measured_table(key, (), None)
    except ValueError as error:
        st.info(literal(str(error)), icon=":material/info:")
        st.markdown(t("reuse.elsewhere"))
        link_to("comparison", t("reuse.compare"))
        return False
    return True


@st.fragment
def _explore(key: NetworkKey, measured: Measured) -> None:
    """The heatmap, its controls and the cell chosen in it: a change among them draws nothing else of the page again."""
    options = _choose_options()
    if measured.measures != _measures_on_images(options.measure):
        st.rerun()  # the sidebar's choice of images comes or goes
    table = loading.measured_table(key, *measured)
    cell = _chosen_cell(key, table)
    _show_heatmap(_heatmap(key, measured, options, cell))
    _show_order(key)
    _show_scale(table, options)
    _show_export(key, measured, table, options)
    _show_connection(key, measured, table, options.measure, cell)


def _choose_measured(key: NetworkKey) -> Measured | None:
    """Return what the chosen measure needs; None if its images do not fit, or until the work is done."""
    measures = _measures_on_images(_chosen_measure())
    if not measures:
        return Measured()
    from app.dashboard.widgets.data_picker import pick_images

    images = pick_images(key, densenet_only=True)
    if images is None or measure_or_offer(key, measures, images) is None:
        return None
    return Measured(measures, images)


def _chosen_measure() -> str:
    """Return the measure of the control further down: the session's, or the address's."""
    asked = recall("measure", st.query_params.get("measure", DEFAULT))
    return str(st.session_state.get("measure", asked))


def _measures_on_images(measure: str) -> tuple[str, ...]:
    return (measure,) if measure in IMAGE_MEASURES else ()


def _show_heading(key: NetworkKey) -> None:
    facts = network_facts(loading.load(key))
    st.subheader(t("reuse.heading", network=literal(facts["network"])), anchor=False)
    show_network(key)


def _choose_options() -> Options:
    measure, scaling, colors = st.columns(3)
    chosen = remember(
        measure.selectbox,
        t("reuse.measure"),
        options=MEASURES,
        key="measure",
        default=DEFAULT,
        format_func=names("measures", MEASURES),
    )
    scaling_chosen = remember(
        scaling.selectbox,
        t("reuse.scaling"),
        options=SCALINGS,
        key="scaling_of_effects" if chosen in IMAGE_MEASURES else "scaling",  # each has its own default
        default=default_scaling(chosen),
        format_func=names("scalings", SCALINGS),
    )
    color_map = remember(
        colors.selectbox,
        t("reuse.colors"),
        options=COLOR_MAPS,
        key="color_map",
        default=FIRST_COLORS,
        format_func=names("color_maps", COLOR_MAPS),
    )
    return Options(chosen, scaling_chosen, color_map)


@draw_once
def _heatmap(key: NetworkKey, measured: Measured, options: Options, cell: Connection) -> go.Figure:
    return feature_reuse_screen(loading.measured_table(key, *measured), *options, marked=cell)


@draw_once
def _weights(key: NetworkKey, cell: Connection) -> go.Figure:
    return weight_histogram(connection_filter(loading.load(key), *cell))


@draw_once
def _row(key: NetworkKey, measured: Measured, measure: str, cell: Connection) -> go.Figure:
    return source_profile(loading.measured_table(key, *measured), measure, cell)


@draw_once
def _column(key: NetworkKey, measured: Measured, measure: str, cell: Connection) -> go.Figure:
    return target_profile(loading.measured_table(key, *measured), measure, cell)


def _show_heatmap(figure: Kept) -> None:
    with st.container(key="wide_heatmap"):
        show_chart(figure, key="heatmap", on_select=_remember_click, selection_mode="points", alt=t("reuse.alt"))


def _remember_click() -> None:
    points: list[dict[str, Any]] = st.session_state["heatmap"]["selection"]["points"]
    if points:
        st.session_state["cell"] = Connection(*(int(number) for number in points[0]["customdata"][:3]))


def _chosen_cell(key: NetworkKey, table: pd.DataFrame) -> Connection:
    """Return the clicked cell, or the one in the address; else the connection with the largest mean |w|."""
    if st.session_state.get("cell_of") != key:
        is_first = "cell_of" not in st.session_state
        asked = _cell(st.query_params.get("cell", ""), table) if is_first else None
        st.session_state["cell"] = asked or _connection(table.iloc[int(table["mean_abs_weight"].argmax())])
        st.session_state["cell_of"] = key
    cell: Connection = st.session_state["cell"]
    write_address("cell", ".".join(map(str, cell)))
    return cell


def _cell(text: str, table: pd.DataFrame) -> Connection | None:
    """Return the cell of an address, ``BLOCK.SOURCE.TARGET``; None where the network has no such connection."""
    numbers = [int(number) for number in text.split(".") if number.isdecimal()]
    if len(numbers) != 3:
        return None
    block, source, target = numbers
    is_there = (table["block"] == block) & (table["source_layer"] == source) & (table["target_layer"] == target)
    return Connection(block, source, target) if is_there.any() else None


def _connection(row: pd.Series) -> Connection:
    return Connection(int(row["block"]), int(row["source_layer"]), int(row["target_layer"]))


def _show_scale(table: pd.DataFrame, options: Options) -> None:
    """Say which cells set the scale of the colors, where that is one a block: often a framed one."""
    if options.scaling != "block_max":
        return
    largest = table.loc[table.groupby("block")[options.measure].idxmax()]
    cells = [
        t("reuse.largest_cell", kind=t(f"target_kinds.{row['target_kind']}"), **_connection(row)._asdict())
        for _, row in largest.iterrows()
    ]
    st.caption(t("reuse.largest", cells="  ·  ".join(cells)))


def _show_order(key: NetworkKey) -> None:
    """Say that the order of concatenation is assumed, where the weights do not show it."""
    if not is_order_visible(loading.load(key)):
        st.caption(t("reuse.order_assumed"))


@cache(64)
def _observations(key: NetworkKey) -> pd.DataFrame:
    """Return the paper's observations on Figure 5, tested on this network's weights."""
    return figure5_observations(loading.measured_table(key, (), None), is_order_visible(loading.load(key)))


def _show_observations(observations: pd.DataFrame) -> None:
    st.markdown(f"##### {t('reuse.observations')}")
    with st.container(border=True, gap="small", key="observations_table"):
        for number, claim in enumerate(observations.itertuples(), start=1):
            words, verdict, values = st.columns([9, 5, 8], vertical_alignment="center", gap="small")
            words.markdown(f"{number}\\. {statement(claim)}")
            with verdict:
                show_badge(str(claim.verdict))
            values.caption(numbers(claim), help=statistic(claim))
    with take_home():
        download_row("observations", observations, None, key="observed_")


def _show_connection(key: NetworkKey, measured: Measured, table: pd.DataFrame, measure: str, cell: Connection) -> None:
    place = (table["block"] == cell.block) & (table["source_layer"] == cell.source_layer)
    row = table.assign(share=target_share(table))[place & (table["target_layer"] == cell.target_layer)].iloc[0]
    weights = connection_filter(loading.load(key), *cell)
    source = t("reuse.source_layer" if cell.source_layer else "reuse.source_input", layer=cell.source_layer)
    target = t(f"reuse.target_{row['target_kind']}", layer=cell.target_layer)
    heading, choice = st.columns([3, 1], vertical_alignment="bottom")
    heading.markdown(f"##### {t('reuse.connection', block=cell.block, source=source, target=target)}")
    with choice:
        _type_cell(table, cell)
    st.caption(
        t(
            "reuse.connection_facts",
            share=row["share"],
            maps=row["num_channels"],
            weights=weights.size,
            shape=" × ".join(map(str, weights.shape)),
            mean=row["mean_abs_weight"],
            l1=row["l1_per_input_map"],
        )
    )
    if measure in IMAGE_MEASURES:
        st.caption(f"{t(f'measures.{measure}')}: **{row[measure]:.4g}**")
    own = f"block_{cell.block}_source_{cell.source_layer}_target_{cell.target_layer}"
    into = (table["block"] == cell.block) & (table["target_layer"] == cell.target_layer)
    panels = {
        "weights": (t("reuse.weights"), _weights(key, cell), pd.DataFrame({"weight": weights.ravel()})),
        "row": (t("reuse.row", source=cell.source_layer), _row(key, measured, measure, cell), table[place]),
        "column": (t("reuse.column", target=cell.target_layer), _column(key, measured, measure, cell), table[into]),
    }
    columns = st.columns(3, gap="medium")
    for column, (name, (title, figure, rows)) in zip(columns, panels.items(), strict=True):
        with column:
            st.markdown(f"**{title}**")
            show_chart(figure, f"connection_{name}", title)
            download_small(f"{name}_{own}", rows, figure, key=f"connection_{name}_")


def _type_cell(table: pd.DataFrame, cell: Connection) -> None:
    """The chosen cell as text, to be read and typed: the heatmap's cells for the keyboard."""
    block, source, target = cell
    st.session_state["cell_text"] = t("reuse.cell_text", block=block, source=source, target=target)
    st.text_input(t("reuse.cell"), key="cell_text", on_change=partial(_read_cell, table), help=t("reuse.cell_help"))
    if wrong := st.session_state.pop("cell_wrong", None):
        st.warning(t("reuse.no_cell", text=literal(wrong)), icon=":material/warning:")


def _read_cell(table: pd.DataFrame) -> None:
    text = str(st.session_state["cell_text"])
    found = _cell(".".join(re.findall(r"\d+", text)), table)
    if found is None:
        st.session_state["cell_wrong"] = text
    else:
        st.session_state["cell"] = found


def _show_export(key: NetworkKey, measured: Measured, table: pd.DataFrame, options: Options) -> None:
    name = f"feature_reuse_{options.measure}"
    with take_home():
        width = st.segmented_control(
            t("reuse.width"),
            (1, 2),
            default=2,
            format_func={1: t("reuse.one_column"), 2: t("reuse.two_columns")}.__getitem__,
            key="width",
            label_visibility="collapsed",
        )
        download_row(
            name,
            table,
            partial(loading.figure_file, _on_paper, "feature_reuse", table, *options, width or 2),
            code=reuse_code(key, measured.images, *options, width or 2),
        )


def _on_paper(table: pd.DataFrame, *options: Any) -> Figure:
    from analysis.figures.figure_5 import feature_reuse_figure

    return feature_reuse_figure(table, *options)
