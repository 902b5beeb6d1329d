"""One connection of the Feature-reuse page: its weights, and the row and the column of the heatmap that it is in."""

from __future__ import annotations

import re
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.figures.connection import source_profile, target_profile, weight_histogram
from analysis.figures.figure_5 import Connection
from analysis.reuse.connections import connection_filter
from analysis.reuse.measures import IMAGE_MEASURES, PLACE, measure_title
from analysis.reuse.scaling import target_share
from app.dashboard import loading
from app.dashboard.charts import draw_once, show_chart
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import t, translated
from app.dashboard.widgets.cells import parse_cell
from app.dashboard.widgets.downloads import download_small
from app.dashboard.widgets.handover import Code
from app.dashboard.widgets.scripts import SCREEN, joined, script
from app.text import literal


class Measured(NamedTuple):
    """Arguments of ``loading.measured_table`` besides the network: measures and images."""

    measures: tuple[str, ...] = ()
    images: ImagesKey | None = None


@draw_once
def _weights(key: NetworkKey, cell: Connection) -> go.Figure:
    return weight_histogram(connection_filter(loading.load(key), *cell))


@draw_once
def _row(key: NetworkKey, measured: Measured, measure: str, cell: Connection) -> go.Figure:
    return source_profile(loading.measured_table(key, *measured), measure, cell)


@draw_once
def _column(key: NetworkKey, measured: Measured, measure: str, cell: Connection) -> go.Figure:
    return target_profile(loading.measured_table(key, *measured), measure, cell)


def show_connection(key: NetworkKey, measured: Measured, table: pd.DataFrame, measure: str, cell: Connection) -> None:
    """Draw what is known of a connection.

    Args:
        table: the feature-reuse table with the measure.
    """
    block = table[table["block"] == cell.block]
    row = block[block["source_layer"] == cell.source_layer]
    column = block[block["target_layer"] == cell.target_layer]
    weights = connection_filter(loading.load(key), *cell)
    _show_facts(table, cell, weights, measure)
    panels = {
        "weights": (t("reuse.weights"), _weights(key, cell), pd.DataFrame({"weight": weights.ravel()})),
        "row": (t("reuse.row", source=cell.source_layer), _row(key, measured, measure, cell), row),
        "column": (t("reuse.column", target=cell.target_layer), _column(key, measured, measure, cell), column),
    }
    own = f"block_{cell.block}_source_{cell.source_layer}_target_{cell.target_layer}"
    places = st.columns(3, gap="medium", vertical_alignment="bottom")  # titles may have two lines
    for place, (name, (title, figure, rows)) in zip(places, panels.items(), strict=True):
        with place:
            st.markdown(f"**{title}**")
            show_chart(figure, f"connection_{name}", title)
            code = _panel_code(key, measured, measure, cell, name, f"{name}_{own}")
            download_small(f"{name}_{own}", rows, figure, f"connection_{name}_", code)


def _show_facts(table: pd.DataFrame, cell: Connection, weights: np.ndarray, measure: str) -> None:
    """Name a connection and its numbers, beside a field to type another one."""
    is_cell = (table[PLACE] == tuple(cell)).all(axis=1)
    row = table.assign(share=target_share(table))[is_cell].iloc[0]
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
        st.caption(f"{translated(measure_title(measure))}: **{row[measure]:.4g}**")


def _panel_code(key: NetworkKey, measured: Measured, measure: str, cell: Connection, panel: str, name: str) -> Code:
    """Return code that draws a panel and saves it as ``name``."""
    if panel == "weights":
        imports = {"analysis": "connection_filter", "analysis.figures.connection": "weight_histogram"}
        lines = [
            f"weights = connection_filter(network, {', '.join(map(str, cell))})",
            'table = DataFrame({"weight": weights.ravel()})',
            f'save_figure(paper_figure(weight_histogram(weights)), "{name}.pdf", table)',
        ]
        return script(key, joined(SCREEN, imports, {"pandas": "DataFrame"}), lines)
    profile = {"row": "source_profile", "column": "target_profile"}[panel]
    layer = {"row": "source_layer", "column": "target_layer"}[panel]
    imports = {"analysis.figures.connection": profile, "analysis.figures.figure_5": "Connection"}
    table = {"analysis": "connection_weights"}
    lines = ["table = connection_weights(network)"]
    if measured.images is not None:
        dataset, root, normalize, number = measured.images
        table = {"analysis": "measure_reuse", "densenet_core.data.datasets": "load_test_images"}
        lines = [
            f"images = load_test_images({dataset!r}, {root!r}, {normalize!r})",
            f"table = measure_reuse(network, {measured.measures}, images, {number})",
        ]
    lines += [
        f"screen = {profile}(table, {measure!r}, Connection{tuple(cell)})",
        f'rows = table[(table["block"] == {cell.block}) & (table["{layer}"] == {getattr(cell, layer)})]',
        f'save_figure(paper_figure(screen), "{name}.pdf", rows)',
    ]
    return script(key, joined(SCREEN, table, imports), lines)


def _type_cell(table: pd.DataFrame, cell: Connection) -> None:
    """Draw the chosen cell as text, to be read and typed: the heatmap's cells for the keyboard."""
    block, source, target = cell
    st.session_state["cell_text"] = t("reuse.cell_text", block=block, source=source, target=target)
    st.text_input(t("reuse.cell"), key="cell_text", on_change=partial(_read_cell, table), help=t("reuse.cell_help"))
    if wrong := st.session_state.pop("cell_wrong", None):
        st.warning(t("reuse.no_cell", text=literal(wrong)), icon=":material/warning:")


def _read_cell(table: pd.DataFrame) -> None:
    text = str(st.session_state["cell_text"])
    found = parse_cell(".".join(re.findall(r"\d+", text)), table)
    if found is None:
        st.session_state["cell_wrong"] = text
    else:
        st.session_state["cell"] = found
