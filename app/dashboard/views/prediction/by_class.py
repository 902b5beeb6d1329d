"""Which connections each class needs: the ablation by true class, for all classes in one job."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.figures.figure_5 import feature_reuse_screen
from app.dashboard import loading
from app.dashboard.charts import show_chart
from app.dashboard.jobs.task import Task
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import t
from app.dashboard.memory import remembered
from app.dashboard.widgets.downloads import download_row, take_home
from app.dashboard.widgets.long_work import amount, result_of

CELL = ["block", "source_layer", "target_layer"]


def show_by_class(key: NetworkKey, images: ImagesKey) -> None:
    """Offer the measurement, and draw the heatmap of one class once it is done."""
    with st.expander(t("prediction.by_class"), icon=":material/category:", key="prediction_by_class"):
        st.caption(t("prediction.by_class_note"))
        found: pd.DataFrame | None = result_of(Task("by_class", key, (images, loading.disk_cache(key))), amount(images))
        if found is None:
            return
        titles = loading.load_images(images).class_names
        classes = sorted(int(number) for number in found["class"].unique())
        number = remembered(
            st.selectbox,
            t("prediction.class"),
            options=classes,
            key="by_class",
            default=classes[0],
            format_func=titles.__getitem__,
        )
        own = found.loc[found["class"] == number, [*CELL, "ablation"]]
        table = loading.measured_table(key, (), None).merge(own, on=CELL, how="left")
        show_chart(feature_reuse_screen(table, "ablation", None, "viridis"), "by_class_heatmap", t("reuse.alt"))
        with take_home():
            download_row("reuse_by_class", found, None, key="by_class_")
