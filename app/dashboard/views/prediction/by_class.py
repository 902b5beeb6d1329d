"""Which connections each class needs: the ablation by true class, for all classes in one job."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from analysis.figures.figure_5 import feature_reuse_figure, feature_reuse_screen
from analysis.figures.prediction.decision import decision_figure, decision_screen, matrix_figure
from analysis.figures.prediction.similarity import matrix_screen
from analysis.prediction.by_class import class_profiles, cluster_classes, confusion_pairs
from analysis.reuse.measures import PLACE
from app.dashboard import loading
from app.dashboard.charts import show_blocks, show_chart
from app.dashboard.jobs.task import Task
from app.dashboard.language import names, t
from app.dashboard.memory import remember
from app.dashboard.views.prediction.code import dataset_code
from app.dashboard.widgets.downloads import download_row, take_home
from app.dashboard.widgets.handover import Code
from app.dashboard.widgets.long_work import amount, result_of
from app.dashboard.widgets.scripts import Imports, joined
from app.dashboard.widgets.tables import show_rows
from densenet_core import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from app.dashboard.keys import ImagesKey, NetworkKey
    from app.dashboard.views.prediction.overview import Shown

MEASURES = ("ablation", "difference")


def show_by_class(shown: Shown) -> None:
    """Offer the measurement, and draw the heatmap of one class, clusters and confusions once it is done."""
    key, images = shown.key, shown.chosen.images
    assert images is not None
    found: pd.DataFrame | None = result_of(Task("by_class", key, (images, loading.disk_cache(key))), amount(images))
    if found is None:
        return
    left, right = st.columns(2)
    classes = sorted(int(number) for number in found["class"].unique())
    number: int = remember(
        left.selectbox,
        t("prediction.class"),
        options=classes,
        key="by_class",
        default=classes[0],
        format_func=shown.titles.__getitem__,
    )
    measure: str = remember(
        right.segmented_control,
        t("prediction.shown"),
        options=MEASURES,
        key="by_class_measure",
        default=MEASURES[0],
        format_func=names("prediction.class_measures", MEASURES),
        required=True,
    )
    if measure == "ablation":
        _show_heatmap(key, images, found, number)
    else:
        _show_difference(key, images, found, number)
    left, right = st.columns(2, gap="medium")
    with left:
        _show_clusters(shown, images, found)
    with right:
        _show_confusions(shown, images, found)


def _show_heatmap(key: NetworkKey, images: ImagesKey, found: pd.DataFrame, number: int) -> None:
    own = found.loc[found["class"] == number, [*PLACE, "ablation"]]
    table = loading.measured_table(key, (), None).merge(own, on=PLACE, how="left")
    draw_screen = partial(feature_reuse_screen, table, "ablation", None, "viridis")
    show_blocks(lambda block: draw_screen(only=block), _blocks(table), "by_class_heatmap", t("reuse.alt"))
    with take_home():
        draw = partial(loading.figure_file, _heatmap_on_paper, f"reuse_by_class {number}", table)
        imports = {"analysis": "connection_weights, feature_reuse_figure, save_figure"}
        lines = [
            f"own = found.loc[found['class'] == {number}, {[*PLACE, 'ablation']}]",
            f"table = connection_weights(network).merge(own, on={PLACE}, how='left')",
            "figure = feature_reuse_figure(table, 'ablation', None, 'viridis')",
            'save_figure(figure, "reuse_by_class.pdf", found)',
        ]
        download_row("reuse_by_class", found, draw, "by_class_", _code(key, images, imports, lines))


def _blocks(table: pd.DataFrame) -> list[int]:
    return sorted(int(block) for block in table["block"].unique())


def _heatmap_on_paper(table: pd.DataFrame) -> Figure:
    return feature_reuse_figure(table, "ablation", None, "viridis")


def _show_difference(key: NetworkKey, images: ImagesKey, found: pd.DataFrame, number: int) -> None:
    """Show the class's need of each connection minus the mean over classes."""
    own = class_profiles(found).T[number].reset_index(name="ablation")
    table = loading.measured_table(key, (), None).merge(own, on=PLACE, how="left")
    alt = t("prediction.difference_alt")
    show_blocks(
        lambda block: decision_screen(table, "ablation", only=block), _blocks(table), "by_class_difference", alt
    )
    with take_home():
        draw = partial(loading.figure_file, decision_figure, f"class_difference {number}", table, "ablation")
        imports = {
            "analysis": "connection_weights, save_figure",
            "analysis.figures.prediction.decision": "decision_figure",
            "analysis.prediction.by_class": "class_profiles",
        }
        lines = [
            f"own = class_profiles(found).T[{number}].reset_index(name='ablation')",
            f"table = connection_weights(network).merge(own, on={PLACE}, how='left')",
            "save_figure(decision_figure(table, 'ablation'), \"class_difference.pdf\", table)",
        ]
        download_row("class_difference", table, draw, "difference_", _code(key, images, imports, lines))


def _code(key: NetworkKey, images: ImagesKey, imports: Imports, lines: list[str]) -> Code:
    """Return code about the reuse by class, which it opens as ``found``."""
    more = {"analysis.prediction.by_class": "reuse_by_class"}
    measured = f"found = reuse_by_class(network, test, num_images={images.number})"
    return dataset_code(key, images, joined(more, imports), [measured, *lines])


def _show_clusters(shown: Shown, images: ImagesKey, found: pd.DataFrame) -> None:
    st.markdown(f"##### {t('prediction.clusters')}")
    try:
        clustered = cluster_classes(found)
    except DataError:
        st.caption(t("prediction.too_few_classes"))
        return
    labels = [shown.titles[int(number)] for number in clustered.index]
    show_chart(
        matrix_screen(clustered, labels, t("prediction.correlation"), -1, 1), "class_clusters", t("prediction.clusters")
    )
    table = clustered.set_axis(labels, axis=0).set_axis(labels, axis=1).rename_axis("class").reset_index()
    with take_home():
        draw = partial(loading.figure_file, partial(_clusters_on_paper, clustered, labels), "class_clusters", table)
        imports = {
            "analysis": "save_figure",
            "analysis.figures.prediction.decision": "matrix_figure",
            "analysis.prediction.by_class": "cluster_classes",
        }
        lines = [
            "clustered = cluster_classes(found)",
            "names = [test.class_names[number] for number in clustered.index]",
            "table = clustered.set_axis(names, axis=0).set_axis(names, axis=1).rename_axis('class').reset_index()",
            "figure = matrix_figure(clustered, names, 'correlation', -1, 1)",
            'save_figure(figure, "class_clusters.pdf", table)',
        ]
        download_row("class_clusters", table, draw, "clusters_", _code(shown.key, images, imports, lines))


def _clusters_on_paper(clustered: pd.DataFrame, labels: list[str], _: pd.DataFrame) -> Figure:
    return matrix_figure(clustered, labels, "correlation", -1, 1)


def _show_confusions(shown: Shown, images: ImagesKey, found: pd.DataFrame) -> None:
    st.markdown(f"##### {t('prediction.confusions')}")
    st.caption(t("prediction.confusions_note"))
    pairs = confusion_pairs(found)
    if pairs.empty:
        st.caption(t("prediction.no_confusions"))
        return
    rows = [
        {
            t("reuse.cell"): t(
                "reuse.cell_text", block=row["block"], source=row["source_layer"], target=row["target_layer"]
            ),
            t("prediction.class"): shown.titles[row["class"]],
            t("prediction.taken_for"): shown.titles[row["predicted"]],
            t("prediction.images"): f"{row['images']:+d}",
        }
        for row in pairs.to_dict("records")
    ]
    show_rows(rows)
    with take_home():
        imports = {"analysis.figures.export": "save_table", "analysis.prediction.by_class": "confusion_pairs"}
        code = _code(shown.key, images, imports, ['save_table(confusion_pairs(found), "confusions.csv")'])
        download_row("confusions", pairs, None, "confusions_", code)
