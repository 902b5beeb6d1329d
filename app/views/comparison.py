"""The Comparison page: two networks side by side."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from analysis.comparison import compare, compare_stages
from analysis.cost import default_input_size
from analysis.figures.curves import stage_cost_figure, training_curves_figure
from analysis.figures.efficiency_screen import stages_screen, training_curves_screen
from analysis.training_curves import training_curves
from app import loading
from app.charts import show_chart
from app.downloads import download_row, take_home
from app.loading import NetworkKey
from app.network_picker import pick_network
from app.text import literal, network_name, shown
from densenet_core import RunError
from densenet_core.models import Spec

QUANTITIES = {
    "depth": "Depth (layers with weights)",
    "params": "Parameters",
    "mult_adds": "mult_adds, one image",
    "other_ops": "Other operations, one image",
    "weight_bytes": "Weights (bytes, float32)",
    "training_activation_bytes": "Activations kept in training, one image (bytes)",
    "receptive_field": "Receptive field (pixels a side)",
    "shortest_path": "Shortest path from input to loss (layers with weights)",
}


def show() -> None:
    """Draws the page."""
    st.subheader("Two networks side by side", anchor=False)
    keys = [pick_network("First network", "a", with_names=True), pick_network("Second network", "b", with_names=True)]
    if keys[0] is None or keys[1] is None:
        st.write("Choose two networks in the sidebar: by name, of the zoo, of your runs, or a file.")
        return
    both = (keys[0], keys[1])
    specs, records = _named(both)
    size = _choose_input_size(specs)
    try:
        table, stages = compare(specs, size), compare_stages(specs, size)
    except ValueError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    _show_quantities(table, records)
    _show_stages(stages)
    _show_latency(specs, size)
    _show_curves(both, records)


def _named(keys: tuple[NetworkKey, NetworkKey]) -> tuple[dict[str, Spec], dict[str, dict[str, Any]]]:
    """Specs and records under names that differ."""
    found = [loading.spec_and_record(key) for key in keys]
    names = [network_name(key.origin, key.name, spec) for key, (spec, _) in zip(keys, found, strict=True)]
    if names[0] == names[1]:
        names[1] = f"{names[1]} (second)"
    return (
        {name: spec for name, (spec, _) in zip(names, found, strict=True)},
        {name: record for name, (_, record) in zip(names, found, strict=True)},
    )


def _choose_input_size(specs: dict[str, Spec]) -> int:
    size = default_input_size(next(iter(specs.values())))
    return int(st.number_input("Input (pixels a side)", 1, 2048, size, key=f"input {size}", width=200))


def _show_quantities(table: pd.DataFrame, records: dict[str, dict[str, Any]]) -> None:
    names = list(table.columns)
    rows = []
    for quantity, label in QUANTITIES.items():
        a, b = (int(table[name][quantity]) for name in names)
        rows.append({"": label, names[0]: f"{a:,}", names[1]: f"{b:,}", "first / second": f"{a / b:.2f}"})
    errors = {name: _test_error(records[name]) for name in names}
    if any(errors.values()):
        rows.append({"": "Test error, last epoch", **{name: errors[name] or "not known" for name in names}})
    quantities = pd.DataFrame(rows).fillna("")
    st.table(quantities.rename(columns=literal).map(literal).set_index(""))  # a table's cells are Markdown
    with st.container(horizontal=True):
        download_row("comparison", quantities, None, key="quantities_")


def _test_error(record: dict[str, Any]) -> str:
    if "test_error" not in record:
        return ""
    error = shown(record["test_error"], "{:.2f} %")
    return f"{error} ({record.get('dataset', 'unknown data')}, {record.get('epochs', '?')} epochs)"


def _show_stages(stages: pd.DataFrame) -> None:
    st.markdown("##### By stage")
    show_chart(stages_screen(stages), key="stages", alt="Costs by stage")
    with take_home():
        download_row(
            "costs_by_stage", stages, partial(loading.figure_file, stage_cost_figure, "stages", stages), key="stages_"
        )
    with st.expander("Feature maps and resolution of each stage", icon=":material/table:"):
        st.dataframe(stages, hide_index=True)


def _show_latency(specs: dict[str, Spec], size: int) -> None:
    st.markdown("##### Measured on this machine")
    if not st.toggle("Measure a forward pass and a training step of one image", key="measure_both"):
        st.caption("Takes some seconds. DenseNets run slower than their mult_adds say.")
        return
    try:
        times = loading.latency_table(tuple(specs), tuple(specs.values()), size, 5, True)
    except ValueError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    columns = {
        "network": "Network",
        "forward_ms": "Forward pass (ms)",
        "images_per_s": "Images per second",
        "step_ms": "Training step (ms)",
        "kept_bytes": "Kept by autograd (bytes)",
    }
    st.dataframe(times[list(columns)].rename(columns=columns), hide_index=True)
    st.caption(
        f"Median of 5, the two in turns, float32, {size} x {size} pixels, on {literal(str(times['hardware'].iloc[0]))}."
    )


def _show_curves(keys: tuple[NetworkKey, NetworkKey], records: dict[str, dict[str, Any]]) -> None:
    st.markdown("##### Training curves")
    runs = {name: key.name for name, key in zip(records, keys, strict=True) if key.origin == "file"}
    datasets = sorted({str(records[name].get("dataset")) for name in runs})
    try:
        curves = training_curves(runs) if len(runs) == 2 else None
    except RunError:
        curves = None  # a file beside no metrics.csv
    if curves is None:
        st.caption(
            "Two runs of yours, with their metrics.csv, are drawn here over their epochs (the paper's Figure 4, right)."
        )
        return
    if len(datasets) > 1 and not st.toggle(
        f"Draw them though their data differ ({literal(', '.join(datasets))})", key="mix"
    ):
        st.warning(f"The two runs have different data ({literal(' and '.join(datasets))}): their errors don't compare.")
        return
    for reason in curves.attrs["skipped"]:
        st.warning(literal(reason), icon=":material/warning:")
    figure = training_curves_screen(curves)
    show_chart(figure, key="curves", alt="Training loss and test error")
    with take_home():
        download_row(
            "training_curves",
            curves,
            partial(loading.figure_file, training_curves_figure, "curves", curves),
            key="curves_",
        )
