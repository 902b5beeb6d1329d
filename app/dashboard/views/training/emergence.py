"""Feature reuse of a run over its epochs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from analysis.claims.figure_5 import observations_over_training
from analysis.figures.training.animation import has_ffmpeg
from analysis.figures.training.emergence import observations_screen
from analysis.reuse.emergence import STEADY, likeness_to_end, onset, reuse_over_training
from app.dashboard.caching import cache
from app.dashboard.charts import show_chart
from app.dashboard.language import t, translated
from app.dashboard.refusals import show_error
from app.dashboard.roots import in_served_folders
from app.dashboard.views.training.epochs import show_epochs
from app.dashboard.widgets.downloads import Item, download_row, download_small, offer, take_home
from app.dashboard.widgets.handover import Code
from app.dashboard.widgets.scripts import SCREEN, TABLE, Imports, joined, plain_script
from app.text import literal
from densenet_core import RunError
from densenet_core.training.runs.files import REUSE

ANIMATIONS = {"gif": "GIF", "mp4": "MP4", "zip": "PDFs"}


def show_emergence(folder: Path) -> None:
    """Draw the heatmaps over the epochs, and the observations."""
    st.markdown(f"##### {t('training.emergence')}")
    if not (folder / REUSE).exists():
        st.caption(t("training.no_reuse"))
        return
    try:
        with in_served_folders():
            tables = reuse_over_training(folder)
    except RunError as error:
        show_error(error)
        return
    show_epochs(tables, folder.name)
    _take_animation_home(tables, folder)
    st.caption(t("training.onset", epoch=onset(likeness_to_end(tables)), steady=STEADY))
    _show_observations(tables, folder)


def _take_animation_home(tables: pd.DataFrame, folder: Path) -> None:
    """The buttons for the heatmaps over the epochs, and for their table."""
    name = f"{folder.name}_reuse"
    with take_home():
        for file_format, label in ANIMATIONS.items():
            st.download_button(
                label,
                partial(_animation_file, tables, file_format),
                f"{name}.{file_format}",
                key=f"download_{file_format}",
                on_click="ignore",
                icon=":material/download:",
                type="tertiary",
                disabled=file_format == "mp4" and not has_ffmpeg(),
                help=t("training.zip_help") if file_format == "zip" else None,
            )
        imports = joined(TABLE, {"analysis.figures.training.animation": "animation_bytes", "pathlib": "Path"})
        lines = [
            f'Path("{name}.gif").write_bytes(animation_bytes(tables, "gif"))',
            f'save_table(tables, "{name}.csv")',
        ]
        code = _code(folder, imports, lines)
        download_row(name, tables, None, "emergence_", code)
        offer(name, Item(tables, partial(_animation_file, tables), code, formats=("gif",)))
    if not has_ffmpeg():
        st.caption(t("training.ffmpeg"))


def _show_observations(tables: pd.DataFrame, folder: Path) -> None:
    """The observations on Figure 5 over the epochs, and their statements."""
    observations = observations_over_training(tables)
    shown = observations_screen(observations, are_named=False)  # the statements are longer than a phone is wide
    show_chart(shown, key="observations", alt=t("training.observations_alt"), can_zoom=True)
    statements = observations["statement"].drop_duplicates()
    st.caption("\n".join(f"{number}. {literal(translated(each))}" for number, each in enumerate(statements, start=1)))
    figure = observations_screen(observations)
    name = f"{folder.name}_observations"
    imports = {"analysis.claims.figure_5": "observations_over_training"}
    imports |= {"analysis.figures.training.emergence": "observations_screen"}
    lines = [
        "table = observations_over_training(tables)",
        f'save_figure(paper_figure(observations_screen(table)), "{name}.pdf", table)',
    ]
    download_small(name, observations, figure, "observations_", _code(folder, joined(SCREEN, imports), lines))


def _code(folder: Path, imports: Imports, lines: list[str]) -> Code:
    """Return code about a run's feature reuse over its epochs, which it opens as ``tables``."""
    needed = joined(imports, {"analysis.reuse.emergence": "reuse_over_training"})
    return plain_script(needed, [f"tables = reuse_over_training({str(folder)!r})", *lines])


@cache(8)
def _animation_file(tables: pd.DataFrame, file_format: str) -> bytes:
    """Return the feature-reuse heatmaps over the epochs as a file of their own."""
    from analysis.figures.training.animation import animation_bytes

    return animation_bytes(tables, file_format)
