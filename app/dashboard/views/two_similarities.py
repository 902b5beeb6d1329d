"""The similarity of the layers of two networks, beside the same architectures untrained."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from app.dashboard import loading
from app.dashboard.charts import show_chart
from app.dashboard.jobs.task import Task
from app.dashboard.jobs.work import MAX_FOR_SIMILARITY
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import t
from app.dashboard.memory import remember
from app.dashboard.refusals import show_error
from app.dashboard.widgets.downloads import download_row, take_home
from app.dashboard.widgets.handover import Code, import_line, load_expression
from app.dashboard.widgets.long_work import amount, result_of
from app.dashboard.widgets.scripts import plain_script
from densenet_core import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show_similarity_of_two(keys: tuple[NetworkKey, NetworkKey], names: tuple[str, str]) -> None:
    """Offer the measurement where both networks have weights, and draw the matrices once it is done."""
    st.markdown(f"##### {t('comparison.similarity')}")
    if any(key.origin == "arch" for key in keys):
        st.caption(t("comparison.no_similarity"))
        return
    is_open = remember(
        st.toggle, t("comparison.measure_similarity"), key="similarity", default=False, help=t("comparison.cka_help")
    )
    images = _choose_images(keys) if is_open else None
    if images is None:
        return
    table: pd.DataFrame | None = result_of(Task("similarity", keys[0], (images, keys[1])), amount(images))
    if table is not None:
        _show(table, keys, names, images)


def _choose_images(keys: tuple[NetworkKey, NetworkKey]) -> ImagesKey | None:
    """Return images of the first network's data set that fit both; None where there are none, and the page says why."""
    from app.dashboard.widgets.data_picker import pick_images

    images = pick_images(keys[0])
    if images is None:
        return None
    try:
        loading.check_images(images, keys[1])
    except DataError as error:
        show_error(error)
        return None
    return images._replace(number=min(images.number, MAX_FOR_SIMILARITY))


def _show(table: pd.DataFrame, keys: tuple[NetworkKey, NetworkKey], names: tuple[str, str], images: ImagesKey) -> None:
    st.caption(t("comparison.similarity_note"))
    titles = {weights: t(f"comparison.weights.{weights}") for weights in ("trained", "untrained")}
    show_similarities(table, titles, t("comparison.similarity"), names)
    with take_home():
        draw = partial(loading.figure_file, _on_paper, "similarity_of_both", table, names)
        download_row("similarity_of_both", table, draw, "similarity_", _code(keys, names, images))


def show_similarities(
    table: pd.DataFrame, titles: dict[str, str], alt: str, networks: tuple[str, str] | None = None
) -> None:
    """Draw a matrix for each kind of weights, side by side, or one below the other on a phone.

    Args:
        table: as ``similarity_beside_untrained`` returns it.
        titles: by its values of the column weights, in their order.
        alt: what the matrices show, in words.
        networks: names of the two networks, down and across; None: the table is of one network.
    """
    from analysis.figures.prediction.similarity import similarity_screen

    with st.container(horizontal=True, key="pair_similarities"):
        for weights, title in titles.items():
            own = table[table["weights"] == weights]
            figure = similarity_screen({title: own}, t("prediction.cka"), networks)
            show_chart(figure, key=f"similarity_{weights}", alt=f"{alt}: {title}")


def _code(keys: tuple[NetworkKey, NetworkKey], names: tuple[str, str], images: ImagesKey) -> Code:
    imports = {
        "analysis": "save_figure",
        "analysis.figures.prediction.similarity": "similarity_figure",
        "analysis.prediction.similarity": "similarity_beside_untrained",
        "densenet_core.data.datasets": "load_test_images",
    }
    lines = [
        *(f"{name} = {load_expression(key)}" for name, key in zip(("first", "second"), keys, strict=True)),
        f"test = load_test_images({images.dataset!r}, {images.root!r}, {images.normalize!r})",
        f"table = similarity_beside_untrained(first, test, second, num_images={images.number})",
        'tables = dict(list(table.groupby("weights")))',
        f'save_figure(similarity_figure(tables, networks={names}), "similarity_of_both.pdf", table)',
    ]
    return plain_script(imports, lines, more=map(import_line, keys))


def _on_paper(table: pd.DataFrame, names: tuple[str, str]) -> Figure:
    from analysis.figures.prediction.similarity import similarity_figure

    return similarity_figure({str(weights): own for weights, own in table.groupby("weights")}, networks=names)
