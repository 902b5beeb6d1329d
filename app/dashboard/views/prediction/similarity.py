"""Similarity of the outputs of all layers, beside the untrained network's."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from analysis.figures.prediction.similarity import similarity_figure
from app.dashboard import loading
from app.dashboard.jobs.task import Task
from app.dashboard.jobs.work import MAX_FOR_SIMILARITY
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import t
from app.dashboard.views.prediction.code import dataset_code
from app.dashboard.views.two_similarities import show_similarities
from app.dashboard.widgets.downloads import download_row, take_home
from app.dashboard.widgets.handover import Code
from app.dashboard.widgets.long_work import amount, result_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from app.dashboard.views.prediction.overview import Shown


def show_similarity(shown: Shown) -> None:
    """Offer the measurement, and draw the two matrices once it is done."""
    images = shown.chosen.images
    assert images is not None
    images = images._replace(number=min(images.number, MAX_FOR_SIMILARITY))
    table: pd.DataFrame | None = result_of(Task("similarity", shown.key, (images,)), amount(images))
    if table is None:
        return
    titles = {weights: t(f"prediction.weights.{weights}") for weights in ("trained", "untrained")}
    show_similarities(table, titles, t("prediction.similarity_alt"))
    with take_home():
        draw = partial(loading.figure_file, _on_paper, "layer_similarity", table)
        download_row("layer_similarity", table, draw, "similarity_", _code(shown.key, images))


def _code(key: NetworkKey, images: ImagesKey) -> Code:
    imports = {
        "analysis": "save_figure",
        "analysis.figures.prediction.similarity": "similarity_figure",
        "analysis.prediction.similarity": "similarity_beside_untrained",
    }
    lines = [
        f"table = similarity_beside_untrained(network, test, num_images={images.number})",
        'tables = dict(list(table.groupby("weights")))',
        'save_figure(similarity_figure(tables), "layer_similarity.pdf", table)',
    ]
    return dataset_code(key, images, imports, lines)


def _on_paper(table: pd.DataFrame) -> Figure:
    return similarity_figure({str(weights): own for weights, own in table.groupby("weights")})
