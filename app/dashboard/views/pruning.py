"""The Pruning page: what a network loses as its connections are cut, in each order and at random."""

from __future__ import annotations

from functools import partial
from typing import get_args

import streamlit as st

from analysis.figures.pruning import X_TITLES, pruning_figure, pruning_screen
from analysis.reuse.baselines import ORDER_TITLES, ORDERS
from analysis.reuse.pruning import Budget
from analysis.reuse.repair import REPAIRS
from app.dashboard import loading
from app.dashboard.charts import show_chart
from app.dashboard.jobs.task import Task
from app.dashboard.language import names, t, titles
from app.dashboard.widgets.data_picker import pick_images
from app.dashboard.widgets.downloads import download_row, take_home
from app.dashboard.widgets.handover import pruning_code
from app.dashboard.widgets.long_work import amount, result_of
from app.dashboard.widgets.network_picker import open_page

DEFAULT = ("mean_abs_weight", "total_abs_weight", "taylor")


def show() -> None:
    """Draw the page."""
    key = open_page(t("pruning.heading"))
    if key is None:
        return
    images = pick_images(key)
    if images is None:
        return
    a, b, c, d = st.columns([2, 1, 1, 1])
    budgets = get_args(Budget)
    measures = a.multiselect(
        t("pruning.by"),
        list(ORDERS),
        default=DEFAULT,
        format_func=titles(ORDER_TITLES),
        key="pruning_measures",
    )
    budget = b.selectbox(
        t("pruning.budget"), budgets, format_func=names("pruning.budgets", budgets), key="pruning_budget"
    )
    x = c.selectbox(t("pruning.across"), list(X_TITLES), format_func=titles(X_TITLES), key="pruning_x")
    repair = d.selectbox(
        t("pruning.repair"), REPAIRS, format_func=names("pruning.repairs", REPAIRS), key="pruning_repair"
    )
    task = Task("pruning", key, (tuple(measures), budget, images, repair, loading.disk_cache(key)))
    curves = result_of(task, amount(images))
    if curves is None:
        return
    show_chart(pruning_screen(curves, x), key="pruning", alt=t("pruning.alt"))
    with take_home():
        draw = partial(loading.figure_file, pruning_figure, "pruning", curves, x, 1)
        code = pruning_code(key, images, tuple(measures), budget, repair, x)
        download_row("pruning", curves, draw, code=code)
    st.caption(t("pruning.note"))
    st.caption(t("pruning.command"))
