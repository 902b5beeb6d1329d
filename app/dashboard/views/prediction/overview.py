"""The Prediction page for one image: its classes, its logit by layer, and one look at a time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import streamlit as st

from analysis.figures.prediction.contributions import Explained, contributions_screen, explanation_figure
from analysis.figures.prediction.style import picture
from app.dashboard import loading
from app.dashboard.charts import show_chart
from app.dashboard.keys import NetworkKey
from app.dashboard.language import names, t
from app.dashboard.memory import choose_for, recall, remember
from app.dashboard.refusals import show_error
from app.dashboard.views.prediction.code import drawn, explain_command, explanation_code, picture_code
from app.dashboard.views.prediction.images import ChosenImage, class_titles, explain_chosen, flat, open_predictor
from app.dashboard.widgets.downloads import download_picture, download_row, download_table, only_these, take_home
from app.dashboard.widgets.handover import Code
from app.dashboard.widgets.scripts import joined
from app.text import literal
from densenet_core import CheckpointError, DataError, DenseNetSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.prediction.explain import Explanation

SIDE = 280  # pixels of the image
SOURCE = "prediction_source"  # the chosen source layer, or
STRONGEST = "strongest"  # the one that adds most


class Shown(NamedTuple):
    """Arguments of every look at the prediction."""

    key: NetworkKey
    chosen: ChosenImage
    titles: tuple[str, ...]  # of the classes
    found: Explanation
    position: float  # of the slice of a volume, 0 to 1
    dims: int

    def flat(self, values: Any) -> Any:
        """Return what a picture shows of maps (..., *spatial)."""
        return flat(values, self.position, self.dims)

    @property
    def is_dense(self) -> bool:
        """Whether the network is a DenseNet, whose connections can be looked at."""
        return isinstance(open_predictor(self.key).spec, DenseNetSpec)

    @property
    def strongest(self) -> int:
        """The source layer that adds most to the logit, or takes most from it."""
        sources = self.found.table[self.found.table["source_layer"] >= 0]
        return int(sources["source_layer"].to_numpy()[sources["contribution"].abs().argmax()])


@st.fragment
def show_prediction(key: NetworkKey, chosen: ChosenImage) -> None:
    """Draw everything about one image, or say why not; a click in it draws nothing else of the page again."""
    try:  # in the fragment: Streamlit reports what leaves it as a crash
        with only_these("prediction"):
            _show_all(key, chosen)
    except (CheckpointError, DataError) as error:
        show_error(error)


def _show_all(key: NetworkKey, chosen: ChosenImage) -> None:
    titles = class_titles(key, chosen)
    with st.container(key="image_and_parts"):  # one above the other on narrow screens
        left, right = st.columns([2, 3], gap="large")
    with right:
        for_class, against = _choose_classes(titles)
    found = explain_chosen(key, chosen, titles, for_class, against)
    dims = open_predictor(key).spec.spatial_dims
    with left:
        position = _choose_slice(found) if dims == 3 else 0.0
        shown = Shown(key, chosen, titles, found, position, dims)
        _show_image(shown)
    with right:
        _show_bars(shown)
    _show_look(shown)


def _choose_classes(titles: tuple[str, ...]) -> tuple[int | None, int | None]:
    left, right = st.columns(2)
    options: dict[str, Any] = {
        "options": range(len(titles)),
        "default": None,
        "index": None,
        "format_func": titles.__getitem__,
    }
    for_class = remember(
        left.selectbox, t("prediction.why"), key="prediction_for", placeholder=t("prediction.predicted"), **options
    )
    against = remember(
        right.selectbox,
        t("prediction.why_not"),
        key="prediction_against",
        placeholder=t("prediction.nothing"),
        **options,
    )
    return for_class, against


def _choose_slice(found: Explanation) -> float:
    """Return the slice of the volume that all pictures show, as its middle's position from 0 to 1."""
    depth = int(found.seen.pixels.shape[-3])
    if depth == 1:
        return 0.0
    number: int = remember(
        st.slider, t("prediction.slice"), limits=(1, depth), key="prediction_slice", default=depth // 2 + 1
    )
    return (number - 0.5) / depth


def _show_image(shown: Shown) -> None:
    seen, top = shown.flat(shown.found.seen.pixels), pd.DataFrame(shown.found.top, columns=["class", "probability"])
    pixels = picture(seen, SIDE)
    with st.container(key="seen_image"):  # not wider than its column
        st.image(pixels, caption=t("prediction.seen"), width="stretch")
    code = picture_code(shown, "network_input", "picture", "seen.pixels", {}, min_side=SIDE)
    download_picture("network_input", pixels, seen, "network_input_", code)
    probability = t("prediction.probability")
    st.dataframe(
        top.rename(columns={"class": t("prediction.class"), "probability": probability}),
        column_config={probability: st.column_config.ProgressColumn(min_value=0, max_value=1, format="percent")},
        hide_index=True,
    )
    download_table("top_classes", top, "top_classes_", _classes_code(shown))


def _classes_code(shown: Shown) -> Code:
    imports = {"pandas": "DataFrame", "analysis.figures.export": "save_table"}
    line = 'save_table(DataFrame(found.top, columns=["class", "probability"]), "top_classes.csv")'
    return explanation_code(shown, imports, [line])


def _show_bars(shown: Shown) -> None:
    found = shown.found
    st.markdown(f"**{t('prediction.logit', name=literal(found.title), logit=found.logit)}**")
    show_chart(
        contributions_screen(found.table, marked=chosen_source(shown)).update_layout(height=380),
        key="prediction_bars",
        alt=t("prediction.bars_alt"),
        on_select=_remember_source,
        selection_mode="points",
    )
    with take_home():
        draw = partial(
            loading.figure_file, partial(_on_paper, shown), f"prediction {found.title} {shown.position}", found.table
        )
        download_row("prediction", found.table, draw, "prediction_", _explanation_code(shown))


def _explanation_code(shown: Shown) -> Code:
    imports = {"analysis": "save_figure", "analysis.figures.prediction.contributions": "Explained, explanation_figure"}
    on_pixels, pixels = drawn(shown, "seen.pixels")
    on_maps, maps = drawn(shown, "found.maps.sum(0)")
    lines = [
        'title = f"{found.title} ({found.probability:.0%})"',
        f"figure = explanation_figure([Explained(title, {pixels}, {maps}, found.table)])",
        'save_figure(figure, "prediction.pdf", found.table)',
    ]
    return explanation_code(shown, joined(imports, on_pixels, on_maps), lines, explain_command(shown))


def chosen_source(shown: Shown) -> int:
    """Return the selected source layer: the chosen one, else the one that contributes most."""
    chosen = st.session_state.get(SOURCE, recall(SOURCE))
    return chosen if chosen in set(shown.found.table["source_layer"]) else shown.strongest


def _remember_source() -> None:
    points: list[dict[str, Any]] = st.session_state["prediction_bars"]["selection"]["points"]
    if points and int(points[0]["customdata"][0]) >= 0:
        choose_for(SOURCE, int(points[0]["customdata"][0]))
        choose_for("prediction_look", "layer")


def _on_paper(shown: Shown, table: pd.DataFrame) -> Figure:
    found = shown.found
    title = f"{found.title} ({found.probability:.0%})"
    pixels, whole = shown.flat(found.seen.pixels), shown.flat(found.maps.sum(0))
    return explanation_figure([Explained(title, pixels, whole, table)])


def _show_look(shown: Shown) -> None:
    """One look at a time, so that nothing is computed that nobody asked for."""
    from app.dashboard.views.prediction import by_class, connections, depth, drives, layer, similarity

    looks = {"layer": layer.show_layer, "depth": depth.show_depth}
    if shown.is_dense:
        looks["connections"] = connections.show_connections
    if shown.chosen.images is not None:
        looks |= {"drives": drives.show_drives, "similarity": similarity.show_similarity}
        if shown.is_dense:
            looks["by_class"] = by_class.show_by_class
    st.divider()
    look = remember(
        st.segmented_control,
        t("prediction.look"),
        options=looks,
        key="prediction_look",
        default="layer",
        format_func=names("prediction.looks", looks),
        label_visibility="collapsed",
        required=True,
    )
    st.caption(t(f"prediction.look_notes.{look}"))
    looks[look](shown)
    if not shown.is_dense:
        st.caption(t("prediction.no_connections"))
