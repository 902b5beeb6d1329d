"""The Training page: runs with their curves, how their feature reuse emerges, and new runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from analysis.claims.figure_5 import observations_over_training
from analysis.figures.animation import has_ffmpeg
from analysis.figures.emergence import emergence_screen, observations_screen
from analysis.figures.training_curves import training_curves_figure, training_curves_screen
from analysis.results.training_curves import training_curves
from analysis.reuse.emergence import STEADY, likeness_to_end, onset, reuse_over_training
from app.dashboard import loading
from app.dashboard.caching import cached
from app.dashboard.charts import show_chart
from app.dashboard.language import t
from app.dashboard.processes import last_words, resume_training, start_training, stop_training
from app.dashboard.roots import check_run_folder, runs_dir, training_folders
from app.dashboard.server.options import server_options
from app.dashboard.widgets.downloads import download_row, download_small, take_home
from app.dashboard.widgets.settings import setting_widget
from app.text import literal
from densenet_core import RunError
from densenet_core.data.names import DATASET_NAMES
from densenet_core.networks.names import MODEL_NAMES, spec_from_name
from densenet_core.training.config import PLACE_FIELDS, RECIPE_SETTINGS, RECIPES, recipe_config, training_settings
from densenet_core.training.progress import duration
from densenet_core.training.run_folder import CONFIG, METRICS, REUSE
from densenet_core.training.run_status import RunSummary, read_summary

BADGES = {"running": "blue", "finished": "green", "stopped": "gray", "diverged": "red"}
REFRESH = 2.0  # seconds
ANIMATIONS = {"gif": "GIF", "mp4": "MP4", "zip": "PDFs"}
FIRST_SETTINGS = ("epochs", "seed", "augment")
# What the form asks in its own words, and the folders, which are the server's.
_OTHERS = {"arch", "dataset", "recipe", "name", *FIRST_SETTINGS, *PLACE_FIELDS}
MORE_SETTINGS = tuple(each.name for each in training_settings() if each.name not in _OTHERS)


def show() -> None:
    """Draws the page."""
    st.subheader(t("pages.training"), anchor=False)
    if not server_options().read_only:
        with st.sidebar:
            _start_form()
    runs = _runs()
    if not runs:
        st.info(t("training.no_runs_served" if server_options().read_only else "training.no_runs"))
        return
    st.dataframe([_row(run) for run in runs], hide_index=True)
    names = [run.name for run in runs]
    running = next((run.name for run in runs if run.state == "running"), names[0])
    name = st.selectbox(t("picker.run"), names, index=names.index(running), key="training_run")
    _show_run(name)
    _show_emergence(runs_dir() / name)


def _runs() -> list[RunSummary]:
    """Where the runs stand; what can't be read stands on the page."""
    runs = []
    for folder in training_folders():
        try:
            runs.append(read_summary(folder))
        except RunError as error:
            st.warning(literal(str(error)), icon=":material/warning:")
    return runs


def _row(run: RunSummary) -> dict[str, Any]:
    left = run.seconds_left
    return {
        t("training.columns.run"): run.name,
        t("columns.network"): run.arch,
        t("training.columns.data"): run.dataset,
        t("training.columns.seed"): run.seed,
        t("training.columns.state"): t(f"training.states.{run.state}"),
        t("training.columns.epoch"): t("training.done", done=run.epoch, planned=run.epochs_planned),
        t("training.columns.error"): run.test_error,
        t("training.columns.left"): "" if left is None or run.state == "finished" else duration(left),
    }


def _start_form() -> None:
    with st.form("start", border=False):
        st.subheader(t("training.new"))
        arch = st.selectbox(t("picker.network"), MODEL_NAMES, accept_new_options=True, key="new_arch")
        dataset = st.selectbox(t("training.settings.dataset"), DATASET_NAMES, key="new_dataset")
        recipe = st.selectbox(t("training.recipe"), list(RECIPES), key="new_recipe", help=t("training.recipe_help"))
        try:
            given = _settings(FIRST_SETTINGS)
            name = st.text_input(t("training.name"), placeholder=f"{arch}-{dataset}", key="new_name")
            with st.expander(t("training.more")):
                given |= _settings(MORE_SETTINGS)
        except RunError as error:
            st.error(literal(str(error)), icon=":material/error:")
            given = None
        is_sent = st.form_submit_button(t("training.start"), type="primary", icon=":material/play_arrow:")
    if is_sent and given is not None:
        _start(recipe, str(arch), dataset, name or f"{arch}-{dataset}", given)


def _settings(names: Sequence[str]) -> dict[str, Any]:
    by_name = {each.name: each for each in training_settings()}
    return {name: setting_widget(by_name[name], name in RECIPE_SETTINGS) for name in names}


def _start(recipe: str, arch: str, dataset: str, name: str, given: dict[str, Any]) -> None:
    try:
        config = recipe_config(recipe, arch, dataset, name, runs_dir=str(runs_dir()), **given)
        spec_from_name(config.arch)
        check_run_folder(config.folder)
        start_training(config)
        st.success(t("training.started", name=literal(config.name)))
    except ValueError as error:
        st.error(literal(str(error)), icon=":material/error:")


@st.fragment(run_every=REFRESH)
def _show_run(name: str) -> None:
    """Progress and curves of one run, drawn anew while it trains."""
    folder = runs_dir() / name
    if not (folder / CONFIG).exists():
        return  # deleted meanwhile
    run = read_summary(folder)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(t(f"training.states.{run.state}"), color=BADGES[run.state])  # type: ignore[arg-type]
        words = t("training.progress", done=run.epoch, planned=run.epochs_planned)
        st.progress(run.epoch / max(run.epochs_planned, 1), words)
        if not server_options().read_only:
            _show_buttons(run, folder)
    if not (folder / METRICS).exists():
        said = last_words(folder)
        st.caption(t("training.first_epoch"))
        if said and run.state != "running":
            st.code(said, language=None)
        return
    curves = training_curves({name: folder})
    for reason in curves.attrs["skipped"]:
        st.warning(literal(reason), icon=":material/warning:")
    figure = training_curves_screen(curves)
    show_chart(figure, key="run_curves", alt=t("common.curves_alt"))
    with take_home():
        draw = partial(loading.figure_file, training_curves_figure, "curves", curves)
        download_row(f"{name}_curves", curves, draw, key="curves_")


def _show_buttons(run: RunSummary, folder: Path) -> None:
    try:
        if run.state == "running" and st.button(t("training.stop"), icon=":material/stop:", key="stop"):
            stop_training(folder)
        if run.state in ("stopped", "diverged") and st.button(
            t("training.resume"), icon=":material/play_arrow:", key="resume"
        ):
            resume_training(folder)
    except (RunError, OSError) as error:
        st.error(literal(str(error)), icon=":material/error:")


def _show_emergence(folder: Path) -> None:
    st.markdown(f"##### {t('training.emergence')}")
    if not (folder / REUSE).exists():
        st.caption(t("training.no_reuse"))
        return
    try:
        tables = reuse_over_training(folder)
    except RunError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    show_chart(emergence_screen(tables), key="emergence", alt=t("training.reuse_alt"))
    with take_home():
        for file_format, label in ANIMATIONS.items():
            st.download_button(
                label,
                partial(_animation_file, tables, file_format),
                f"{folder.name}_reuse.{file_format}",
                key=f"download_{file_format}",
                on_click="ignore",
                icon=":material/download:",
                disabled=file_format == "mp4" and not has_ffmpeg(),
                help=t("training.zip_help") if file_format == "zip" else None,
            )
        download_row(f"{folder.name}_reuse", tables, None, key="emergence_")
    if not has_ffmpeg():
        st.caption(t("training.ffmpeg"))
    st.caption(t("training.onset", epoch=onset(likeness_to_end(tables)), steady=STEADY))
    observations = observations_over_training(tables)
    figure = observations_screen(observations)
    show_chart(figure, key="observations", alt=t("training.observations_alt"))
    download_small(f"{folder.name}_observations", observations, figure, key="observations_")


@cached(8)
def _animation_file(tables: pd.DataFrame, file_format: str) -> bytes:
    """The feature-reuse heatmaps over the epochs as a file of their own."""
    from analysis.figures.animation import animation_bytes

    return animation_bytes(tables, file_format)
