"""The Agreement page: whether two measures of feature reuse order connections alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from analysis.figures.agreement import agreement_figure, agreement_screen
from analysis.reuse.agreement import Agreement, agreement, agreement_table, disagreements
from analysis.reuse.baselines import BASELINE_TITLES
from analysis.reuse.measures import IMAGE_MEASURES, MEASURE_TITLES, MEASURES
from app.dashboard import loading
from app.dashboard.charts import show_chart
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import names, t, titles, translated
from app.dashboard.memory import remember
from app.dashboard.refusals import show_error
from app.dashboard.widgets.data_picker import pick_images
from app.dashboard.widgets.downloads import download_row, take_home
from app.dashboard.widgets.handover import Code, agreement_code, reuse_table_code
from app.dashboard.widgets.long_work import measure_or_offer
from app.dashboard.widgets.network_picker import open_page
from app.dashboard.widgets.tables import show_rows
from app.text import decimal, literal

RESAMPLES = 200  # of the intervals in the table
KINDS = ("dense_layer", "transition", "classifier", None)


class Compared(NamedTuple):
    """Two measures, and the kind of targets whose connections are compared (None: all)."""

    first: str
    second: str
    kind: str | None


def show() -> None:
    """Draw the page."""
    key = open_page(t("agreement.heading"))
    if key is None:
        return
    compared = _choose()
    wanted = tuple(measure for measure in compared[:2] if measure in IMAGE_MEASURES)
    images = pick_images(key) if wanted else None
    table = _table(key, wanted, images)
    if table is None:
        return
    try:
        found = agreement(table, *compared)
    except ValueError as error:
        st.info(literal(str(error)), icon=":material/info:")
        return
    _show_numbers(found)
    if MEASURES[compared.first].comparable == "target":
        st.caption(t("agreement.share"))
    table_code = partial(reuse_table_code, key, images, compared[:2])
    left, right = st.columns(2, gap="medium")
    with left:
        _show_ranks(table, compared, agreement_code(key, images, *compared))
    with right:
        _show_disagreements(table, compared, table_code)
    _show_structure(table, compared, table_code)
    with st.expander(t("common.computed"), icon=":material/function:"):
        st.markdown(t("agreement.definitions"))


def _choose() -> Compared:
    a, b, c = st.columns(3)
    words = titles(MEASURE_TITLES)
    first = remember(
        a.selectbox,
        t("agreement.first"),
        options=MEASURES,
        key="agreement_first",
        default=next(iter(MEASURES)),
        format_func=words,
    )
    others = [measure for measure in MEASURES if measure != first]
    second = remember(
        b.selectbox,
        t("agreement.second"),
        options=others,
        key="agreement_second",
        default="ablation" if "ablation" in others else others[0],
        format_func=words,
    )
    kind = remember(
        c.selectbox,
        t("agreement.into"),
        options=KINDS,
        key="agreement_kind",
        default=KINDS[0],
        format_func=names("agreement.kinds", KINDS),
    )
    return Compared(first, second, kind)


def _table(key: NetworkKey, wanted: tuple[str, ...], images: ImagesKey | None) -> pd.DataFrame | None:
    """Return the table with the measures on images; None without images, or until the work is done."""
    if wanted and images is None:
        return None
    try:
        return measure_or_offer(key, wanted, images)
    except ValueError as error:
        show_error(error)
        return None


def _show_numbers(found: Agreement) -> None:
    columns = st.columns(4)
    columns[0].metric(t("agreement.correlation"), decimal(found.spearman), border=True)
    columns[1].metric(t("agreement.interval"), _range(found.low, found.high), border=True)
    columns[2].metric(t("agreement.within"), decimal(found.within_targets), border=True)
    columns[3].metric(
        t("agreement.overlap", top=found.top), "–" if math.isnan(found.overlap) else f"{found.overlap:.0%}", border=True
    )
    if not math.isnan(found.reliability):
        st.caption(
            f"{t('agreement.reliability')}: **{found.reliability:.2f}**  ·  "
            f"{t('agreement.corrected')}: **{found.corrected:.2f}**"
        )


def _range(low: Any, high: Any) -> str:
    """Return an interval in words, or a dash where it is not defined."""
    return "–" if math.isnan(low) else t("agreement.range", low=decimal(low), high=decimal(high))


def _show_ranks(table: pd.DataFrame, compared: Compared, code: Code) -> None:
    """Draw each connection's rank by both measures."""
    show_chart(agreement_screen(table, *compared), key="agreement", alt=t("agreement.alt"), can_zoom=True)
    with take_home():
        draw = partial(loading.figure_file, agreement_figure, "agreement", table, *compared)
        download_row(f"agreement_{compared.first}_{compared.second}", table, draw, "", code)


def _show_structure(table: pd.DataFrame, compared: Compared, code: Callable[[str, str, str], Code]) -> None:
    """Show the first measure beside the structural baselines, with and without the block's input."""
    first, second, kind = compared
    rows = agreement_table(table, second, (first,), kind, resamples=RESAMPLES)
    title = titles(MEASURE_TITLES | BASELINE_TITLES)
    inputs = {True: t("agreement.with_input"), False: t("agreement.without_input")}
    st.markdown(f"**{t('agreement.structure')}**")
    shown = pd.DataFrame(
        {
            t("reuse.measure"): rows["measure"].map(title),
            " ": rows["block_input"].map(inputs),
            t("agreement.correlation"): rows["spearman"].round(2),
            t("agreement.interval"): [_range(r.low, r.high) for r in rows.itertuples()],
            t("agreement.by_source"): [_range(r.low_by_source, r.high_by_source) for r in rows.itertuples()],
            t("agreement.within"): rows["within_targets"].round(2),
        }
    )
    show_rows(shown)
    with take_home():
        imports = "from analysis.reuse.agreement import agreement_table"
        result = f"agreement_table(table, {second!r}, {(first,)}, {kind!r}, resamples={RESAMPLES})"
        name = "agreement_with_structure"
        download_row(name, rows, None, "structure_", code(imports, result, name))


def _show_disagreements(table: pd.DataFrame, compared: Compared, code: Callable[[str, str, str], Code]) -> None:
    first, second, kind = compared
    rows = disagreements(table, *compared)
    st.markdown(f"**{t('agreement.differ')}**")
    shown = pd.DataFrame(
        {
            t("columns.block"): rows["block"],
            t("columns.source_layer"): rows["source_layer"],
            t("columns.target_layer"): rows["target_layer"],
            translated(MEASURE_TITLES[first]): rows[first].map("{:.3g}".format),
            t("columns.rank"): rows[f"rank_{first}"].round(2),
            translated(MEASURE_TITLES[second]): rows[second].map("{:.3g}".format),
            t("columns.rank") + " ": rows[f"rank_{second}"].round(2),
        }
    )
    show_rows(shown)
    with take_home():
        imports = "from analysis.reuse.agreement import disagreements"
        result = f"disagreements(table, {first!r}, {second!r}, {kind!r})"
        download_row("disagreements", rows, None, "disagreements_", code(imports, result, "disagreements"))
