"""The Comparison page: two networks side by side."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from analysis.architecture.comparison import compare, compare_stages
from analysis.architecture.cost import usual_input_size
from analysis.figures.stage_costs import stage_cost_figure, stages_screen
from app.dashboard import loading
from app.dashboard.charts import show_chart
from app.dashboard.jobs.task import Task
from app.dashboard.keys import NetworkKey
from app.dashboard.language import t
from app.dashboard.memory import remember
from app.dashboard.refusals import show_error
from app.dashboard.views.training.curves import show_curves
from app.dashboard.views.two_heatmaps import show_reuse
from app.dashboard.views.two_similarities import show_similarity_of_two
from app.dashboard.widgets.comparing import compared_table_code, comparison_code, latency_code
from app.dashboard.widgets.downloads import download_row, take_home
from app.dashboard.widgets.handover import Code
from app.dashboard.widgets.long_work import result_of
from app.dashboard.widgets.network_picker import pick_network
from app.dashboard.widgets.tables import show_numbers, show_table, show_table_on_opening
from app.text import format_value, literal, network_name
from densenet_core import RunError
from densenet_core.networks.spec import Spec
from densenet_core.training.runs.files import METRICS

QUANTITIES = (
    "depth",
    "params",
    "mult_adds",
    "other_ops",
    "weight_bytes",
    "training_activation_bytes",
    "receptive_field",
    "shortest_path",
)
NUM_PASSES = 5
LATENCIES = ("network", "forward_ms", "images_per_s", "step_ms", "kept_bytes")


def show() -> None:
    """Draw the page."""
    st.subheader(t("comparison.heading"), anchor=False)
    sides = {"a": t("comparison.first"), "b": t("comparison.second")}
    keys = [pick_network(title, side, with_names=True) for side, title in sides.items()]
    if keys[0] is None or keys[1] is None:
        st.write(t("comparison.choose"))
        return
    both = (keys[0], keys[1])
    specs, records = _name_networks(both)
    size = _choose_input_size(specs, records)
    try:
        table, stages = compare(specs, size), compare_stages(specs, size)
    except ValueError as error:
        show_error(error)
        return
    named = dict(zip(specs, both, strict=True))
    _show_quantities(table, records, compared_table_code(named, "compare", size, "comparison", ".reset_index()"))
    first, second = specs
    show_reuse(both, (first, second))
    show_similarity_of_two(both, (first, second))
    _show_stages(stages, named, size)
    _show_latency(specs, size)
    _show_curves(both, records)


def _name_networks(keys: tuple[NetworkKey, NetworkKey]) -> tuple[dict[str, Spec], dict[str, dict[str, Any]]]:
    """Specs and records under names that differ."""
    found = [loading.spec_and_record(key) for key in keys]
    names = [network_name(key.origin, key.name, spec) for key, (spec, _) in zip(keys, found, strict=True)]
    if names[0] == names[1]:
        names[1] = t("comparison.again", network=names[1])
    return (
        {name: spec for name, (spec, _) in zip(names, found, strict=True)},
        {name: record for name, (_, record) in zip(names, found, strict=True)},
    )


def _choose_input_size(specs: dict[str, Spec], records: dict[str, dict[str, Any]]) -> int:
    first = next(iter(specs))
    size = usual_input_size(specs[first], records[first])
    chosen = remember(
        st.number_input,
        t("comparison.input"),
        limits=(1, 2048),
        key=f"input {size}",
        name="input",
        default=size,
        width=200,
    )
    return int(chosen)


def _show_quantities(table: pd.DataFrame, records: dict[str, dict[str, Any]], code: Code) -> None:
    names = list(table.columns)
    rows = []
    for quantity in QUANTITIES:
        a, b = (int(table[name][quantity]) for name in names)
        label, ratio = t(f"comparison.quantities.{quantity}"), t("comparison.ratio")
        rows.append({"": label, names[0]: f"{a:,}", names[1]: f"{b:,}", ratio: f"{a / b:.2f}"})
    errors = {name: _test_error(records[name]) for name in names}
    if any(errors.values()):
        unknown = t("comparison.not_known")
        rows.append({"": t("comparison.test_error"), **{name: errors[name] or unknown for name in names}})
    quantities = pd.DataFrame(rows).fillna("")
    show_numbers(quantities.rename(columns=literal).map(literal).set_index(""), key="quantities")
    with take_home():
        download_row("comparison", table.reset_index(), None, "quantities_", code)


def _test_error(record: dict[str, Any]) -> str:
    if "test_error" not in record:
        return ""
    error = format_value(record["test_error"], "{:.2f} %")
    dataset = record.get("dataset", t("comparison.unknown_data"))
    return t("comparison.reached", error=error, dataset=dataset, epochs=record.get("epochs", "?"))


def _show_stages(stages: pd.DataFrame, named: dict[str, NetworkKey], size: int) -> None:
    st.markdown(f"##### {t('comparison.by_stage')}")
    with st.container(horizontal=True, key="pair_stages"):
        show_chart(stages_screen(stages, "params"), key="stages_params", alt=t("comparison.stages_alt"))
        show_chart(stages_screen(stages, "mult_adds"), key="stages_mult_adds", alt=t("comparison.stages_alt"))
    with take_home():
        draw = partial(loading.figure_file, stage_cost_figure, "stages", stages)
        download_row("costs_by_stage", stages, draw, "stages_", comparison_code(named, size))
    code = compared_table_code(named, "compare_stages", size, "stages_table")
    show_table_on_opening(t("comparison.stages_table"), lambda: stages, key="stages_table", code=code)


def _show_latency(specs: dict[str, Spec], size: int) -> None:
    st.markdown(f"##### {t('comparison.measured')}")
    task = Task("latency", None, (tuple(specs), tuple(specs.values()), size, NUM_PASSES, True))
    times = result_of(task, t("comparison.measure"))
    if times is None:
        st.caption(t("comparison.takes"))
        return
    show_table(times[list(LATENCIES)])
    with take_home():
        download_row("latency", times, None, "latency_", latency_code(specs, size, NUM_PASSES, training=True))
    st.caption(t("comparison.median", size=size, hardware=literal(str(times["hardware"].iloc[0]))))


def _show_curves(keys: tuple[NetworkKey, NetworkKey], records: dict[str, dict[str, Any]]) -> None:
    st.markdown(f"##### {t('comparison.curves')}")
    runs = {name: Path(key.name) for name, key in zip(records, keys, strict=True) if key.origin == "file"}
    if len(runs) < 2 or not all((folder / METRICS).is_file() for folder in runs.values()):
        st.caption(t("comparison.no_curves"))
        return
    datasets = sorted({str(records[name].get("dataset")) for name in runs})
    mix = t("comparison.mix", datasets=literal(", ".join(datasets)))
    if len(datasets) > 1 and not remember(st.toggle, mix, key="mix", default=False):
        st.warning(t("comparison.differ", first=literal(datasets[0]), second=literal(datasets[1])))
        return
    try:
        show_curves(runs, "training_curves")
    except RunError:
        st.caption(t("comparison.no_curves"))
