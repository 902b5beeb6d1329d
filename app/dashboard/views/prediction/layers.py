"""What the page shows of one image: classes, logit by layer, maps of a layer, the layer lens, connections."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from analysis.figures.prediction.contributions import Explained, contributions_screen, explanation_figure
from analysis.figures.prediction.decision import decision_arcs_screen, decision_screen
from analysis.figures.prediction.lens import image_lens_screen
from analysis.figures.prediction.style import MIN_PIXELS, grid, overlay, picture
from analysis.prediction.explain import Explanation, explain_image
from analysis.prediction.feature_maps import Place, read_maps
from analysis.prediction.lens import lens_of_parts, pooled_parts
from analysis.prediction.maps import grad_cam, layer_names
from app.dashboard import loading
from app.dashboard.caching import cached
from app.dashboard.charts import show_chart
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import names, t
from app.dashboard.memory import remembered
from app.dashboard.views.prediction.choosing import ChosenImage, class_titles, opened, seen_image, used_images
from app.dashboard.widgets.downloads import download_row, download_small, take_home
from app.dashboard.widgets.handover import Code
from app.text import literal
from densenet_core import CheckpointError, DataError, DenseNetSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.prediction.lens import PooledParts

REPLACEMENTS = ("zero", "mean")
CODE = """
from densenet_core import load_checkpoint
from analysis.prediction.explain import explain_image
from analysis.prediction.image_files import class_names, open_image, prepare_image

network = load_checkpoint("CHECKPOINT")
found = explain_image(network, prepare_image(open_image("IMAGE"), network), class_names(network){options})
print(found.table)
"""


@st.fragment
def show_prediction(key: NetworkKey, chosen: ChosenImage) -> None:
    """Draw everything about one image, or say why not; a click in it draws nothing else of the page again."""
    try:  # in the fragment: Streamlit reports what leaves it as a crash
        _show_all(key, chosen)
    except (CheckpointError, DataError) as error:
        st.error(literal(str(error)), icon=":material/error:")


def _show_all(key: NetworkKey, chosen: ChosenImage) -> None:
    titles = class_titles(key, chosen)
    for_class, against = _choose_classes(titles)
    found = _explained(key, chosen, titles, for_class, against)
    left, right = st.columns([1, 3], gap="medium")
    with left:
        _show_image(found)
    with right:
        source = _show_bars(found)
    _show_layer(key, chosen, found, source)
    _show_lens(key, chosen, found, titles)
    if isinstance(opened(key).spec, DenseNetSpec):
        _show_connections(key, chosen, found)
    else:
        st.caption(t("prediction.no_connections"))
    _show_export(found)


def _choose_classes(titles: tuple[str, ...]) -> tuple[int | None, int | None]:
    left, right = st.columns(2)
    options: dict[str, Any] = {
        "options": range(len(titles)),
        "default": None,
        "index": None,
        "format_func": titles.__getitem__,
    }
    for_class = remembered(
        left.selectbox,
        t("prediction.why"),
        key="prediction_for",
        placeholder=t("prediction.predicted"),
        **options,
    )
    against = remembered(
        right.selectbox,
        t("prediction.why_not"),
        key="prediction_against",
        placeholder=t("prediction.nothing"),
        **options,
    )
    return for_class, against


@cached(64, private_entries=16, copies=False)
def _explained(
    key: NetworkKey, chosen: ChosenImage, titles: tuple[str, ...], for_class: int | None, against: int | None
) -> Explanation:
    return explain_image(opened(key), seen_image(key, chosen), titles, for_class, against)


def _show_image(found: Explanation) -> None:
    st.image(picture(found.seen.pixels, MIN_PIXELS), caption=t("prediction.seen"))
    st.dataframe(
        [{t("prediction.class"): name, t("prediction.probability"): p} for name, p in found.top],
        column_config={
            t("prediction.probability"): st.column_config.ProgressColumn(min_value=0, max_value=1, format="percent")
        },
        hide_index=True,
    )


def _show_bars(found: Explanation) -> int:
    """Draw the bars; return the source layer that was clicked, else the one that adds most."""
    sources = found.table[found.table["source_layer"] >= 0]
    strongest = int(sources["source_layer"].to_numpy()[sources["contribution"].abs().argmax()])
    clicked = int(st.session_state.get("prediction_source", strongest))
    marked = clicked if clicked in set(sources["source_layer"]) else strongest
    st.markdown(f"**{t('prediction.logit', name=literal(found.title), logit=found.logit)}**")
    show_chart(
        contributions_screen(found.table, "part of the logit", marked),
        key="prediction_bars",
        alt=t("prediction.bars_alt"),
        on_select=_remember_source,
        selection_mode="points",
    )
    return marked


def _remember_source() -> None:
    points: list[dict[str, Any]] = st.session_state["prediction_bars"]["selection"]["points"]
    if points and int(points[0]["customdata"][0]) >= 0:
        st.session_state["prediction_source"] = int(points[0]["customdata"][0])


def _show_layer(key: NetworkKey, chosen: ChosenImage, found: Explanation, source: int) -> None:
    """Draw the map of a layer over the image, the map of all layers, and the feature maps of the layer."""
    st.markdown(f"##### {t('prediction.layer', source=source)}")
    own, whole, cam, maps = st.columns([1, 1, 1, 2], gap="medium")
    pixels = found.seen.pixels
    own.image(overlay(pixels, found.maps[source]), caption=t("prediction.own_map", source=source))
    whole.image(overlay(pixels, found.maps.sum(0)), caption=t("prediction.whole_map"))
    with cam:
        layers = layer_names(opened(key))
        layer = st.selectbox(t("prediction.grad_cam"), layers, index=len(layers) // 2, key="prediction_layer")
        st.image(overlay(pixels, _grad_cam(key, chosen, layer, found.for_class)), caption=t("prediction.estimate"))
    if found.source_maps:
        shown = found.source_maps[source]
        maps.image(grid(shown, columns=12), caption=t("prediction.maps", number=len(shown)))


@cached(64, private_entries=16, copies=False)
def _grad_cam(key: NetworkKey, chosen: ChosenImage, layer: str, for_class: int) -> Any:
    return grad_cam(opened(key), seen_image(key, chosen).images, layer, [for_class])[0].cpu()


def _show_lens(key: NetworkKey, chosen: ChosenImage, found: Explanation, titles: tuple[str, ...]) -> None:
    st.markdown(f"##### {t('prediction.lens')}")
    options = REPLACEMENTS if chosen.images is not None else REPLACEMENTS[:1]
    replace = st.segmented_control(
        t("prediction.replace"),
        options,
        default="zero",
        format_func=names("prediction.replacements", options),
        key="prediction_replace",
    )
    if replace == "mean" and chosen.images is not None:
        table = lens_of_parts(found.parts, _pooled(key, chosen.images), "mean")
    else:
        table = lens_of_parts(found.parts, found.parts, "zero")
    last = int(table["source_layer"].max())
    depth = st.slider(t("prediction.depth"), 0, max(last, 1), last, key="prediction_depth")
    here = table[table["source_layer"] == min(depth, last)].nlargest(3, "probability")
    firsts = zip(here["class"], here["probability"], strict=True)
    words = ", ".join(f"{literal(titles[int(number)])} **{p:.1%}**" for number, p in firsts)
    st.markdown(t("prediction.at_depth", depth=min(depth, last), words=words))
    figure = image_lens_screen(table, titles, depth)
    show_chart(figure, key="prediction_lens", alt=t("prediction.lens_alt"))
    download_small("layer_lens", table, figure, key="prediction_lens_")


@cached(8, private_entries=2, spinner="measuring", copies=False)
def _pooled(key: NetworkKey, images: ImagesKey) -> PooledParts:
    return pooled_parts(opened(key), used_images(images), images.number)


def _show_connections(key: NetworkKey, chosen: ChosenImage, found: Explanation) -> None:
    """The connections of the decision, once they are asked for: a forward and a backward pass, paths take longer."""
    expander = st.expander(
        t("prediction.connections"), icon=":material/hub:", key="prediction_connections", on_change="rerun"
    )
    if not expander.open:
        return
    with expander:
        table = _connections(key, chosen, found.for_class, found.against)
        blocks = sorted(int(block) for block in table["block"].unique())
        block = st.segmented_control(t("prediction.block"), blocks, default=blocks[-1], key="prediction_block")
        shown = block or blocks[-1]
        left, right = st.columns(2, gap="medium")
        with left:
            show_chart(
                decision_screen(table, block=shown),
                key="prediction_heatmap",
                alt=t("prediction.connections_alt"),
                on_select="rerun",
                selection_mode="points",
            )
        with right:
            show_chart(decision_arcs_screen(table, block=shown), key="prediction_arcs", alt=t("prediction.arcs_alt"))
        _show_read(key, found, table, shown)
        st.caption(t("prediction.connections_note"))
        if st.button(t("prediction.find_paths"), key="prediction_paths"):
            _show_paths(_paths(key, chosen, found.for_class))


@cached(32, private_entries=8, spinner="measuring")
def _connections(key: NetworkKey, chosen: ChosenImage, for_class: int, against: int | None) -> pd.DataFrame:
    from analysis.prediction.decision import decision_connections

    return decision_connections(loading.load(key), seen_image(key, chosen).images, for_class, against)


@cached(32, private_entries=8, spinner="measuring")
def _paths(key: NetworkKey, chosen: ChosenImage, for_class: int) -> pd.DataFrame:
    from analysis.prediction.decision import strongest_paths

    return strongest_paths(loading.load(key), seen_image(key, chosen).images, for_class, beam=8)


def _show_read(key: NetworkKey, found: Explanation, table: pd.DataFrame, block: int) -> None:
    """What the clicked connection carries; before a click the strongest one of the block."""
    points = st.session_state.get("prediction_heatmap", {}).get("selection", {}).get("points", [])
    rows = table[table["block"] == block]
    strongest = rows.iloc[int(rows["gradient_activation"].abs().argmax())]
    place = Place(block, int(strongest["source_layer"]), int(strongest["target_layer"]))
    if points and int(points[0]["customdata"][0]) == block:
        place = Place(*(int(number) for number in points[0]["customdata"][:3]))
    read = read_maps(loading.load(key), found.seen.images, place)[0].cpu()
    st.markdown(f"**{t('prediction.carries', source=place.source_layer, target=place.target_layer)}**")
    if read.dim() == 1:
        st.caption(t("prediction.reads_scores"))
    else:
        st.image(grid(read, columns=16))


def _show_paths(paths: pd.DataFrame) -> None:
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


def _show_export(found: Explanation) -> None:
    options = f", for_class={found.for_class}" + (f", against={found.against}" if found.against is not None else "")
    with take_home():
        draw = partial(loading.figure_file, partial(_on_paper, found), f"prediction {found.title}", found.table)
        download_row("prediction", found.table, draw, "prediction_", Code(CODE.format(options=options).strip()))


def _on_paper(found: Explanation, table: pd.DataFrame) -> Figure:
    title = f"{found.title} ({found.probability:.0%})"
    return explanation_figure([Explained(title, found.seen.pixels, found.maps.sum(0), table)])
