"""Sections of the Notes on layers and transitions: bottlenecks, compression, the composite function."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import streamlit as st

from analysis.architecture.architecture import block_connections, composite_functions, network_stages, sizes_after
from analysis.architecture.bottlenecks import design_costs
from analysis.architecture.cost import count_cost, default_input_size, total_cost
from analysis.figures.diagrams.network import network_figure, network_screen
from analysis.figures.diagrams.notes import design_costs_screen
from analysis.results.efficiency import count
from app.dashboard import loading
from app.dashboard.charts import show_chart
from app.dashboard.language import t
from app.dashboard.memory import remember
from app.dashboard.refusals import show_error
from app.dashboard.views.notes.connectivity import TEXT_WIDTH
from app.dashboard.widgets.downloads import download_row, download_small, download_table, take_home
from app.dashboard.widgets.scripts import SCREEN, TABLE, joined, plain_script, spec_script
from app.dashboard.widgets.tables import show_numbers, show_table
from app.text import literal
from densenet_core import DenseNetSpec
from densenet_core.networks.names import MODEL_NAMES, published_spec

PADDED_SIZES = (6, 7, 8)  # pixels a side: an odd one loses a row when it is pooled
DENSENETS = [name for name in MODEL_NAMES if name.startswith("densenet")]
ORDERS = ("densenet-40-12", "densenet-bc-100-12", "resnet-110", "preact-resnet-164")  # each of another order


def show_bottleneck() -> None:
    st.markdown(t("notes.bottleneck.text"), width=TEXT_WIDTH)
    a, b, c, d = st.columns(4)
    maps = remember(a.slider, t("notes.bottleneck.maps"), limits=(16, 1024), step=16, key="notes_maps", default=512)
    rate = remember(
        b.slider, t("notes.bottleneck.rate"), limits=(4, 64), step=4, key="notes_bottleneck_rate", default=32
    )
    width = remember(c.slider, t("notes.bottleneck.width"), limits=(1, 8), key="notes_width", default=4)
    size = remember(d.slider, t("notes.bottleneck.size"), limits=(4, 56), key="notes_size", default=28)
    costs = design_costs(maps, rate, width, size)
    params = costs.groupby("design")["params"].sum()
    figure = design_costs_screen(costs)
    show_chart(figure, "notes_bottleneck", t("notes.bottleneck.title"))
    imports = {"analysis.architecture.bottlenecks": "design_costs"}
    imports |= {"analysis.figures.diagrams.notes": "design_costs_screen"}
    lines = [
        f"table = design_costs({maps}, {rate}, {width}, {size})",
        'save_figure(paper_figure(design_costs_screen(table)), "bottlenecks.pdf", table)',
    ]
    download_small("bottlenecks", costs, figure, "notes_bottleneck_", plain_script(joined(SCREEN, imports), lines))
    own, other = (params["DenseNet-B"] / params[design] for design in ("DenseNet", "ResNet, bottleneck"))
    st.markdown(t("notes.bottleneck.result", own=own, other=other))
    st.caption(t("notes.bottleneck.note"), width=TEXT_WIDTH)


def show_compression() -> None:
    st.markdown(t("notes.compression.text"), width=TEXT_WIDTH)
    spec, size = _choose_compressed()
    try:
        figure = network_screen(spec, size)
    except ValueError as error:
        show_error(error)
        return
    _show_savings(spec, size)
    _show_sizes()
    show_chart(figure, "notes_network_chart", t("notes.compression.title"))
    stages = network_stages(spec, size)
    with st.expander(t("notes.compression.table"), icon=":material/table:"):
        show_table(stages[["stage", "num_layers", "in_maps", "out_maps", "in_size", "out_size"]])
    with take_home():
        draw = partial(loading.figure_file, lambda _: network_figure(spec, size), f"figure_2 {spec}", stages)
        imports = {"analysis": "save_figure", "analysis.architecture.architecture": "network_stages"}
        imports |= {"analysis.figures.diagrams.network": "network_figure"}
        given = f"spec, {size}"
        line = f'save_figure(network_figure({given}), "figure_2.pdf", network_stages({given}))'
        download_row("figure_2", stages, draw, "2_", spec_script(spec, imports, [line]))


def _choose_compressed() -> tuple[DenseNetSpec, int]:
    """Return a published network with the chosen compression, and the side of its images in pixels."""
    a, b, c = st.columns(3)
    name = remember(
        a.selectbox,
        t("notes.compression.network"),
        options=DENSENETS,
        key="notes_network",
        default="densenet-bc-100-12",
    )
    base = published_spec(name)
    assert isinstance(base, DenseNetSpec)
    theta = remember(
        b.slider,
        t("notes.compression.theta"),
        limits=(0.1, 1.0),
        step=0.05,
        key=f"notes_theta {name}",
        name="notes_theta",
        default=base.compression,
    )
    size = remember(
        c.number_input,
        t("notes.compression.size"),
        limits=(1, 1024),
        key=f"notes_image {base.stem}",
        name="notes_image",
        default=default_input_size(base),
    )
    return replace(base, compression=theta), int(size)


def _show_savings(spec: DenseNetSpec, size: int) -> None:
    """Costs with this compression, and their share of those without one."""
    full = replace(spec, compression=1.0)
    cost, without = (total_cost(count_cost(each, size)) for each in (spec, full))
    a, b, c = st.columns(3)
    for column, quantity in ((a, "params"), (b, "mult_adds")):
        share = t("notes.compression.without", share=cost[quantity] / without[quantity], full=full.compression)
        column.metric(
            t(f"notes.compression.{quantity}"),
            count(cost[quantity]),
            share,
            delta_color="off",
            delta_arrow="off",
            border=True,
            height="stretch",
        )
    c.metric(t("notes.compression.last"), f"{spec.block_outputs[-1]:,}", border=True, height="stretch")


def _show_sizes() -> None:
    """Why maps are padded, and why they are pooled between blocks only."""
    sizes = sizes_after(PADDED_SIZES)
    first, odd = sizes.iloc[0], next(size for size in PADDED_SIZES if size % 2)
    text = t("notes.compression.padding", before=first["before"], after=first["unpadded"], odd=odd)
    st.markdown(text, width=TEXT_WIDTH)
    labels = [t(f"notes.compression.{column}") for column in sizes]
    text_sizes = sizes.astype(str).set_axis(labels, axis=1)  # an index of numbers is hidden
    show_numbers(text_sizes.set_index(labels[0]), key="sizes")
    imports = {"analysis.architecture.architecture": "sizes_after"}
    line = f'save_table(sizes_after({PADDED_SIZES}), "sizes_after_convolutions.csv")'
    download_table("sizes_after_convolutions", sizes, "notes_sizes_", plain_script(joined(TABLE, imports), [line]))


def show_composite() -> None:
    spec = published_spec(DENSENETS[0])
    assert isinstance(spec, DenseNetSpec)
    connections = block_connections(spec)
    readers = int((connections["source_layer"] == 0).sum())
    st.markdown(t("notes.composite.text", network=literal(spec.title), readers=readers), width=TEXT_WIDTH)
    table = composite_functions(map(published_spec, ORDERS))
    labels = [t(f"notes.composite.{column}") for column in ("network", "order", "maps")]
    st.table(table.set_axis(labels, axis=1).set_index(labels[0]))
    with take_home():
        imports = {"analysis.architecture.architecture": "composite_functions"}
        imports |= {"densenet_core.networks.names": "published_spec"}
        line = f'save_table(composite_functions(map(published_spec, {ORDERS})), "composite_functions.csv")'
        code = plain_script(joined(TABLE, imports), [line])
        download_row("composite_functions", table, None, "notes_composite_", code)
