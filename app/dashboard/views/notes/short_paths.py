"""Other networks' short paths beside a DenseNet's: stochastic depth, FractalNet, Highway Networks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from analysis.architecture.paths import path_counts
from analysis.architecture.short_paths import expected_training_cost, path_table, supervision
from analysis.figures.diagrams.short_paths import gates_figure, gates_screen, short_paths_figure, short_paths_screen
from app.dashboard import loading
from app.dashboard.caching import cached
from app.dashboard.charts import show_chart
from app.dashboard.keys import ImagesKey, NetworkKey, file_key
from app.dashboard.language import t
from app.dashboard.roots import in_served_folders, listed_runs, served_folders
from app.dashboard.server.options import DATA_DIR
from app.dashboard.views.notes.connectivity import TEXT_WIDTH
from app.dashboard.widgets.downloads import download_row, take_home
from app.text import literal
from densenet_core import DenseNetSpec, ResNetSpec, RunError
from densenet_core.networks.names import spec_from_name
from densenet_core.networks.relatives.fractalnet_spec import FractalNetSpec
from densenet_core.training.run_folder import read_config

BASE = DenseNetSpec.cifar(40, 12)
SUPERVISED = (BASE, ResNetSpec.cifar(38), spec_from_name("dsn-resnet-38"))
FRACTAL_WIDTH = 8
HIGHWAY = "highway-10-8"  # to train where there is none


def show_short_paths() -> None:
    st.markdown(t("notes.short_paths.text"), width=TEXT_WIDTH)
    _show_stochastic_depth()
    _show_fractal()
    _show_highway()
    _show_supervision()


def _show_supervision() -> None:
    """Layers from the end of each block to the nearest classifier: companions, or a DenseNet's short paths."""
    st.markdown(f"##### {t('notes.short_paths.supervision')}")
    table = pd.concat([supervision(spec) for spec in SUPERVISED], ignore_index=True)
    table["by"] = [t(f"notes.short_paths.{'companion' if by == 'companion' else 'own'}") for by in table["by"]]
    farthest = table[table["network"] == BASE.title]["layers_to_classifier"].max()
    st.markdown(t("notes.short_paths.supervision_text", farthest=farthest), width=TEXT_WIDTH)
    labels = [t(f"notes.short_paths.{column}") for column in ("network", "stage", "layers_to_classifier", "by")]
    st.table(table.set_axis(labels, axis=1).set_index(labels[0]))


def _show_stochastic_depth() -> None:
    st.markdown(f"##### {t('notes.short_paths.stochastic')}")
    st.markdown(t("notes.short_paths.stochastic_text"), width=TEXT_WIDTH)
    a, b = st.columns(2)
    layers = a.slider(t("notes.short_paths.blocks"), 2, 18, BASE.block_config[0], key="notes_paths_blocks")
    dense = replace(BASE, block_config=(layers,) * len(BASE.block_config))
    residual = ResNetSpec.stochastic(2 * sum(dense.block_config) + 2)
    survival = b.slider(t("notes.short_paths.survival"), 0.1, 1.0, residual.survival, step=0.05, key="notes_survival")
    residual = replace(residual, survival=survival)
    table, measure = path_table([dense, residual])
    _show_expected(residual, table[table["network"] == residual.title])
    left, right = st.columns(2, gap="medium")
    for column, title, key in ((left, dense.title, "dense"), (right, residual.title, "residual")):
        with column:
            st.markdown(f"**{literal(title)}**")
            own = table[table["network"] == title].reset_index(drop=True)
            show_chart(short_paths_screen(own), f"notes_paths_{key}", title)
    _take_home("stochastic_depth", table, measure)


def _show_expected(spec: ResNetSpec, table: pd.DataFrame) -> None:
    """What a training step of stochastic depth takes on average."""
    expected = expected_training_cost(spec)
    a, b, c, d = st.columns(4)
    for column, quantity in ((a, "blocks"), (b, "depth")):
        part, whole = f"{expected[f'expected_{quantity}']:.1f}", f"{expected[quantity]:.0f}"
        label = t(f"notes.short_paths.expected_{quantity}")
        column.metric(label, f"{part} / {whole}", border=True)
    c.metric(t("notes.short_paths.saved"), f"{expected['saved']:.0%}", border=True)
    d.metric(t("notes.short_paths.direct"), f"{table['probability'].mean():.0%}", border=True)


def _show_fractal() -> None:
    st.markdown(f"##### {t('notes.short_paths.fractal')}")
    st.markdown(t("notes.short_paths.fractal_text"), width=TEXT_WIDTH)
    left, right = st.columns(2, gap="medium", vertical_alignment="center")
    columns = right.slider(t("notes.short_paths.columns"), 1, 5, 3, key="notes_columns")
    spec = FractalNetSpec.small(1, columns, FRACTAL_WIDTH)
    table, measure = path_table([spec])
    counts = path_counts(spec)
    values = {"rows": spec.rows, "paths": sum(counts["num_paths"]), "columns": columns}
    shortest, longest = counts["length"].min() - 1, counts["length"].max() - 1  # without the classifier
    right.markdown(t("notes.short_paths.fractal_result", **values, shortest=shortest, longest=longest))
    with left:
        show_chart(short_paths_screen(table, measure), "notes_fractal", t("notes.short_paths.fractal"))
    _take_home("fractal_paths", table, measure)


def _show_highway() -> None:
    st.markdown(f"##### {t('notes.short_paths.highway')}")
    st.markdown(t("notes.short_paths.highway_text"), width=TEXT_WIDTH)
    runs = _highway_runs()
    if not runs:
        command = f"densenet-lens train --arch {HIGHWAY} --dataset digits --name {HIGHWAY}"
        st.caption(t("notes.short_paths.no_highway", command=command))
        return
    run = st.selectbox(t("picker.run"), runs, format_func=lambda run: run.name, key="notes_highway")
    try:
        gates, shares = _highway_tables(file_key(run), str(read_config(run)["dataset"]))
    except ValueError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    left, right = st.columns(2, gap="medium")
    with left:
        show_chart(gates_screen(gates), "notes_gates", t("notes.short_paths.highway"))
        with take_home():
            draw = partial(loading.figure_file, gates_figure, "gates", gates, 1)
            download_row("gates", gates, draw, "notes_gates_")
    with right:
        show_chart(short_paths_screen(shares, "share_carried"), "notes_shares", t("notes.short_paths.highway"))
        _take_home("carried_shares", shares, "share_carried")


@cached(8, spinner="measuring")
def _highway_tables(key: NetworkKey, dataset: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What a run's gates let pass, on test images of its data set: ``transform_gates`` and ``carried_shares``."""
    from analysis.architecture.gates import carried_shares, transform_gates

    images = loading.load_images(ImagesKey(dataset, str(DATA_DIR), None, 0))
    return transform_gates(loading.load(key), images), carried_shares(loading.load(key), images)


@in_served_folders()
def _highway_runs() -> list[Path]:
    found = []
    for run in listed_runs(served_folders()):
        try:
            if str(read_config(run).get("arch")).startswith("highway") and "dataset" in read_config(run):
                found.append(run)
        except RunError:
            continue  # a file of the zoo, or a run that the Training page tells of
    return found


def _take_home(name: str, table: pd.DataFrame, measure: str) -> None:
    with take_home():
        draw = partial(loading.figure_file, short_paths_figure, name, table, measure)
        download_row(name, table, draw, f"notes_{name}_")
