"""The connections of a decision: what each adds to the logit, what it carries, and the strongest paths."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from analysis.figures.prediction.decision import (
    decision_arcs_figure,
    decision_arcs_screen,
    decision_figure,
    decision_screen,
)
from analysis.prediction.decision import decision_connections
from analysis.prediction.feature_maps import Place, read_maps
from app.dashboard import loading
from app.dashboard.caching import cache
from app.dashboard.charts import show_chart
from app.dashboard.jobs.task import Task
from app.dashboard.keys import NetworkKey
from app.dashboard.language import names, t
from app.dashboard.memory import remember
from app.dashboard.views.prediction.images import ChosenImage, prepare_chosen
from app.dashboard.views.prediction.layer import show_maps
from app.dashboard.widgets.downloads import download_row, take_home
from app.dashboard.widgets.long_work import result_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from app.dashboard.views.prediction.overview import Shown

MEASURES = ("gradient_activation", "cut_effect")


def show_connections(shown: Shown) -> None:
    """Draw a block's connections as a heatmap and as arcs, what the chosen one carries, and the paths if asked for."""
    left, right = st.columns(2, gap="medium")
    with right:
        measure = _choose_measure()
    table = _table(shown, measure)
    if table is None:
        return
    blocks = sorted(int(block) for block in table["block"].unique())
    block: int = remember(
        left.segmented_control,
        t("prediction.block"),
        options=blocks,
        key="prediction_block",
        default=blocks[-1],
        required=True,
    )
    left, right = st.columns(2, gap="medium")
    with left:
        show_chart(
            decision_screen(table, measure, block),
            key="prediction_heatmap",
            alt=t("prediction.connections_alt"),
            on_select="rerun",
            selection_mode="points",
        )
        _download("decision_heatmap", table, decision_figure, measure)
    with right:
        figure = decision_arcs_screen(table, measure, block).update_layout(height=360)
        show_chart(figure, key="prediction_arcs", alt=t("prediction.arcs_alt"))
        _download("decision_arcs", table, decision_arcs_figure, measure)
    _show_read(shown, table[table["block"] == block], measure)
    st.markdown(f"##### {t('prediction.paths')}")
    _show_paths(shown)


def _choose_measure() -> str:
    found: str = remember(
        st.segmented_control,
        t("prediction.connection_measure"),
        options=MEASURES,
        key="prediction_measure",
        default=MEASURES[0],
        format_func=names("prediction.measures", MEASURES),
        required=True,
    )
    return found


def _table(shown: Shown, measure: str) -> pd.DataFrame | None:
    """Return the connections with the measure; None until the job that cuts each of them is done."""
    found = shown.found
    if measure == "gradient_activation":
        return _by_gradient(shown.key, shown.chosen, found.for_class, found.against)
    task = Task("cuts", shown.key, (*_pack_image(shown), found.for_class, found.against))
    table: pd.DataFrame | None = result_of(task)
    return table


def _pack_image(shown: Shown) -> tuple[bytes, tuple[int, ...]]:
    """Return the image as a job's options hold it: its float32 values and its shape."""
    images = shown.found.seen.images.float().contiguous()
    return images.cpu().numpy().tobytes(), tuple(images.shape)


@cache(32, private_entries=8, spinner="measuring")
def _by_gradient(key: NetworkKey, chosen: ChosenImage, for_class: int, against: int | None) -> pd.DataFrame:
    return decision_connections(loading.load(key), prepare_chosen(key, chosen).images, for_class, against)


def _download(name: str, table: pd.DataFrame, draw: Callable[..., Figure], measure: str) -> None:
    with take_home():
        download_row(name, table, partial(loading.figure_file, draw, name, table, measure), f"{name}_")


def _show_read(shown: Shown, rows: pd.DataFrame, measure: str) -> None:
    """Show what the clicked connection carries; before a click the strongest one of the block."""
    strongest = rows.iloc[int(rows[measure].abs().argmax())]
    place = Place(int(strongest["block"]), int(strongest["source_layer"]), int(strongest["target_layer"]))
    points = st.session_state.get("prediction_heatmap", {}).get("selection", {}).get("points", [])
    if points and int(points[0]["customdata"][0]) == place.block:
        place = Place(*(int(number) for number in points[0]["customdata"][:3]))
    read = read_maps(loading.load(shown.key), shown.found.seen.images, place)[0].cpu()
    st.markdown(f"##### {t('prediction.carries', source=place.source_layer, target=place.target_layer)}")
    if read.dim() == 1:
        st.caption(t("prediction.reads_scores"))
        rows = pd.DataFrame({t("prediction.class"): shown.titles, t("prediction.part"): read.numpy()})
        st.dataframe(rows.nlargest(5, t("prediction.part"), keep="all"), hide_index=True)
    else:
        st.caption(t("prediction.reads_maps", number=len(read)))
        show_maps(shown.flat(read))


def _show_paths(shown: Shown) -> None:
    st.caption(t("prediction.paths_note"))
    paths: pd.DataFrame | None = result_of(Task("paths", shown.key, (*_pack_image(shown), shown.found.for_class)))
    if paths is None:
        return
    rows = [
        {
            t("prediction.path"): row["path"],
            t("prediction.layers_on_path"): row["num_layers"],
            t("prediction.part"): round(float(row["part"]), 4),
            t("prediction.share"): f"{row['share']:.1%}",
        }
        for row in paths.to_dict("records")
    ]
    st.dataframe(rows, hide_index=True)
    with take_home():
        download_row("strongest_paths", paths, None, "paths_")
