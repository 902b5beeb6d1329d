"""Figures 1 and 2 and the tables behind them: counts by hand formulas, geometry by what was drawn."""

from __future__ import annotations

import re
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch.nn import functional as F

from analysis import save_figure
from analysis.architecture.architecture import (
    block_connections,
    block_layers,
    composite_function,
    network_stages,
    sizes_after,
)
from analysis.figures import figure_bytes
from analysis.figures.diagrams.dense_block import FAINT, dense_block_figure, dense_block_screen
from analysis.figures.diagrams.network import network_figure, network_screen, stage_boxes
from analysis.figures.style.screen import ACCENT
from analysis.figures.style.words import stage_title
from densenet_core import DenseNet, DenseNetSpec
from densenet_core.networks.names import published_spec


def block_of(layers: int) -> DenseNetSpec:
    return DenseNetSpec((layers, layers), growth_rate=4, num_init_features=6)


def arcs_by_kind(figure: Figure) -> dict[str, int]:
    collections = [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]
    return {str(c.get_label()): len(c.get_paths()) for c in collections if not str(c.get_label()).startswith("_")}


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2, 5, 12, 24, 64])
def test_a_block_of_n_layers_has_n_times_n_plus_1_half_arcs(layers: int) -> None:
    expected = {"dense_layer": layers * (layers + 1) // 2, "transition": layers + 1}
    assert block_connections(block_of(layers))["target_kind"].value_counts().to_dict() == expected
    assert arcs_by_kind(dense_block_figure(block_of(layers))) == expected


def test_cut_connections_are_not_drawn() -> None:
    spec = DenseNetSpec((3, 2), 4, 6, cuts=((1, 0, 2), (1, 1, 4)))
    assert arcs_by_kind(dense_block_figure(spec)) == {"dense_layer": 5, "transition": 3}
    assert block_layers(spec).loc[2, "input_maps"] == 4


def test_each_arc_goes_from_its_source_to_its_target() -> None:
    collections = dense_block_figure(block_of(3)).axes[0].collections
    arcs = [path.vertices for c in collections if c.get_label() == "dense_layer" for path in c.get_paths()]
    ends = [(round(points[0, 0]), round(points[-1, 0])) for points in arcs]
    assert ends == [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    assert all(points[1, 1] > 0 and points[0, 1] == points[-1, 1] == 0 for points in arcs)


def test_the_notes_example_six_maps_and_four_layers_of_four_make_22() -> None:
    layers = block_layers(DenseNetSpec((4,), growth_rate=4, num_init_features=6))
    assert layers["input_maps"].tolist() == [0, 6, 10, 14, 18, 22]
    assert layers["output_maps"].tolist() == [6, 4, 4, 4, 4, 10]


def test_layers_read_what_the_networks_own_convolutions_read() -> None:
    spec = DenseNetSpec((3, 4, 2), 5, 7)
    model = DenseNet(spec)
    for block in (1, 2, 3):
        rows = block_layers(spec, block)
        for layer in rows.loc[rows["kind"] == "dense_layer", "layer"]:
            weight = model.get_parameter(f"features.denseblock{block}.denselayer{layer}.conv1.weight")
            assert rows.loc[layer, "input_maps"] == weight.shape[1]


def test_a_block_that_is_not_there_is_refused() -> None:
    for function in (block_connections, block_layers, dense_block_figure, dense_block_screen):
        with pytest.raises(ValueError, match=re.escape("block 3 does not exist: DenseNet-BC (L=11, k=4) has blocks")):
            function(block_of(2), 3)
    with pytest.raises(ValueError, match="columns 3 is neither 1 nor 2"):
        dense_block_figure(block_of(2), columns=3)


def test_the_screens_layers_tell_what_they_read() -> None:
    figure = dense_block_screen(block_of(4))
    nodes = {trace.name: trace for trace in figure.data if trace.customdata is not None}
    assert nodes["dense_layer"].customdata.tolist()[3] == [4, 4, 18, 4, "6 + 3 × 4"]
    assert nodes["transition"].customdata.tolist() == [[5, 5, 22, 11, "6 + 4 × 4"]]
    lines = [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "lines"]
    assert sum(int(np.isnan(line.y).sum()) for line in lines) == 4 * 5 // 2 + 5  # a gap an arc


def test_a_marked_layers_inputs_alone_are_in_colour() -> None:
    figure = dense_block_screen(block_of(4), marked=3)
    lines = [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "lines"]
    assert {line.line.color for line in lines} == {FAINT, ACCENT}
    assert sum(int(np.isnan(line.y).sum()) for line in lines if line.line.color == ACCENT) == 3


def test_the_composite_functions_order_is_that_of_the_papers() -> None:
    orders = {
        "densenet-40-12": "BN ReLU Conv 3x3 concatenate",
        "densenet-bc-100-12": "BN ReLU Conv 1x1 BN ReLU Conv 3x3 concatenate",
        "resnet-20": "Conv 3x3 BN ReLU Conv 3x3 BN add ReLU",
        "preact-resnet-32": "BN ReLU Conv 3x3 BN ReLU Conv 3x3 add",
        "plain-20": "Conv 3x3 BN ReLU Conv 3x3 BN ReLU",
    }
    for name, order in orders.items():
        assert " ".join(composite_function(published_spec(name))["operation"]) == order


def test_stages_of_densenet_121_are_the_papers() -> None:
    stages = network_stages(DenseNetSpec.imagenet("121"))
    blocks = stages[stages["kind"] == "block"]
    assert blocks["num_layers"].tolist() == [6, 12, 24, 16]
    assert blocks["out_size"].tolist() == [56, 28, 14, 7]
    assert blocks["in_maps"].tolist() == [64, 128, 256, 512]
    assert stages.iloc[0][["in_maps", "in_size"]].tolist() == [3, 224]
    assert stages.iloc[-1][["in_maps", "out_maps"]].tolist() == [1024, 1000]


@pytest.mark.parametrize(
    "spec", [DenseNetSpec.cifar(40, 12), DenseNetSpec.imagenet("121"), DenseNetSpec((2,) * 6, 4, 8)]
)
def test_figure_2_has_a_box_a_stage_and_an_arc_a_connection(spec: DenseNetSpec) -> None:
    ax = network_figure(spec).axes[0]
    stages = network_stages(spec)
    boxes = [
        patch for patch in ax.patches if isinstance(patch, FancyBboxPatch) and patch.get_label() in set(stages["stage"])
    ]
    assert [box.get_label() for box in boxes] == stages["stage"].tolist()
    assert all(a.get_x() + a.get_width() < b.get_x() for a, b in pairwise(boxes))
    arcs = sum(len(c.get_paths()) for c in ax.collections)
    assert arcs == spec.num_connections
    texts = [text.get_text() for text in ax.texts]
    assert all(str(maps) in texts for maps in (*spec.block_inputs, *spec.block_outputs))


def test_boxes_are_as_high_as_their_maps_are_large() -> None:
    boxes = {box.stage: box for box in stage_boxes(DenseNetSpec.imagenet("121"))}
    assert boxes["block3"].height / boxes["block1"].height == pytest.approx((14 / 56) ** 0.5)
    assert boxes["block3"].content == "24 layers"
    assert boxes["transition1"].content == "1 × 1 conv\n2 × 2 avg pool"


def test_the_screens_stages_carry_widths_and_sizes() -> None:
    spec = DenseNetSpec.cifar(40, 12)
    (markers,) = (trace for trace in network_screen(spec).data if trace.customdata is not None)
    stages = network_stages(spec)
    names = [stage_title(stage) for stage in stages["stage"]]
    assert [list(row) for row in markers.customdata] == stages.assign(stage=names)[
        ["stage", "in_maps", "out_maps", "in_size", "out_size"]
    ].values.tolist()


def test_an_image_too_small_is_refused_with_the_least_size() -> None:
    with pytest.raises(ValueError, match="the smallest that works is 29"):
        network_figure(DenseNetSpec.imagenet("121"), 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "figure",
    [
        *(dense_block_figure(block_of(layers), columns=columns) for layers in (1, 6, 48) for columns in (1, 2)),
        network_figure(DenseNetSpec((2,) * 6, 4, 8)),
        network_figure(DenseNetSpec((2,), 4, 8)),
        network_figure(DenseNetSpec.imagenet("264")),
    ],
)
def test_no_word_is_cut_off(figure: Figure) -> None:
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    for text in figure.findobj(lambda artist: hasattr(artist, "get_text") and artist.get_text()):
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y0 >= 0, text
        assert box.y1 <= figure.bbox.y1, text


@pytest.mark.slow
def test_figures_go_to_files_as_vectors_of_a_papers_width(tmp_path: Path) -> None:
    spec = DenseNetSpec.imagenet("121")
    files = save_figure(dense_block_figure(spec), tmp_path / "fig1.pdf", block_connections(spec))
    assert [file.name for file in files] == ["fig1.pdf", "fig1.csv"]
    assert b"/Subtype /Image" not in files[0].read_bytes()
    for figure, inches in ((dense_block_figure(spec), 3.25), (network_figure(spec), 6.875)):
        image = matplotlib.image.imread(BytesIO(figure_bytes(figure, "png")))
        assert image.shape[1] == int(inches * 300)


def test_sides_after_an_operation_are_pytorchs() -> None:
    for size, unpadded, padded, pooled in sizes_after(range(3, 12)).itertuples(index=False):
        maps, kernel = torch.zeros(1, 1, size, size), torch.zeros(1, 1, 3, 3)
        assert F.conv2d(maps, kernel).shape[-1] == unpadded
        assert F.conv2d(maps, kernel, padding=1).shape[-1] == padded
        assert F.avg_pool2d(maps, 2).shape[-1] == pooled
