"""The Pruning page: what a network loses as its connections are cut, in each order and at random."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import pandas as pd
import streamlit as st

from analysis.figures.pruning import X_TITLES, pruning_figure, pruning_screen
from analysis.reuse.baselines import ORDERS, PATTERNS
from analysis.reuse.pruning import Budget
from analysis.reuse.repair import REPAIRS, Repair
from app.dashboard import loading
from app.dashboard.caching import cached
from app.dashboard.charts import show_chart
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import names, t
from app.dashboard.widgets.data_picker import pick_images
from app.dashboard.widgets.downloads import download_row, take_home
from app.dashboard.widgets.network_picker import pick_network
from app.text import literal

if TYPE_CHECKING:
    from densenet_core.data.images import Images
    from densenet_core.data.names import Normalization

DEFAULT = ("mean_abs_weight", "total_abs_weight", "taylor")


def show() -> None:
    """Draw the page."""
    st.subheader(t("pruning.heading"), anchor=False)
    key = pick_network()
    if key is None:
        st.write(t("common.choose_network"))
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
        format_func=names("measures", ORDERS),
        key="pruning_measures",
    )
    budget = b.selectbox(
        t("pruning.budget"), budgets, format_func=names("pruning.budgets", budgets), key="pruning_budget"
    )
    x = c.selectbox(t("pruning.across"), list(X_TITLES), format_func=names("pruning_axes", X_TITLES), key="pruning_x")
    repair = d.selectbox(
        t("pruning.repair"), REPAIRS, format_func=names("pruning.repairs", REPAIRS), key="pruning_repair"
    )
    try:
        curves = _pruning_table(key, tuple(measures), budget, images, repair)
    except ValueError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    show_chart(pruning_screen(curves, x), key="pruning", alt=t("pruning.alt"))
    with take_home():
        download_row("pruning", curves, partial(loading.figure_file, pruning_figure, "pruning", curves, x, 1))
    st.caption(t("pruning.note"))
    st.caption(t("pruning.command"))


@cached(16, spinner="pruning")
def _pruning_table(
    key: NetworkKey, measures: tuple[str, ...], budget: Budget, images: ImagesKey, repair: Repair
) -> pd.DataFrame:
    """Return the error as connections are cut, in each order and at random."""
    from analysis.reuse.measuring import measure_reuse
    from analysis.reuse.pruning import pruning_curves
    from densenet_core.data.images import evenly_spaced

    chosen_by, judged_by = _measuring_images(images.dataset, images.root, images.normalize)
    network = loading.load(key)
    measured = [order for order in measures if order not in PATTERNS]
    table = measure_reuse(network, measured, chosen_by, images.number, keep_in=loading.disk_cache(key))
    training = evenly_spaced(chosen_by, images.number)
    how: dict[str, Any] = {"budget": budget, "num_images": images.number, "repair": repair, "training": training}
    return pruning_curves(network, table, measures, judged_by, **how)


@cached(2, spinner="images", copies=False)
def _measuring_images(dataset: str, root: str, normalize: Normalization | None) -> tuple[Images, Images]:
    from densenet_core.data.datasets import load_measuring_images

    return load_measuring_images(dataset, root, normalize)
