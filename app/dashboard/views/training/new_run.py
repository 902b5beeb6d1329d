"""The form of a new run, and its start."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from app.dashboard.language import duration_words, t
from app.dashboard.processes import first_word, start_training, why_ended
from app.dashboard.refusals import show_error
from app.dashboard.roots import check_run_folder, in_served_folders, runs_dir, training_folders
from app.dashboard.views.training.estimate import seconds_per_epoch
from app.dashboard.widgets.clicks import note_click, was_clicked
from app.dashboard.widgets.settings import setting_widget
from app.text import literal
from densenet_core import RunError
from densenet_core.data.names import DATASET_NAMES
from densenet_core.networks.names import MODEL_NAMES, spec_from_name
from densenet_core.training.config import (
    PLACE_FIELDS,
    RECIPE_SETTINGS,
    RECIPES,
    TrainingConfig,
    recipe_config,
    training_settings,
)

FIRST_SETTINGS = ("epochs", "seed", "augment")
STARTED = "training_started"  # of the session's state: the run that was started last, until it is there
_OUTCOME = "training_outcome"  # of the session's state: why the last start failed, or its folder and process
_SAID = "training_said"  # of the session's state: the error that the page shows for it
# What the form asks in its own words, and what is the server's; paths too, for a form must not open any file of it.
_OTHERS = {"arch", "dataset", "recipe", "name", *FIRST_SETTINGS, *PLACE_FIELDS}
MORE_SETTINGS = tuple(each.name for each in training_settings() if each.name not in _OTHERS and not each.about.is_path)


def show_form() -> None:
    """Draw the form in the sidebar; a run that is started is chosen on the page."""
    st.subheader(t("training.new"))
    # outside the form: the placeholders below follow them
    arch = str(st.selectbox(t("picker.network"), MODEL_NAMES, accept_new_options=True, key="new_arch") or "")
    dataset = st.selectbox(t("training.settings.dataset"), DATASET_NAMES, key="new_dataset")
    recipe = st.selectbox(t("training.recipe"), list(RECIPES), key="new_recipe", help=t("training.recipe_help"))
    name = f"{arch}-{dataset}"
    usual = _usual(recipe, arch, dataset, name)
    _show_time(usual)
    with st.form("start", border=False):
        try:
            given = _settings(FIRST_SETTINGS, usual)
            name = st.text_input(t("training.name"), placeholder=name, key="new_name") or name
            with st.expander(t("training.more")):
                given |= _settings(MORE_SETTINGS, usual)
        except RunError as error:
            show_error(error)
            given = None
        noted = partial(note_click, "start")
        st.form_submit_button(t("training.start"), type="primary", icon=":material/play_arrow:", on_click=noted)
    if was_clicked("start") and given is not None:
        _start(recipe, arch, dataset, name, given)
    _show_outcome()


def _usual(recipe: str, arch: str, dataset: str, name: str) -> TrainingConfig | None:
    """Return the recipe's settings; None while the typed text is not a network."""
    try:
        return recipe_config(recipe, arch, dataset, name)
    except ValueError:
        return None


def _show_time(usual: TrainingConfig | None) -> None:
    """Say how long an epoch takes, where this machine has trained on the same data before."""
    place = st.empty()  # what follows stays where it is
    try:
        with in_served_folders():
            seconds = None if usual is None else seconds_per_epoch(usual, training_folders())
    except ValueError:  # the typed text is not a network
        return
    if seconds:
        place.caption(t("training.takes", epoch=duration_words(seconds)))


def _settings(names: Sequence[str], usual: TrainingConfig | None) -> dict[str, Any]:
    by_name = {each.name: each for each in training_settings()}
    return {name: setting_widget(by_name[name], _hint(name, usual)) for name in names}


def _hint(name: str, usual: TrainingConfig | None) -> str | None:
    """Return the recipe's value of a setting, for its empty widget; None if the recipe does not set it."""
    if name not in RECIPE_SETTINGS:
        return None
    value = None if usual is None else getattr(usual, name)
    if value is None:
        return t("training.by_recipe")
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _start(recipe: str, arch: str, dataset: str, name: str, given: dict[str, Any]) -> None:
    """Start the run and wait until it trains."""
    st.session_state.pop(_OUTCOME, None)
    try:
        config = recipe_config(recipe, arch, dataset, name, runs_dir=str(runs_dir()), **given)
        spec_from_name(config.arch)
        check_run_folder(config.folder)
        process = start_training(config)
        st.session_state.update({STARTED: config.name, _OUTCOME: (config.folder, process)})
        with st.spinner(t("training.starting", name=literal(config.name))):
            first_word(config.folder, process)
    except ValueError as error:
        st.session_state[_OUTCOME] = str(error)


def is_start_open() -> bool:
    """Whether the training that this session started last runs: it may still say that it can't train."""
    outcome = st.session_state.get(_OUTCOME)
    return isinstance(outcome, tuple) and outcome[1].poll() is None


def is_outcome_stale() -> bool:
    """Whether that training has ended with an error since the page said that it started."""
    outcome = st.session_state.get(_OUTCOME)
    return isinstance(outcome, tuple) and why_ended(*outcome) != st.session_state.get(_SAID)


def _show_outcome() -> None:
    """Say what the last start came to, until the next one: each new epoch draws the page again."""
    if (outcome := st.session_state.get(_OUTCOME)) is None:
        return
    error = st.session_state[_SAID] = outcome if isinstance(outcome, str) else why_ended(*outcome)
    if error:
        show_error(error)
    else:
        st.success(t("training.started", name=literal(outcome[0].name)))
