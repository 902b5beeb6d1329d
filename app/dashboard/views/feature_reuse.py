"""The Feature-reuse page: the paper's Figure 5 to explore, for any network."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.claims.figure_5 import figure5_observations, is_order_visible
from analysis.figures.figure_5 import Connection, feature_reuse_screen
from analysis.figures.style.heatmap import COLOR_MAPS, ColorMap
from analysis.figures.style.words import KIND_TITLES
from analysis.reuse.measures import DEFAULT, IMAGE_MEASURES, MEASURE_TITLES, MEASURES
from analysis.reuse.scaling import SCALING_TITLES, SCALINGS, Scaling, default_scaling, is_diverging
from app.dashboard import loading
from app.dashboard.caching import cache
from app.dashboard.charts import Kept, draw_once, show_blocks
from app.dashboard.keys import NetworkKey
from app.dashboard.language import names, t, titles, translated
from app.dashboard.memory import recall, remember, write_address
from app.dashboard.pages import link_to
from app.dashboard.views.one_connection import Measured, show_connection
from app.dashboard.widgets.cells import cell_text, parse_cell
from app.dashboard.widgets.claim_cards import numbers, show_badge, statement, statistic
from app.dashboard.widgets.downloads import download_row, only_these, take_home
from app.dashboard.widgets.handover import reuse_code, reuse_table_code
from app.dashboard.widgets.long_work import measure_or_offer
from app.dashboard.widgets.network_picker import pick_network, show_network
from app.dashboard.widgets.scripts import TABLE, joined, script
from app.dashboard.widgets.tables import show_table_on_opening
from app.text import literal, network_facts

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FIRST_COLORS: ColorMap = "viridis"  # perceptually uniform; jet is for figures that look like the paper's
HEATMAP = "heatmap"  # the charts' keys, before the block's number
_CLICKED = "clicked_cells"  # of the session's state: the cell that was clicked last in each block


class Options(NamedTuple):
    """Options for drawing the table."""

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
    _show_observations(key, _observations(key))
    with st.expander(t("common.computed"), icon=":material/function:"):
        st.markdown(t("reuse.definitions"))
    table = partial(loading.measured_table, key, *measured)
    code = reuse_table_code(key, measured.images, measured.measures, "", "table", "reuse_table")
    show_table_on_opening(t("common.table"), table, key="reuse_table", code=code)


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
    with only_these("reuse"):
        _draw(key, measured)


def _draw(key: NetworkKey, measured: Measured) -> None:
    options = _choose_options()
    if measured.measures != _measures_on_images(options.measure):
        st.rerun()  # the sidebar's choice of images comes or goes
    table = loading.measured_table(key, *measured)
    cell = _chosen_cell(key, table)
    _show_heatmaps(key, measured, options, cell)
    _show_order(key)
    _show_scale(table, options)
    _show_export(key, measured, table, options)
    show_connection(key, measured, table, options.measure, cell)


def _choose_measured(key: NetworkKey) -> Measured | None:
    """Return what the chosen measure needs; None if its images do not fit, or until the work is done."""
    measures = _measures_on_images(_chosen_measure())
    if not measures:
        return Measured()
    from app.dashboard.widgets.data_picker import pick_images

    images = pick_images(key, densenet_only=True)
    if images is None:
        return None
    measured = Measured(measures, images)
    found = measure_or_offer(key, measures, images, partial(_show_so_far, key, measured))
    return None if found is None else measured


def _show_so_far(key: NetworkKey, measured: Measured, table: pd.DataFrame) -> None:
    """Draw the heatmaps of an ablation that is not done yet."""
    (measure,) = measured.measures
    options = Options(measure, default_scaling(measure), FIRST_COLORS)
    draw = partial(feature_reuse_screen, table, *options)
    show_blocks(lambda block: draw(only=block), sorted(table["block"].unique()), "so_far", t("reuse.alt"))
    with take_home():
        make = partial(loading.figure_file, _on_paper, "so_far", table, *options, 2)
        code = reuse_code(key, measured.images, *options, 2)
        download_row(f"feature_reuse_{measure}_so_far", table, make, "so_far_", code)


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
    measure, scaling, colors = st.columns([3, 4, 2])  # the names of scalings are long
    chosen = remember(
        measure.selectbox,
        t("reuse.measure"),
        options=MEASURES,
        key="measure",
        default=DEFAULT,
        format_func=titles(MEASURE_TITLES),
    )
    scaling_chosen = remember(
        scaling.selectbox,
        t("reuse.scaling"),
        options=SCALINGS,
        key="scaling_of_effects" if chosen in IMAGE_MEASURES else "scaling",  # each has its own default
        default=default_scaling(chosen),
        format_func=titles(SCALING_TITLES),
    )
    color_map = remember(
        colors.selectbox,
        t("reuse.colors"),
        options=COLOR_MAPS,
        key="color_map",
        default=FIRST_COLORS,
        format_func=names("color_maps", COLOR_MAPS),
        disabled=is_diverging(chosen, scaling_chosen),  # below 0 and above it, two colors
    )
    return Options(chosen, scaling_chosen, color_map)


@draw_once
def _heatmap(key: NetworkKey, measured: Measured, options: Options, cell: Connection | None, block: int) -> go.Figure:
    return feature_reuse_screen(loading.measured_table(key, *measured), *options, marked=cell, only=block)


def _show_heatmaps(key: NetworkKey, measured: Measured, options: Options, cell: Connection) -> None:
    """Draw a heatmap for each block; where another cell is chosen, only its block and the one before change."""
    blocks = sorted(int(block) for block in loading.measured_table(key, *measured)["block"].unique())

    def draw(block: int) -> Kept:
        return _heatmap(key, measured, options, cell if cell.block == block else None, block)

    show_blocks(draw, blocks, HEATMAP, t("reuse.alt"), _remember_click)


def _remember_click(block: int) -> None:
    """Choose the clicked cell; a second click on it takes back its selection in the chart, and means it too."""
    points: list[dict[str, Any]] = st.session_state[f"{HEATMAP}{block}"]["selection"]["points"]
    clicked: dict[int, Connection] = st.session_state.setdefault(_CLICKED, {})
    if points:
        clicked[block] = Connection(*(int(number) for number in points[0]["customdata"][:3]))
    if block in clicked:
        st.session_state["cell"] = clicked[block]


def _chosen_cell(key: NetworkKey, table: pd.DataFrame) -> Connection:
    """Return the clicked cell, or the one in the address; else the connection with the largest mean |w|."""
    if st.session_state.get("cell_of") != key:
        is_first = "cell_of" not in st.session_state
        asked = parse_cell(st.query_params.get("cell", ""), table) if is_first else None
        st.session_state["cell"] = asked or _connection(table.iloc[int(table["mean_abs_weight"].argmax())])
        st.session_state["cell_of"] = key
        st.session_state.pop(_CLICKED, None)
    cell: Connection = st.session_state["cell"]
    write_address("cell", cell_text(cell))
    return cell


def _connection(row: pd.Series) -> Connection:
    return Connection(int(row["block"]), int(row["source_layer"]), int(row["target_layer"]))


def _show_scale(table: pd.DataFrame, options: Options) -> None:
    """Say which cells set the scale of the colors, where that is one per block: often a framed one."""
    if options.scaling != "block_max":
        return
    largest = table.loc[table.groupby("block")[options.measure].idxmax()]
    cells = [
        t("reuse.largest_cell", kind=translated(KIND_TITLES[row["target_kind"]]), **_connection(row)._asdict())
        for _, row in largest.iterrows()
    ]
    st.caption(t("reuse.largest", cells="  ·  ".join(cells)))


def _show_order(key: NetworkKey) -> None:
    """Say that the order of concatenation is assumed, where the weights do not show it, and what else to know."""
    if not is_order_visible(loading.load(key)):
        st.caption(t("reuse.order_assumed"))
    for caveat in loading.load(key).caveats:
        st.caption(literal(f"{caveat[:1].upper()}{caveat[1:]}."))


@cache(64)
def _observations(key: NetworkKey) -> pd.DataFrame:
    """Return the paper's observations on Figure 5, tested on this network's weights."""
    return figure5_observations(loading.measured_table(key, (), None), is_order_visible(loading.load(key)))


def _show_observations(key: NetworkKey, observations: pd.DataFrame) -> None:
    st.markdown(f"##### {t('reuse.observations')}")
    with st.container(border=True, gap="small", key="observations_table"):
        for number, claim in enumerate(observations.itertuples(), start=1):
            words, verdict, values = st.columns([9, 5, 8], vertical_alignment="center", gap="small")
            words.markdown(f"{number}\\. {statement(claim)}")
            with verdict:
                show_badge(str(claim.verdict))
            values.caption(numbers(claim), help=statistic(claim))
    with take_home():
        imports = {
            "analysis": "connection_weights, figure5_observations",
            "analysis.claims.figure_5": "is_order_visible",
        }
        found = "figure5_observations(connection_weights(network), is_order_visible(network))"
        code = script(key, joined(TABLE, imports), [f'save_table({found}, "observations.csv")'])
        download_row("observations", observations, None, "observed_", code)


def _show_export(key: NetworkKey, measured: Measured, table: pd.DataFrame, options: Options) -> None:
    name = f"feature_reuse_{options.measure}"
    with take_home():
        width = remember(
            st.segmented_control,
            t("reuse.width"),
            options=(1, 2),
            key="width",
            default=2,
            format_func={1: t("reuse.one_column"), 2: t("reuse.two_columns")}.__getitem__,
            label_visibility="collapsed",
            required=True,
        )
        download_row(
            name,
            table,
            partial(loading.figure_file, _on_paper, "feature_reuse", table, *options, width),
            key="",
            code=reuse_code(key, measured.images, *options, width),
        )


def _on_paper(table: pd.DataFrame, *options: Any) -> Figure:
    from analysis.figures.figure_5 import feature_reuse_figure

    return feature_reuse_figure(table, *options)
