"""Training curves of one or several runs, with their toggles and downloads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from analysis.figures.training.curves import training_curves_figure, training_curves_screen
from analysis.results.training_curves import training_curves
from app.dashboard import loading
from app.dashboard.charts import show_chart
from app.dashboard.language import t
from app.dashboard.memory import remember
from app.dashboard.roots import in_served_folders
from app.dashboard.widgets.comparing import curves_code
from app.dashboard.widgets.downloads import download_row, take_home
from app.text import literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show_curves(runs: Mapping[str, Path], name: str) -> None:
    """Draw the curves of runs over each other.

    Args:
        runs: folders by the names to show.
        name: of the files.

    Raises:
        RunError: a folder has no metrics.csv.
    """
    with in_served_folders():
        curves = training_curves(runs)
    for reason in curves.attrs["skipped"]:
        st.warning(literal(reason), icon=":material/warning:")
    with st.container(horizontal=True):
        log = remember(st.toggle, t("training.log"), key="curves_log", default=False)
        smooth = remember(st.toggle, t("training.smooth"), key="curves_smooth", default=False)
    screen = training_curves_screen(curves, log, smooth)
    shown = hashlib.sha256(repr((list(runs), log)).encode()).hexdigest()  # names of runs are foreign text
    screen.update_layout(uirevision=shown)  # a new epoch does not undo a zoom
    show_chart(screen, key="curves", alt=t("common.curves_alt"), can_zoom=True)
    with take_home():
        draw = partial(loading.figure_file, _on_paper, f"curves {log} {smooth}", curves, log, smooth)
        download_row(name, curves, draw, key="curves_", code=curves_code(runs, name, log, smooth))


def _on_paper(curves: pd.DataFrame, log: bool, smooth: bool) -> Figure:
    return training_curves_figure(curves, log=log, smooth=smooth)
