"""The feature reuse of two networks, or of a run at two epochs, and what several seeds of one architecture share."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.figures.difference import (
    difference_figure,
    difference_screen,
    two_networks_figure,
    two_networks_screen,
)
from analysis.figures.figure_5 import feature_reuse_figure, feature_reuse_screen
from analysis.figures.seeds import seeds_figure, seeds_screen
from analysis.reuse.comparison.difference import have_same_cells, reuse_difference
from analysis.reuse.comparison.seeds import differing_settings, seed_statistics
from analysis.reuse.emergence import reuse_over_training
from app.dashboard import loading
from app.dashboard.caching import cache
from app.dashboard.charts import show_blocks
from app.dashboard.keys import NetworkKey, file_key
from app.dashboard.language import t
from app.dashboard.memory import remember, remember_several
from app.dashboard.roots import distinct_names, in_served_folders, trained_networks
from app.dashboard.widgets.comparing import Side, difference_code, seeds_code, tables_code, two_networks_code
from app.dashboard.widgets.downloads import download_row, take_home
from app.dashboard.widgets.scripts import TABLE, joined
from app.dashboard.widgets.tables import show_table_on_opening
from app.text import decimal, literal
from densenet_core.training.runs.files import REUSE

SAVED = 0  # in the choice of an epoch: the weights as they are saved


def show_reuse(keys: tuple[NetworkKey, NetworkKey], names: tuple[str, ...]) -> None:
    """Draw both networks and their difference; say what is missing where one has no weights or no dense blocks."""
    st.markdown(f"##### {t('comparison.reuse')}")
    if any(_table(key) is None for key in keys):
        st.caption(t("comparison.no_reuse"))
        return
    sides = zip(st.columns(2), keys, names, "ab", strict=True)
    (first, first_epoch), (second, second_epoch) = (_at_epoch(*side) for side in sides)
    compared = (Side(keys[0], first_epoch), Side(keys[1], second_epoch))
    if not have_same_cells(first, second):
        _show_beside((first, second), names, compared)
        return
    _show_two(reuse_difference(first, second), (names[0], names[1]), compared)
    _show_seeds(keys)


def _table(key: NetworkKey) -> pd.DataFrame | None:
    """Return the feature-reuse table; None for an architecture without weights, or a network without dense blocks."""
    if key.origin == "arch":
        return None
    try:
        return loading.measured_table(key, (), None)
    except ValueError:
        return None


def _blocks(table: pd.DataFrame) -> list[int]:
    return sorted(int(block) for block in table["block"].unique())


def _at_epoch(column: DeltaGenerator, key: NetworkKey, name: str, side: str) -> tuple[pd.DataFrame, int | None]:
    """Return a network's table with None, or the table of the chosen epoch of its run with the epoch."""
    column.markdown(f"**{literal(name)}**")
    tables = _recorded_tables(key)
    epoch = SAVED
    if tables is not None:
        words = {SAVED: t("comparison.saved")}
        epochs = [SAVED, *(int(number) for number in tables["epoch"].unique())]
        epoch = remember(
            column.selectbox,
            t("comparison.epoch"),
            options=epochs,
            format_func=lambda number: words.get(number, str(number)),
            key=f"epoch{side}",
            default=SAVED,
        )
    if tables is None or epoch == SAVED:
        return loading.measured_table(key, (), None), None
    return tables[tables["epoch"] == epoch].drop(columns="epoch").reset_index(drop=True), epoch


@cache(8)
def _recorded_tables(key: NetworkKey) -> pd.DataFrame | None:
    """Return the tables of all epochs of a run; None for another network, or a run without."""
    folder = Path(key.name)
    if key.origin != "file" or not (folder / REUSE).is_file():
        return None
    try:
        with in_served_folders():
            return reuse_over_training(folder)
    except ValueError:
        return None


def _show_beside(
    tables: tuple[pd.DataFrame, pd.DataFrame], names: tuple[str, ...], compared: tuple[Side, Side]
) -> None:
    """Networks of different blocks: their cells can't be subtracted."""
    st.caption(t("comparison.different_blocks"))
    columns = st.columns(2, gap="medium")
    for column, table, name, side, own in zip(columns, tables, names, "ab", compared, strict=True):
        with column:
            alt = f"{t('reuse.alt')}: {name}"
            show_blocks(partial(_one_block, table), _blocks(table), f"reuse_{side}", alt)
            draw = partial(loading.figure_file, partial(feature_reuse_figure, color_map="viridis"), "reuse", table)
            with take_home():
                imports = {"analysis": "feature_reuse_figure, save_figure"}
                figure_line = "figure = feature_reuse_figure(tables[0], color_map='viridis')"
                lines = [figure_line, f'save_figure(figure, "feature_reuse_{side}.pdf", tables[0])']
                code = tables_code([own], imports, lines)
                download_row(f"feature_reuse_{side}", table, draw, f"{side}_", code)


def _one_block(table: pd.DataFrame, block: int) -> go.Figure:
    return feature_reuse_screen(table, color_map="viridis", only=block)


def _show_two(found: pd.DataFrame, names: tuple[str, str], compared: tuple[Side, Side]) -> None:
    st.caption(t("comparison.correlation", correlation=found.attrs["rank_correlation"]))
    blocks = _blocks(found)
    show_blocks(lambda block: two_networks_screen(found, names, only=block), blocks, "reuse_both", t("reuse.alt"))
    with take_home():
        draw = partial(loading.figure_file, two_networks_figure, "two_networks", found, names)
        download_row("reuse_of_both", found, draw, "both_", two_networks_code(compared, names))
    st.markdown(f"**{t('comparison.difference')}**")
    alt = t("comparison.difference")
    show_blocks(lambda block: difference_screen(found, block), blocks, "reuse_difference", alt)
    with take_home():
        draw = partial(loading.figure_file, difference_figure, "difference", found, 2)
        download_row("reuse_difference", found, draw, "difference_", difference_code(compared))
    imports = joined(TABLE, {"analysis.reuse.comparison.difference": "reuse_difference"})
    code = tables_code(compared, imports, ['save_table(reuse_difference(*tables), "difference_table.csv")'])
    show_table_on_opening(t("common.table"), lambda: found, key="difference_table", code=code)


@st.fragment
def _show_seeds(keys: tuple[NetworkKey, NetworkKey]) -> None:
    """Mean and spread of every cell, where the networks are seeds of one architecture."""
    if not remember(st.toggle, t("comparison.seeds"), key="seeds", default=False, help=t("comparison.seeds_help")):
        return
    everyone = [*keys, *_choose_seeds()]
    try:
        found = seed_statistics([loading.measured_table(key, (), None) for key in everyone])
    except ValueError as error:
        st.warning(literal(str(error)), icon=":material/warning:")
        return
    if others := differing_settings(loading.load(key).record for key in everyone):
        st.warning(t("comparison.more_than_seed", settings=literal(", ".join(others))), icon=":material/warning:")
    _show_statistics(found, everyone)


def _choose_seeds() -> list[NetworkKey]:
    """Return more networks, to be compared with the page's two."""
    networks = trained_networks()
    labels = distinct_names(networks)
    chosen = remember_several(
        st.multiselect,
        t("comparison.more_seeds"),
        options=networks,
        key="more_seeds",
        placeholder=t("common.choose_several"),
        format_func=labels.__getitem__,
    )
    return [file_key(path) for path in chosen]


def _show_statistics(found: pd.DataFrame, keys: list[NetworkKey]) -> None:
    facts = found.attrs | {"within_targets": decimal(found.attrs["within_targets"])}
    st.markdown(t("comparison.seeds_found", **{str(name): value for name, value in facts.items()}))
    show_blocks(lambda block: seeds_screen(found, only=block), _blocks(found), "reuse_seeds", t("comparison.seeds"))
    with take_home():
        draw = partial(loading.figure_file, seeds_figure, "seeds", found)
        download_row("reuse_seeds", found, draw, key="seeds_", code=seeds_code(keys))
    imports = joined(TABLE, {"analysis.reuse.comparison.seeds": "seed_statistics"})
    lines = ['save_table(seed_statistics(tables), "seeds_table.csv")']
    code = tables_code([Side(key) for key in keys], imports, lines)
    show_table_on_opening(t("common.table"), lambda: found, key="seeds_table", code=code)
