"""The Efficiency page: what networks pay for their error, on the axes of the paper's Figures 3 and 4."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.claims.published import published_claims
from analysis.figures.efficiency.screen import SCREEN_AXIS_TITLES, efficiency_screen
from analysis.figures.style.words import ERROR_TITLES
from analysis.results.efficiency import pareto_front, parity
from app.dashboard import loading
from app.dashboard.caching import cache
from app.dashboard.charts import show_chart, show_legend
from app.dashboard.jobs.task import Task
from app.dashboard.keys import NetworkKey, file_key
from app.dashboard.language import names, t, titles, translated
from app.dashboard.memory import remember, remember_several
from app.dashboard.roots import in_served_folders, trained_runs
from app.dashboard.server.options import server_options
from app.dashboard.widgets.claim_cards import show_badge, statement
from app.dashboard.widgets.comparing import PAPER_COSTS, Results, efficiency_code, has_labels, results_code
from app.dashboard.widgets.downloads import download_row, only_these, screen_file, take_home
from app.dashboard.widgets.long_work import result_of
from app.dashboard.widgets.scripts import TABLE, joined, plain_script
from app.dashboard.widgets.tables import show_table_on_opening
from app.text import literal
from densenet_core.networks.names import spec_from_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST_DATASET = "ImageNet"
COSTS = ("params", "mult_adds", "activation_bytes", "images_per_s", "forward_ms")
FIRST_SOURCES = (  # the paper's tables and what it compares with, where a data set has them
    "Huang et al. 2017, Table 2",
    "Huang et al. 2017, Table 3",
    "fb.resnet.torch, pretrained models",
)
NUM_PASSES = 3
MAX_REASONS = 3  # why runs were skipped, in words
SHOWN = ["origin", "family", "model", "params", "params_printed", "mult_adds", "error", "spread", "seeds", "epochs"]


def show() -> None:
    """Draw the page."""
    st.subheader(t("efficiency.heading"), anchor=False)
    runs = trained_runs()
    _explore(Results(_choose_rows(_all_results(runs)), tuple(map(str, runs))))
    _show_claims()
    with st.expander(t("efficiency.counted"), icon=":material/function:"):
        st.markdown(t("efficiency.notes"))


@st.fragment
def _explore(results: Results) -> None:
    """The picture of the chosen results: a change of its controls reads no runs again."""
    with only_these("efficiency"):
        _draw(results)


class Axes(NamedTuple):
    """The picture's cost, whether its scale is logarithmic, and whether it shows the Pareto fronts."""

    cost: str
    log: bool
    pareto: bool


def _draw(results: Results) -> None:
    axes = _choose_axes()
    cost = axes.cost
    if cost == "forward_ms":
        measured = _with_latency(results)
        if measured is None:
            return
        results = measured
    rows = results.rows
    drawn = rows.dropna(subset=[cost]) if cost in rows else rows.head(0)
    results = results._replace(rows=drawn)
    if drawn.empty:
        st.info(t("efficiency.none"))
        return
    _show_picture(results, axes, len(rows))
    _show_parity(rows)
    _show_table(results, cost)


def _show_picture(results: Results, axes: Axes, num_chosen: int) -> None:
    """Draw the results, and say how many of the chosen ones lack the cost."""
    screen, drawn = efficiency_screen(results.rows, *axes), len(results.rows)
    alt = t("efficiency.alt", cost=translated(SCREEN_AXIS_TITLES[axes.cost]))
    show_chart(go.Figure(screen).update_layout(showlegend=False), key="efficiency", alt=alt, can_zoom=True)
    show_legend(screen)
    if (results.rows["seeds"] > 1).any():
        st.caption(t("efficiency.seeds"))
    if drawn < num_chosen:
        label = t(f"efficiency.costs.{axes.cost}")
        st.caption(t("efficiency.not_drawn", missing=num_chosen - drawn, all=num_chosen, cost=label))
    _show_downloads(results, axes, screen)


def _all_results(runs: list[Path]) -> pd.DataFrame:
    table = _results_table(tuple(file_key(run) for run in runs))
    if table.attrs["skipped"]:
        _warn_of(table.attrs["skipped"])
    return table


@cache(4, spinner="results")
@in_served_folders()
def _results_table(runs: tuple[NetworkKey, ...]) -> pd.DataFrame:
    """Return published results, and the results of the suite's sweeps, its zoo and these run folders."""
    from analysis.results.results import known_results
    from analysis.reuse.measuring import cache_folder

    keep_in = None if server_options().read_only else cache_folder()
    return known_results([key.name for key in runs], keep_in)


def _warn_of(skipped: list[str]) -> None:
    """One message, however many runs can't be read."""
    words = [t("efficiency.skipped", reason=literal(reason)) for reason in skipped[:MAX_REASONS]]
    if len(skipped) > MAX_REASONS:
        words.append(t("efficiency.skipped_too", number=len(skipped) - MAX_REASONS))
    st.warning("\n\n".join(words), icon=":material/warning:")


def _choose_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one data set, kind of error, and the chosen sources and families."""
    rows, dataset, kind = _choose_error(table)
    published = sorted(rows.loc[rows["origin"] == "published", "source"].unique())
    if published:
        sources = _choose_sources(published, f"{dataset} {kind}")
        rows = rows[(rows["origin"] == "measured") | rows["source"].isin(sources)]
    families = sorted(rows["family"].unique())
    chosen = remember_several(
        st.sidebar.pills,
        t("efficiency.families"),
        options=families,
        key=f"families {dataset} {len(families)}",
        name="families",
        default=families,
        selection_mode="multi",
    )
    shown: pd.DataFrame = rows[rows["family"].isin(chosen)]
    return shown


def _choose_sources(published: list[str], place: str) -> list[str]:
    chosen: list[str] = remember_several(
        st.multiselect,
        t("efficiency.sources"),
        options=published,
        key=f"sources {place}",
        name="sources",
        placeholder=t("common.choose_several"),
        default=[source for source in published if source in FIRST_SOURCES] or published,
    )
    return chosen


def _choose_error(table: pd.DataFrame) -> tuple[pd.DataFrame, str, str]:
    """Return the rows of one data set and kind of error, and both."""
    with st.sidebar:
        st.subheader(t("efficiency.results"), anchor=False)
        datasets = list(table["dataset"].value_counts().index)
        dataset = remember(
            st.selectbox, t("efficiency.dataset"), options=datasets, key="dataset", default=FIRST_DATASET
        )
        rows = table[table["dataset"] == dataset]
        kinds = [kind for kind in ERROR_TITLES if kind in set(rows["error_kind"])]
        kind = remember(
            st.selectbox,
            t("efficiency.error"),
            options=kinds,
            key=f"error_kind {dataset}",
            name="error_kind",
            default=kinds[0],
            format_func=titles(ERROR_TITLES),
        )
    return rows[rows["error_kind"] == kind], dataset, kind


def _choose_axes() -> Axes:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        cost = remember(
            st.segmented_control,
            t("efficiency.cost"),
            options=COSTS,
            key="cost",
            default=COSTS[0],
            format_func=names("efficiency.costs", COSTS),
            required=True,
            wrap=True,
        )
        log = remember(st.toggle, t("efficiency.log"), key="log", default=True)
        pareto = remember(st.toggle, t("efficiency.pareto"), key="pareto", default=True)
    return Axes(cost, log, pareto)


def _with_latency(results: Results) -> Results | None:
    """Return the rows with their networks' time on this machine, if they can be built; None until it is measured."""
    rows = results.rows
    archs = tuple(sorted(rows["arch"].dropna().unique()))
    is_imagenet = bool((rows["dataset"] == "ImageNet").any())
    size = 224 if is_imagenet else 32
    if not archs:
        return results
    specs = tuple(spec_from_name(arch, 1000 if is_imagenet else 10) for arch in archs)
    task = Task("latency", None, (archs, specs, size, NUM_PASSES, False))
    times = result_of(task, t("efficiency.measure", number=len(archs), size=size))
    if times is None:
        return None
    st.caption(t("efficiency.median", hardware=literal(str(times["hardware"].iloc[0]))))
    took = rows["arch"].map(dict(zip(times["network"], times["forward_ms"], strict=True)))
    specs_by_name = dict(zip(archs, specs, strict=True))
    return Results(rows.assign(forward_ms=took), results.runs, specs_by_name, size, NUM_PASSES)


def _show_downloads(results: Results, axes: Axes, screen: go.Figure) -> None:
    paper = partial(loading.figure_file, _on_paper, "efficiency", results.rows, axes.cost, axes.log)
    draw = paper if axes.cost in PAPER_COSTS else partial(screen_file, screen)
    with take_home():
        download_row(f"error_vs_{axes.cost}", results.rows, draw, "", efficiency_code(results, *axes))


def _on_paper(results: pd.DataFrame, cost: str, log: bool) -> Figure:
    from analysis.figures.efficiency.paper import efficiency_figure

    return efficiency_figure(results, costs=(cost,), log=log, label_points=has_labels(results))


def _show_parity(rows: pd.DataFrame) -> None:
    st.markdown(f"##### {t('efficiency.parity')}")
    costed = rows.dropna(subset=["params"])
    families = sorted(costed["family"].unique())
    if len(families) < 2:
        st.caption(t("efficiency.two_families"))
        return
    ours, theirs = st.columns(2)
    family = remember(
        ours.selectbox,
        t("efficiency.what_would"),
        options=families,
        key="parity_family",
        default="DenseNet-BC" if "DenseNet-BC" in families else families[0],
    )
    others = costed[costed["family"] != family].sort_values("error")
    models = list(others["model"].unique())
    model = remember(theirs.selectbox, t("efficiency.need"), options=models, key="parity_model", default=models[0])
    reference = others[others["model"] == model].iloc[0]
    for cost in ("params", "mult_adds"):
        if pd.notna(reference[cost]) and costed.loc[costed["family"] == family, cost].notna().any():
            st.markdown(f"- {literal(translated(str(parity(costed, family, reference, cost))))}.")
    st.caption(t("efficiency.interpolated"))


def _show_table(results: Results, cost: str) -> None:
    """Draw the table of what is drawn, with what is on the Pareto front, on opening."""
    columns = [*SHOWN, *([cost] if cost not in SHOWN else []), "source", "note", "on_front"]
    ranked = cost if cost != "forward_ms" else "params"
    lines = [
        f"table = table.assign(on_front=pareto_front(table, {ranked!r}))",
        f'save_table(table[{columns}], "efficiency_table.csv")',
    ]
    imports = joined(TABLE, {"analysis.results.efficiency": "pareto_front"})
    show_table_on_opening(
        t("common.table"),
        lambda: results.rows.assign(on_front=pareto_front(results.rows, ranked))[columns],
        key="efficiency_table",
        code=results_code(results, cost, imports, lines),
    )


def _show_claims() -> None:
    claims = published_claims()
    with st.expander(t("efficiency.claims"), icon=":material/fact_check:"):
        for claim in claims.itertuples():
            words, badge = st.columns([4, 1])
            words.markdown(f"{statement(claim)}  \n:gray[{literal(translated(str(claim.reason)))}]")
            with badge:
                show_badge(str(claim.verdict))
        with take_home():
            imports = joined(TABLE, {"analysis.claims.published": "published_claims"})
            code = plain_script(imports, ['save_table(published_claims(), "efficiency_claims.csv")'])
            download_row("efficiency_claims", claims, None, "efficiency_claims_", code)
