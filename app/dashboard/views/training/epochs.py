"""The heatmaps of a run at one of its epochs: a slider chooses it, or they are played from the first to the last."""

from __future__ import annotations

from functools import partial

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.figures.figure_5 import feature_reuse_screen
from analysis.figures.training.emergence import choose_epochs
from app.dashboard.charts import show_blocks
from app.dashboard.language import t
from app.dashboard.memory import choose_for, keep, recall, remember

SECONDS_PER_EPOCH = 0.7  # while they are played
_PLAYED = "emergence_played"  # of the session's state: the run that is played, and the place of its next epoch
_PLAYS = "emergence_plays"  # of the session's state: how often any was played


def show_epochs(tables: pd.DataFrame, run: str) -> None:
    """Draw the heatmaps of an epoch with the slider and the button to play them.

    Args:
        tables: as returned by ``reuse_over_training``.
    """
    is_played = _is_played(run)
    st.fragment(_draw, run_every=SECONDS_PER_EPOCH if is_played else None)(tables, run, is_played)


def _is_played(run: str) -> bool:
    return bool(st.session_state.get(_PLAYED, ("", 0))[0] == run)


def _draw(tables: pd.DataFrame, run: str, was_played: bool) -> None:
    """The slider and the heatmaps; the whole page is drawn again where playing begins or ends."""
    if _is_played(run) != was_played:
        st.rerun()
    epoch = _choose_epoch(choose_epochs(tables), run)
    table = tables[tables["epoch"] == epoch].reset_index(drop=True)
    blocks = sorted(int(block) for block in table["block"].unique())
    show_blocks(partial(_block, table), blocks, "emergence", t("training.reuse_alt"))


def _block(table: pd.DataFrame, block: int) -> go.Figure:
    return feature_reuse_screen(table, color_map="viridis", only=block)


def _choose_epoch(epochs: list[int], run: str) -> int:
    """Return the epoch that is played, or the chosen one; at first, and while a training goes on, the last."""
    if len(epochs) == 1:
        st.caption(t("training.epoch", epoch=epochs[0]))
        return epochs[0]
    # Another slider after each time: a browser that is behind would send back where the one before stood.
    key = f"emergence_epoch_{run}_{st.session_state.get(_PLAYS, 0)}"
    is_played = _is_played(run)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            t("training.pause" if is_played else "training.play"),
            key="emergence_play",
            icon=":material/pause:" if is_played else ":material/play_arrow:",
            on_click=partial(_play, None if is_played else run),
        )
        epoch = _turn(epochs, run, key) if is_played else _slide(epochs, key)
    return epoch


def _slide(epochs: list[int], key: str) -> int:
    if (last := recall(f"{key}_last")) is not None and last == st.session_state.get(key):
        choose_for(key, epochs[-1])
    keep(f"{key}_last", epochs[-1])
    title = t("training.columns.epoch").capitalize()
    epoch: int = remember(st.select_slider, title, options=epochs, key=key, name="epoch", default=epochs[-1])
    return epoch


def _turn(epochs: list[int], run: str, key: str) -> int:
    """Return the next epoch; the last one ends the playing. The slider is drawn again behind it."""
    place: int = min(st.session_state[_PLAYED][1], len(epochs) - 1)
    st.session_state[_PLAYED] = (run, place + 1) if place < len(epochs) - 1 else ("", 0)
    choose_for(key, epochs[place])
    st.progress(place / (len(epochs) - 1), t("training.epoch", epoch=epochs[place]))
    return epochs[place]


def _play(run: str | None) -> None:
    """Play a run from its first epoch on, or stop."""
    if run is not None:
        st.session_state[_PLAYS] = st.session_state.get(_PLAYS, 0) + 1
    st.session_state[_PLAYED] = (run or "", 0)
