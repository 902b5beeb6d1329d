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
from app.dashboard.memory import remember, remember_several
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
    measures, budget, x, repair = _choose()
    task = Task("pruning", key, (measures, budget, images, repair, loading.disk_cache(key)))
    curves = result_of(task, amount(images))
    if curves is None:
        return
    show_chart(pruning_screen(curves, x), key="pruning", alt=t("pruning.alt"), can_zoom=True)
    with take_home():
        draw = partial(loading.figure_file, pruning_figure, "pruning", curves, x, 1)
        code = pruning_code(key, images, measures, budget, repair, x)
        download_row("pruning", curves, draw, "", code)
    st.caption(t("pruning.note"))
    st.caption(t("pruning.command"))


def _choose() -> tuple[tuple[str, ...], Budget, str, str]:
    """Choose the orders in which connections are cut, what is counted as cut, the horizontal axis, and the repair."""
    orders = remember_several(
        st.multiselect,
        t("pruning.by"),
        options=ORDERS,
        key="pruning_measures",
        placeholder=t("common.choose_several"),
        default=DEFAULT,
        format_func=titles(ORDER_TITLES),
    )
    choices = {
        "budget": (get_args(Budget), names("pruning.budgets", get_args(Budget))),
        "x": (tuple(X_TITLES), titles(X_TITLES)),
        "repair": (REPAIRS, names("pruning.repairs", REPAIRS)),
    }
    labels = {"budget": t("pruning.budget"), "x": t("pruning.across"), "repair": t("pruning.repair")}
    budget, x, repair = (
        remember(
            column.selectbox,
            labels[name],
            options=options,
            key=f"pruning_{name}",
            default=options[0],
            format_func=words,
        )
        for column, (name, (options, words)) in zip(st.columns(3), choices.items(), strict=True)
    )
    return tuple(orders), budget, x, repair
