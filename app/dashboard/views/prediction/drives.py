"""The images of the data set that drive a layer, a map or a connection most and least, with the places marked."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from analysis.figures.prediction.driving import TITLES, driving_images_figure, halves
from analysis.figures.prediction.style import mark_place
from analysis.prediction.image_files import prepare_dataset_image
from app.dashboard import loading
from app.dashboard.jobs.task import Task
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import t
from app.dashboard.memory import remember
from app.dashboard.views.prediction.code import dataset_code
from app.dashboard.views.prediction.images import open_predictor, used_images
from app.dashboard.widgets.downloads import download_row, take_home
from app.dashboard.widgets.handover import Code
from app.dashboard.widgets.long_work import amount, result_of
from app.text import literal
from densenet_core import DenseNetSpec
from densenet_core.networks.spec import Spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from app.dashboard.views.prediction.overview import Shown

SIDE = 112  # pixels of an image
ITSELF = 0  # as a target: the source layer itself


def show_drives(shown: Shown) -> None:
    """Draw the choice of a layer or connection, and the images once they are found."""
    images = shown.chosen.images
    assert images is not None
    place, channel = _choose_place(open_predictor(shown.key).spec)
    table: pd.DataFrame | None = result_of(Task("drives", shown.key, (images, place, channel)), amount(images))
    if table is None:
        return
    for title, rows in zip(TITLES, halves(table), strict=True):
        st.markdown(f"**{t(f'prediction.{title}')}**")
        _show_images(rows, images, shown.titles)
    with take_home():
        draw = partial(loading.figure_file, partial(_on_paper, images), f"driving_images {images}", table)
        download_row("driving_images", table, draw, "drives_", _code(shown.key, images, place, channel))


def _on_paper(images: ImagesKey, table: pd.DataFrame) -> Figure:
    return driving_images_figure(table, used_images(images))


def _code(key: NetworkKey, images: ImagesKey, place: tuple[int, ...], channel: int | None) -> Code:
    where = f"Place{place}" if len(place) == 3 else repr(place)
    imports = {
        "analysis": "save_figure",
        "analysis.figures.prediction.driving": "driving_images_figure",
        "analysis.prediction.feature_maps": "Place, driving_images" if len(place) == 3 else "driving_images",
        "densenet_core.data.images": "sample_evenly",
    }
    lines = [
        f"images = sample_evenly(test, {images.number})",
        f"table = driving_images(network, images, {where}, channel={channel}, num_images={images.number})",
        'save_figure(driving_images_figure(table, images), "driving_images.pdf", table)',
    ]
    return dataset_code(key, images, imports, lines)


def _choose_place(spec: Spec) -> tuple[tuple[int, ...], int | None]:
    """(block, source) or (block, source, target), and a map of it or None for all."""
    is_dense = isinstance(spec, DenseNetSpec)
    sizes = spec.block_config if isinstance(spec, DenseNetSpec) else getattr(spec, "stage_config", (1,))
    a, b, c, d = st.columns(4)
    block: int = remember(
        a.selectbox, t("prediction.block"), options=range(1, len(sizes) + 1), key="drives_block", default=len(sizes)
    )
    first = 0 if is_dense else 1
    sources = range(first, sizes[block - 1] + 1)
    source: int = remember(
        b.selectbox, t("prediction.source"), options=sources, key=f"drives_source_{block}", default=sources[-1]
    )
    target = ITSELF
    if is_dense:
        targets = range(source + 1, sizes[block - 1] + 2)
        titles = {ITSELF: t("prediction.no_target")} | {target: str(target) for target in targets}
        target = remember(
            c.selectbox,
            t("prediction.target"),
            options=titles,
            key=f"drives_target_{block}",
            default=ITSELF,
            format_func=titles.__getitem__,
        )
    with d:
        channel = st.number_input(
            t("prediction.channel"), 0, None, None, key="drives_channel", placeholder=t("prediction.all_maps")
        )
    place = (block, source) if target == ITSELF else (block, source, target)
    return place, None if channel is None else int(channel)


def _show_images(rows: pd.DataFrame, images: ImagesKey, titles: tuple[str, ...]) -> None:
    with st.container(horizontal=True, gap="small"):
        for row in rows.itertuples():
            pixels = prepare_dataset_image(used_images(images), int(row.row)).pixels  # type: ignore[arg-type]
            words = f"{literal(titles[int(row.label)])}  \n{row.value:.3g}"  # type: ignore[arg-type]
            st.image(mark_place(pixels, float(row.y), float(row.x), SIDE), caption=words, width=SIDE)  # type: ignore[arg-type]
