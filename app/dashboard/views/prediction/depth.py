"""By depth: what the classifier would say if it read the first layers only, of the image and of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from analysis.figures.prediction.lens import image_lens_screen, lens_screen, probes_screen
from analysis.prediction.lens import lens_by_depth, lens_of_parts
from analysis.reuse.measures import REPLACEMENTS, Replacement
from app.dashboard.charts import show_chart
from app.dashboard.jobs.task import Task
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import names, t
from app.dashboard.memory import remember
from app.dashboard.views.prediction.code import dataset_code, explanation_code
from app.dashboard.widgets.downloads import download_small
from app.dashboard.widgets.handover import Code
from app.dashboard.widgets.long_work import amount, result_of
from app.dashboard.widgets.scripts import SCREEN, joined

if TYPE_CHECKING:
    from analysis.prediction.lens import PooledParts
    from app.dashboard.views.prediction.overview import Shown

MEASURES = ("error", "decided")


def show_depth(shown: Shown) -> None:
    """Draw the lens of the image; that of the data set, and linear probes, once they are measured."""
    images = shown.chosen.images
    replace = _choose_replacement(images is not None)
    parts = None if images is None else _pooled_parts(shown.key, images)
    if replace == "zero" or parts is not None:
        own = shown.found.parts
        _show_image_lens(shown, lens_of_parts(own, parts if replace == "mean" and parts else own, replace), replace)
    else:
        st.info(t("prediction.needs_mean"), icon=":material/info:")
    if images is None:
        return
    st.markdown(f"##### {t('prediction.lens_images')}")
    st.caption(t("prediction.lens_images_note"))
    if parts is None:
        parts = result_of(_pooled_task(shown.key, images), amount(images))
    if parts is not None:
        _show_images_lens(shown.key, images, lens_by_depth(parts, replace), replace)
    st.markdown(f"##### {t('prediction.probes')}")
    st.caption(t("prediction.probes_note"))
    _show_probes(shown.key, images)


def _choose_replacement(has_images: bool) -> Replacement:
    options = REPLACEMENTS if has_images else REPLACEMENTS[:1]
    found: Replacement = remember(
        st.segmented_control,
        t("prediction.replace"),
        options=options,
        key="prediction_replace",
        default="zero",
        format_func=names("prediction.replacements", options),
        required=True,
    )
    return found


def _pooled_task(key: NetworkKey, images: ImagesKey) -> Task:
    return Task("lens", key, (images,))


def _pooled_parts(key: NetworkKey, images: ImagesKey) -> PooledParts | None:
    """Return the classifier's inputs for the data set's images, if they were measured."""
    from app.dashboard.jobs.session import the_queue

    job = the_queue().find(_pooled_task(key, images))
    return job.result if job is not None and job.state == "finished" else None


def _show_image_lens(shown: Shown, table: pd.DataFrame, replace: Replacement) -> None:
    last = int(table["source_layer"].max())
    left, right = st.columns([2, 3], gap="medium")
    with left:
        depth = last
        if last:
            depth = remember(
                st.slider, t("prediction.depth"), limits=(0, last), key=f"prediction_depth_{last}", default=last
            )
        here = table[table["source_layer"] == depth].nlargest(5, "probability")
        name, probability = t("prediction.class"), t("prediction.probability")
        st.markdown(t("prediction.at_depth", depth=depth))
        st.dataframe(
            [
                {name: shown.titles[int(number)], probability: p}
                for number, p in zip(here["class"], here["probability"], strict=True)
            ],
            column_config={probability: st.column_config.ProgressColumn(min_value=0, max_value=1, format="percent")},
            hide_index=True,
        )
    with right:
        figure = image_lens_screen(table, shown.titles, depth)
        show_chart(figure, key="prediction_lens", alt=t("prediction.lens_alt"))
        download_small("layer_lens", table, figure, "prediction_lens_", _image_code(shown, replace, depth))


def _image_code(shown: Shown, replace: Replacement, depth: int) -> Code:
    images, parts = shown.chosen.images, "found.parts"
    lens = {"analysis.prediction.lens": "lens_of_parts"}
    if replace == "mean" and images is not None:
        lens, parts = {"analysis.prediction.lens": "lens_of_parts, pooled_parts"}, _parts_expression(images)
    imports = SCREEN | {"analysis.figures.prediction.lens": "image_lens_screen"}
    lines = [
        f"table = lens_of_parts(found.parts, {parts}, {replace!r})",
        f'save_figure(paper_figure(image_lens_screen(table, names, {depth})), "layer_lens.pdf", table)',
    ]
    return explanation_code(shown, joined(imports, lens), lines)


def _parts_expression(images: ImagesKey) -> str:
    return f"pooled_parts(network, test, num_images={images.number})"


def _show_images_lens(key: NetworkKey, images: ImagesKey, table: pd.DataFrame, replace: Replacement) -> None:
    for column, measure in zip(st.columns(2, gap="medium"), MEASURES, strict=True):
        with column:
            figure = lens_screen(table, measure).update_layout(height=280)
            show_chart(figure, key=f"prediction_lens_{measure}", alt=t(f"prediction.lens_{measure}"))
            code = _lens_code(key, images, replace, measure)
            download_small(f"lens_{measure}", table, lens_screen(table, measure), f"prediction_lens_{measure}_", code)


def _lens_code(key: NetworkKey, images: ImagesKey, replace: Replacement, measure: str) -> Code:
    imports = SCREEN | {
        "analysis.figures.prediction.lens": "lens_screen",
        "analysis.prediction.lens": "lens_by_depth, pooled_parts",
    }
    lines = [
        f"table = lens_by_depth({_parts_expression(images)}, {replace!r})",
        f'save_figure(paper_figure(lens_screen(table, {measure!r})), "lens_{measure}.pdf", table)',
    ]
    return dataset_code(key, images, imports, lines)


def _show_probes(key: NetworkKey, images: ImagesKey) -> None:
    table: pd.DataFrame | None = result_of(Task("probes", key, (images,)), amount(images))
    if table is None:
        return
    figure = probes_screen(table, t("prediction.probes_axis"), t("prediction.probes_error"), t("prediction.block"))
    show_chart(figure, key="prediction_probes", alt=t("prediction.probes"))
    download_small("linear_probes", table, figure, "prediction_probes_", _probes_code(key, images))


def _probes_code(key: NetworkKey, images: ImagesKey) -> Code:
    imports = SCREEN | {
        "analysis.claims.losses": "training_images",
        "analysis.figures.prediction.lens": "probes_screen",
        "analysis.prediction.probes": "linear_probes",
    }
    words = [t(f"prediction.{name}") for name in ("probes_axis", "probes_error", "block")]
    lines = [
        f"train = training_images({images.dataset!r}, {images.normalize!r}, {images.root!r})",
        f"table = linear_probes(network, train, test, num_test={images.number})",
        f"screen = probes_screen(table, {', '.join(map(repr, words))})",
        'save_figure(paper_figure(screen), "linear_probes.pdf", table)',
    ]
    return dataset_code(key, images, imports, lines)
