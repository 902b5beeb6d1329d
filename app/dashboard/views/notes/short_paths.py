"""Other networks' short paths beside a DenseNet's: stochastic depth, FractalNet, Highway Networks."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.architecture.paths import path_counts
from analysis.architecture.short_paths import expected_training_cost, path_table, supervision
from analysis.figures.diagrams.short_paths import (
    gates_figure,
    gates_screen,
    short_paths_figure,
    short_paths_screen,
    title_paths,
)
from analysis.figures.style.words import stage_title
from app.dashboard import loading
from app.dashboard.caching import cache
from app.dashboard.charts import show_chart
from app.dashboard.keys import ImagesKey, NetworkKey, file_key
from app.dashboard.language import t, translated
from app.dashboard.memory import remember
from app.dashboard.refusals import show_error
from app.dashboard.roots import distinct_names, in_served_folders, list_served_runs, served_folders
from app.dashboard.server.options import DATA_DIR
from app.dashboard.views.notes.connectivity import TEXT_WIDTH
from app.dashboard.widgets.downloads import download_row, take_home
from app.dashboard.widgets.handover import Code
from app.dashboard.widgets.scripts import TABLE, joined, plain_script, script, spec_expression, spec_imports
from app.text import literal
from densenet_core import DenseNetSpec, ResNetSpec, RunError
from densenet_core.networks.names import spec_from_name
from densenet_core.networks.relatives.fractalnet_spec import FractalNetSpec
from densenet_core.networks.relatives.highway_spec import HighwaySpec
from densenet_core.networks.spec import Spec
from densenet_core.training.runs.files import read_config

BASE = DenseNetSpec.cifar(40, 12)
SUPERVISED = (BASE, ResNetSpec.cifar(38), spec_from_name("dsn-resnet-38"))
FRACTAL_WIDTH = 8
MODULE, FIGURES = "analysis.architecture.short_paths", "analysis.figures.diagrams.short_paths"  # in offered code
HIGHWAY = "highway-10-8"  # to train where there is none
UNTRAINED = Path(HIGHWAY)  # among the runs: a network that was only initialized


def show_supervision() -> None:
    """Layers from the end of each block to the nearest classifier: companions, or a DenseNet's short paths."""
    table = pd.concat([supervision(spec) for spec in SUPERVISED], ignore_index=True)
    words = [t(f"notes.short_paths.{'companion' if by == 'companion' else 'own'}") for by in table["by"]]
    stages = [translated(stage_title(stage)) for stage in table["stage"]]
    farthest = table[table["network"] == BASE.title]["layers_to_classifier"].max()
    st.markdown(t("notes.short_paths.supervision_text", farthest=farthest), width=TEXT_WIDTH)
    labels = [t(f"notes.short_paths.{column}") for column in ("network", "stage", "layers_to_classifier", "by")]
    st.table(
        table.assign(by=words, stage=stages).astype(str).set_axis(labels, axis=1).set_index(labels[0])
    )  # all at the left
    with take_home():
        imports = joined(TABLE, {MODULE: "supervision", "pandas": "concat"}, spec_imports(*SUPERVISED))
        lines = [
            f"specs = [{', '.join(map(spec_expression, SUPERVISED))}]",
            'save_table(concat([supervision(spec) for spec in specs], ignore_index=True), "supervision.csv")',
        ]
        download_row("supervision", table, None, "notes_supervision_", plain_script(imports, lines))


def show_stochastic_depth() -> None:
    st.markdown(t("notes.short_paths.text"), width=TEXT_WIDTH)
    st.markdown(t("notes.short_paths.stochastic_text"), width=TEXT_WIDTH)
    dense, residual = _choose_sizes()
    table, measure = path_table([dense, residual])
    _show_expected(residual, table[table["network"] == residual.title])
    left, right = st.columns(2, gap="medium")
    for column, title, key in ((left, dense.title, "dense"), (right, residual.title, "residual")):
        with column:
            st.markdown(f"**{literal(title)}**")
            own = table[table["network"] == title].reset_index(drop=True)
            show_chart(_screen(own, "probability"), f"notes_paths_{key}", title)
    _take_home("stochastic_depth", table, measure, _paths_code("stochastic_depth", dense, residual))


def _choose_sizes() -> tuple[DenseNetSpec, ResNetSpec]:
    """Return a DenseNet, and a ResNet with stochastic depth that has as many residual blocks as it has layers."""
    a, b = st.columns(2)
    layers = remember(
        a.slider, t("notes.short_paths.blocks"), limits=(2, 18), key="notes_paths_blocks", default=BASE.block_config[0]
    )
    dense = replace(BASE, block_config=(layers,) * len(BASE.block_config))
    residual = ResNetSpec.stochastic(2 * sum(dense.block_config) + 2)
    survival = remember(
        b.slider,
        t("notes.short_paths.survival"),
        limits=(0.1, 1.0),
        step=0.05,
        key="notes_survival",
        default=residual.survival,
    )
    return dense, replace(residual, survival=survival)


def _show_expected(spec: ResNetSpec, table: pd.DataFrame) -> None:
    """Show what a training step of stochastic depth takes on average."""
    expected = expected_training_cost(spec)
    a, b, c, d = st.columns(4)
    for column, quantity in ((a, "blocks"), (b, "depth")):
        part, whole = f"{expected[f'expected_{quantity}']:.1f}", f"{expected[quantity]:.0f}"
        label = t(f"notes.short_paths.expected_{quantity}")
        column.metric(label, f"{part} / {whole}", border=True)
    c.metric(t("notes.short_paths.saved"), f"{expected['saved']:.0%}", border=True)
    d.metric(t("notes.short_paths.direct"), f"{table['probability'].mean():.0%}", border=True)


def show_fractal() -> None:
    st.markdown(t("notes.short_paths.fractal_text"), width=TEXT_WIDTH)
    left, right = st.columns(2, gap="medium", vertical_alignment="center")
    columns = remember(right.slider, t("notes.short_paths.columns"), limits=(1, 5), key="notes_columns", default=3)
    spec = FractalNetSpec.small(1, columns, FRACTAL_WIDTH)
    table, measure = path_table([spec])
    counts = path_counts(spec)
    values = {"rows": spec.rows, "paths": sum(counts["num_paths"]), "columns": columns}
    shortest, longest = counts["length"].min() - 1, counts["length"].max() - 1  # without the classifier
    right.markdown(t("notes.short_paths.fractal_result", **values, shortest=shortest, longest=longest))
    with left:
        show_chart(_screen(table, measure), "notes_fractal", t("notes.fractal.title"))
    _take_home("fractal_paths", table, measure, _paths_code("fractal_paths", spec))


def show_highway() -> None:
    st.markdown(t("notes.short_paths.highway_text"), width=TEXT_WIDTH)
    st.latex(r"y = T(x) \cdot H(x) + (1 - T(x)) \cdot x, \qquad 0 \le T(x) \le 1")
    runs = [UNTRAINED, *_highway_runs()]
    first = min(1, len(runs) - 1)
    titles = distinct_names(runs) | {UNTRAINED: t("notes.short_paths.untrained", network=HIGHWAY)}
    run = remember(
        st.selectbox,
        t("picker.run"),
        options=runs,
        key="notes_highway",
        default=runs[first],
        format_func=titles.__getitem__,
    )
    try:
        spec, gates, shares = _measured(run)
    except ValueError as error:
        show_error(error)
        return
    _show_gates(spec, gates, is_trained=run != UNTRAINED)
    _show_gates_and_shares(run, gates, shares)
    if len(runs) == 1:
        command = f"densenet-lens train --arch {HIGHWAY} --dataset digits --name {HIGHWAY}"
        st.caption(t("notes.short_paths.no_highway", command=command))


def _measured(run: Path) -> tuple[HighwaySpec, pd.DataFrame, pd.DataFrame]:
    """Return a run's network, the openings of its gates and the shares that they carry."""
    if run == UNTRAINED:
        spec = spec_from_name(HIGHWAY, in_channels=1)
        gates, shares = _untrained_tables()
    else:
        with in_served_folders():
            config = read_config(run)
        spec = loading.load(file_key(run)).architecture
        gates, shares = _highway_tables(file_key(run), str(config["dataset"]))
    assert isinstance(spec, HighwaySpec)
    return spec, gates, shares


def _show_gates_and_shares(run: Path, gates: pd.DataFrame, shares: pd.DataFrame) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        figure = gates_screen(gates)
        figure.update_xaxes(title=t("notes.short_paths.gates_x"))
        figure.update_yaxes(title=t("notes.short_paths.gates_y"))
        show_chart(figure, "notes_gates", t("notes.short_paths.gates_alt"))
        with take_home():
            draw = partial(loading.figure_file, gates_figure, "gates", gates, 1)
            line = 'save_figure(gates_figure(table), "gates.pdf", table)'
            download_row("gates", gates, draw, "notes_gates_", _highway_code(run, "transform_gates", line))
    with right:
        show_chart(_screen(shares, "share_carried"), "notes_shares", t("notes.short_paths.shares_alt"))
        line = 'save_figure(short_paths_figure(table, "share_carried"), "carried_shares.pdf", table)'
        _take_home("carried_shares", shares, "share_carried", _highway_code(run, "carried_shares", line))


def _show_gates(spec: HighwaySpec, gates: pd.DataFrame, is_trained: bool) -> None:
    """Show the network's numbers, and how far its gates are open beside where they began."""
    a, b, c = st.columns(3)
    a.metric(t("notes.short_paths.layers"), f"{sum(spec.stage_config)}", border=True)
    b.metric(t("notes.short_paths.gate_start"), f"{1 / (1 + math.exp(-spec.gate_bias)):.0%}", border=True)
    label = t("notes.short_paths.gate_now" if is_trained else "notes.short_paths.gate_untrained")
    c.metric(label, f"{gates['mean_gate'].mean():.0%}", border=True)


@cache(1, spinner="measuring")
def _untrained_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the same of a network that was only initialized, on the digits."""
    from analysis.architecture.gates import carried_shares, transform_gates
    from analysis.reuse.untrained import build_untrained

    images = loading.load_images(ImagesKey("digits", str(DATA_DIR), None, 0))
    network = build_untrained(spec_from_name(HIGHWAY, in_channels=1), images)
    return transform_gates(network, images), carried_shares(network, images)


@cache(8, spinner="measuring")
def _highway_tables(key: NetworkKey, dataset: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of ``transform_gates`` and ``carried_shares`` of a run, on test images of its data set."""
    from analysis.architecture.gates import carried_shares, transform_gates

    images = loading.load_images(ImagesKey(dataset, str(DATA_DIR), None, 0))
    return transform_gates(loading.load(key), images), carried_shares(loading.load(key), images)


def _screen(table: pd.DataFrame, measure: str) -> go.Figure:
    """Return the heatmaps with axes and colors explained for first-time readers."""
    figure = short_paths_screen(table, measure)
    title_paths(figure, t("notes.short_paths.reader"), t("notes.short_paths.read"))
    return figure.update_layout(coloraxis={"colorbar": {"title": {"text": t(f"notes.short_paths.colors.{measure}")}}})


@in_served_folders()
def _highway_runs() -> list[Path]:
    found = []
    for run in list_served_runs(served_folders()):
        try:
            if str(read_config(run).get("arch")).startswith("highway") and "dataset" in read_config(run):
                found.append(run)
        except RunError:
            continue  # a file of the zoo, or a run that the Training page reports
    return found


def _paths_code(name: str, *specs: Spec) -> Code:
    """Return code that draws the short paths of networks."""
    imports = {"analysis": "save_figure", MODULE: "path_table", FIGURES: "short_paths_figure"}
    lines = [
        f"table, measure = path_table([{', '.join(map(spec_expression, specs))}])",
        f'save_figure(short_paths_figure(table, measure), "{name}.pdf", table)',
    ]
    return plain_script(joined(imports, spec_imports(*specs)), lines)


def _highway_code(run: Path, measure: str, line: str) -> Code:
    """Return code that measures a Highway Network, trained or only initialized, as ``table`` for the line."""
    figure = "gates_figure" if measure == "transform_gates" else "short_paths_figure"
    imports = {"analysis": "save_figure", "analysis.architecture.gates": measure, FIGURES: figure}
    imports |= {"densenet_core.data.datasets": "load_test_images"}
    if run != UNTRAINED:
        with in_served_folders():
            dataset = str(read_config(run)["dataset"])
        images = f"images = load_test_images({dataset!r}, {str(DATA_DIR)!r})"
        return script(file_key(run), imports, [images, f"table = {measure}(network, images)", line])
    imports |= {"analysis.reuse.untrained": "build_untrained", "densenet_core.networks.names": "spec_from_name"}
    lines = [
        'images = load_test_images("digits")',
        f"network = build_untrained(spec_from_name({HIGHWAY!r}, in_channels=1), images)",
        f"table = {measure}(network, images)",
        line,
    ]
    return plain_script(imports, lines)


def _take_home(name: str, table: pd.DataFrame, measure: str, code: Code) -> None:
    with take_home():
        draw = partial(loading.figure_file, short_paths_figure, name, table, measure)
        download_row(name, table, draw, f"notes_{name}_", code)
