"""Sections of the Notes on connections in a dense block, preservation by concatenation, and growth of the width."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from analysis.architecture.architecture import block_connections, block_layers
from analysis.architecture.preservation import compare_preservation
from analysis.figures.diagrams.dense_block import dense_block_figure, dense_block_screen
from analysis.figures.diagrams.notes import channel_growth_screen, preservation_screen
from app.dashboard import loading
from app.dashboard.caching import cache
from app.dashboard.charts import show_chart
from app.dashboard.language import t
from app.dashboard.memory import remember
from app.dashboard.widgets.downloads import download_row, download_small, take_home
from app.dashboard.widgets.handover import Code
from app.dashboard.widgets.scripts import SCREEN, joined, plain_script, spec_script
from app.dashboard.widgets.tables import show_table
from app.text import literal
from densenet_core import DenseNetSpec

if TYPE_CHECKING:
    from torch import Tensor

# The notes' example, which is the paper's Figure 1 too: 6 feature maps enter, 4 layers add 4 each.
EXAMPLE = DenseNetSpec(block_config=(4,), growth_rate=4, num_init_features=6, bottleneck=False)
PLAIN = DenseNetSpec.cifar(40, 12)
NUM_DIGITS = 4  # feature maps that go into the test of preservation
TEXT_WIDTH = 860  # pixels


def one_block(layers: int, growth_rate: int, init: int) -> DenseNetSpec:
    """Return a network whose first block has these layers; a transition follows it."""
    return DenseNetSpec((layers, 1), growth_rate, init, bottleneck=False)


def show_connections() -> None:
    st.markdown(t("notes.connections.text"), width=TEXT_WIDTH)
    st.latex(r"x_\ell = H_\ell([x_0, x_1, \ldots, x_{\ell-1}]), \qquad 1 + 2 + \cdots + L = \tfrac{L(L+1)}{2}")
    left, right = st.columns(2)
    layers = remember(
        left.slider, t("notes.connections.layers"), limits=(1, 40), key="notes_layers", default=EXAMPLE.block_config[0]
    )
    names = [_layer_name(layer, layers) for layer in range(layers + 2)]
    marked = remember(
        right.selectbox,
        t("notes.connections.follow"),
        options=range(layers + 2),
        key="notes_follow",
        default=0,
        format_func=names.__getitem__,
    )
    spec = one_block(layers, EXAMPLE.growth_rate, EXAMPLE.num_init_features)
    connections, reads = block_connections(spec), block_layers(spec)
    _show_counts(layers, connections)
    show_chart(dense_block_screen(spec, marked=marked or None), "notes_block", t("notes.connections.title"))
    if marked:
        row = reads.iloc[marked]
        st.caption(t("notes.connections.marked", sources=row["num_sources"], maps=row["input_maps"]))
    st.caption(t("notes.connections.hover"))
    st.markdown(_count_in_blocks(PLAIN), width=TEXT_WIDTH)
    with take_home():
        _download_figure_1(spec, connections)


def _show_counts(layers: int, connections: pd.DataFrame) -> None:
    """Show how many connections a chain of so many layers has, and how many their dense block has."""
    into_layers = connections["target_kind"] == "dense_layer"
    a, b, c = st.columns(3)
    a.metric(t("notes.connections.chain"), f"{layers:,}", border=True)
    b.metric(t("notes.connections.dense"), f"{into_layers.sum():,}", border=True)
    c.metric(t("notes.connections.next"), f"{(~into_layers).sum():,}", border=True)


def _download_figure_1(spec: DenseNetSpec, connections: pd.DataFrame) -> None:
    draw = partial(loading.figure_file, lambda _: dense_block_figure(spec), "figure_1", connections)
    imports = {"analysis": "save_figure", "analysis.architecture.architecture": "block_connections"}
    imports |= {"analysis.figures.diagrams.dense_block": "dense_block_figure"}
    line = 'save_figure(dense_block_figure(spec), "figure_1.pdf", block_connections(spec))'
    download_row("figure_1", connections, draw, "1_", spec_script(spec, imports, [line]))


def _count_in_blocks(spec: DenseNetSpec) -> str:
    """Count the connections into the layers of each block, of the network, and of a single block of all layers."""
    blocks = range(1, len(spec.block_config) + 1)
    found = [int((block_connections(spec, block)["target_kind"] == "dense_layer").sum()) for block in blocks]
    total = sum(spec.block_config)
    single = one_block(total, spec.growth_rate, spec.num_init_features)
    return t(
        "notes.connections.blocks",
        network=literal(spec.title),
        blocks=len(found),
        layers=spec.block_config[0],
        per_block=found[0],
        all=sum(found),
        total=total,
        single=int((block_connections(single)["target_kind"] == "dense_layer").sum()),
    )


def _layer_name(layer: int, layers: int) -> str:
    if layer == 0:
        return t("notes.connections.follow_all")
    return t("notes.connections.follow_layer", layer=layer) if layer <= layers else t("notes.connections.follow_next")


def show_preservation() -> None:
    text = st.empty()  # it says what the sliders below it are set to
    a, b, c = st.columns(3)
    layers = remember(
        a.slider,
        t("notes.preservation.layers"),
        limits=(1, 6),
        key="notes_kept_layers",
        default=EXAMPLE.block_config[0],
    )
    image = remember(b.slider, t("notes.preservation.image"), limits=(0, 9), key="notes_digit", default=3)
    seed = remember(c.slider, t("notes.preservation.seed"), limits=(0, 20), key="notes_seed", default=0)
    text.markdown(t("notes.preservation.text", maps=NUM_DIGITS, layers=layers), width=TEXT_WIDTH)
    st.latex(
        r"\begin{aligned} \text{DenseNet:}\quad & x_\ell = [x_{\ell-1}, H_\ell(x_{\ell-1})] \\"
        r"\text{ResNet:}\quad & x_\ell = x_{\ell-1} + H_\ell(x_{\ell-1}) \end{aligned}"
    )
    found = compare_preservation(digits_as_maps(image, NUM_DIGITS), layers, seed=seed)
    _show_preserved(found.table[found.table["layer"] == 0].set_index("operation"))
    figure = preservation_screen(found.first_map)
    show_chart(figure, "notes_preservation", t("notes.preservation.title"))
    st.caption(t("notes.preservation.note"), width=TEXT_WIDTH)
    with st.expander(t("notes.preservation.table"), icon=":material/table:"):
        show_table(found.table)
    code = _preservation_code(image, layers, seed)
    download_small("preservation", found.table, figure, "notes_preservation_", code)


def _show_preserved(inputs: pd.DataFrame) -> None:
    """Show which share of a block's input is unchanged at its end, by operation, and how much a sum changes it."""
    a, b, c = st.columns(3)
    for column, operation in ((a, "concatenation"), (b, "summation")):
        share = inputs["identical_share"][operation]
        column.metric(t(f"notes.preservation.{operation}"), f"{share:.0%}", border=True)
    c.metric(t("notes.preservation.change"), f"{inputs['max_abs_difference']['summation']:.3g}", border=True)


def _preservation_code(first: int, layers: int, seed: int) -> Code:
    imports = {
        "analysis.architecture.preservation": "compare_preservation",
        "analysis.figures.diagrams.notes": "preservation_screen",
        "densenet_core.data.datasets": "load_test_images",
    }
    lines = [
        'test = load_test_images("digits")',
        "images, labels = next(test.batches(len(test)))",
        f"digits = [digit % 10 for digit in range({first}, {first + NUM_DIGITS})]",
        "rows = [int((labels == digit).nonzero()[0]) for digit in digits]",
        f"found = compare_preservation(images[rows].transpose(0, 1), {layers}, seed={seed})",
        'save_figure(paper_figure(preservation_screen(found.first_map)), "preservation.pdf", found.table)',
    ]
    return plain_script(joined(SCREEN, imports), lines)


@cache(16)
def digits_as_maps(first: int, number: int) -> Tensor:
    """Handwritten digits from ``first`` on, one of each class, as the feature maps of one image: (1, number, 8, 8)."""
    from densenet_core.data.datasets import load_test_images

    test = load_test_images("digits")
    images, labels = next(test.batches(len(test)))
    rows = [int((labels == digit % 10).nonzero()[0]) for digit in range(first, first + number)]
    return images[rows].transpose(0, 1)


def show_growth() -> None:
    st.markdown(t("notes.growth.text"), width=TEXT_WIDTH)
    st.latex(r"k_0 + k\,(\ell - 1) \;\longrightarrow\; k, \qquad k_0 \;\longrightarrow\; k_0 + k\,n")
    a, b, c = st.columns(3)
    init = remember(
        a.slider, t("notes.growth.init"), limits=(1, 128), key="notes_init", default=EXAMPLE.num_init_features
    )
    rate = remember(b.slider, t("notes.growth.rate"), limits=(1, 48), key="notes_rate", default=EXAMPLE.growth_rate)
    layers = remember(
        c.slider, t("notes.growth.layers"), limits=(1, 40), key="notes_growth_layers", default=EXAMPLE.block_config[0]
    )
    spec = one_block(layers, rate, init)
    reads = int(block_layers(spec)["input_maps"].iloc[layers])
    numbers = {"init": init, "rate": rate, "layers": layers, "reads": reads, "leaves": spec.block_outputs[0]}
    st.markdown(t("notes.growth.result", **numbers))
    x, y = t("notes.growth.x"), t("notes.growth.y")
    figure = channel_growth_screen(spec).update_xaxes(title=x).update_yaxes(title=y)
    show_chart(figure, "notes_growth", t("notes.growth.title"))
    imports = {"analysis.architecture.architecture": "block_layers"}
    imports |= {"analysis.figures.diagrams.notes": "channel_growth_screen"}
    lines = [
        f"screen = channel_growth_screen(spec).update_xaxes(title={x!r}).update_yaxes(title={y!r})",
        'save_figure(paper_figure(screen), "channel_growth.pdf", block_layers(spec))',
    ]
    code = spec_script(spec, joined(SCREEN, imports), lines)
    download_small("channel_growth", block_layers(spec), figure, "notes_growth_", code)
