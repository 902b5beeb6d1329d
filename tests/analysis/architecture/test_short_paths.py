from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from analysis.architecture.gates import carried_shares, transform_gates
from analysis.architecture.paths import layer_paths, path_counts
from analysis.architecture.short_paths import (
    direct_connections,
    expected_training_cost,
    fractal_connections,
    path_table,
    supervision,
)
from analysis.figures import figure_bytes
from analysis.figures.diagrams.short_paths import (
    MEASURES,
    gates_figure,
    gates_screen,
    short_paths_figure,
    short_paths_screen,
)
from analysis.figures.style.heatmap import block_matrix
from densenet_core import Checkpoint, DenseNetSpec, ResNetSpec
from densenet_core.data.datasets import load_splits
from densenet_core.data.images import Images
from densenet_core.networks.build import build_model
from densenet_core.networks.names import spec_from_name
from densenet_core.networks.relatives.fractalnet_spec import FractalNetSpec
from densenet_core.networks.relatives.highway import Highway
from densenet_core.networks.relatives.highway_spec import HighwaySpec


@pytest.fixture(scope="module")
def digits() -> Images:
    return load_splits("digits").test


@pytest.fixture(scope="module")
def highway() -> Checkpoint:
    torch.manual_seed(0)
    spec = HighwaySpec((2, 4, 1), (4, 6, 8), in_channels=1)
    model = build_model(spec)
    for name, parameter in model.named_parameters():
        if ".gate" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return Checkpoint(spec, model.state_dict())


def test_stochastic_depths_connections_are_those_that_drawn_steps_have() -> None:
    """Against 20,000 drawn training steps: source and target are neighbours where all blocks between are dropped."""
    spec = replace(ResNetSpec.stochastic(26, survival=0.3), stage_config=(4,))
    table = direct_connections(spec)
    assert len(table) == 5 * 6 / 2
    drawn = np.random.default_rng(0).random((20_000, 4)) >= np.array(spec.survivals)  # dropped
    for row in table.itertuples():
        between = drawn[:, row.source_layer : row.target_layer - 1]
        assert row.probability == pytest.approx(between.all(axis=1).mean(), abs=0.015)
    by_hand = (1 - spec.survivals[1]) * (1 - spec.survivals[2])
    found = table.set_index(["source_layer", "target_layer"])["probability"]
    assert found[1, 4] == pytest.approx(by_hand)
    assert found[1, 2] == found[4, 5] == 1


def test_a_densenet_and_a_resnet_are_its_two_ends() -> None:
    dense = direct_connections(DenseNetSpec((2, 3), 4, 8, cuts=((2, 0, 2),)))
    cut = dense[(dense["block"] == 2) & (dense["source_layer"] == 0) & (dense["target_layer"] == 2)].index
    assert dense.loc[cut, "probability"].tolist() == [0.0]
    assert (dense["probability"].drop(cut) == 1).all()
    residual = direct_connections(ResNetSpec.cifar(20))
    neighbours = residual["target_layer"] - residual["source_layer"] == 1
    assert (residual["probability"] == neighbours).all()
    assert dense["target_kind"].unique().tolist() == ["layer", "transition", "classifier"]
    with pytest.raises(ValueError, match="direct connections exist in DenseNets and ResNets, not in FractalNet-5"):
        direct_connections(FractalNetSpec((4, 8), 2))


def test_the_expected_depth_and_cost_of_resnet_110() -> None:
    found = expected_training_cost(ResNetSpec.stochastic(110))
    assert found["expected_blocks"] == pytest.approx(40.25)  # the paper's section 3 says about 40
    assert found["expected_depth"] == pytest.approx(2 + 2 * 40.25)
    assert found["saved"] == pytest.approx(0.25, abs=0.03)  # "about 25 %" of the training time
    whole = expected_training_cost(ResNetSpec.cifar(110))
    assert (whole["saved"], whole["expected_mult_adds"]) == (0, whole["mult_adds"])
    wide = replace(ResNetSpec.wide(10, 2), survival=0.5)  # projections are never dropped
    blocks = [(1, 16, 32), (2, 32, 64), (3, 64, 128)]
    by_hand = 27 * 16 * 32**2 + 1280  # the stem and the classifier
    for p, (stage, i, o) in zip(wide.survivals, blocks, strict=True):
        by_hand += (p * 9 * (i * o + o * o) + i * o) * (64 >> stage) ** 2
    assert expected_training_cost(wide)["expected_mult_adds"] == pytest.approx(by_hand)


def test_gates_by_a_naive_loop(highway: Checkpoint, digits: Images) -> None:
    model = highway.to_model()
    assert isinstance(model, Highway)
    images = torch.cat([batch for batch, _ in digits.batches(355)])
    with torch.inference_mode():
        x = model.pool(model.stage1(images))
        x = model.stage2[0](x)
        inputs, gates = [], []
        for layer in model.stage2[1:]:
            inputs.append(x)
            gates.append(torch.sigmoid(layer.gate(x)))
            x = layer(x)
    table = transform_gates(highway, digits, 1000)
    assert table["name"].tolist() == ["stage1.1", "stage2.1", "stage2.2", "stage2.3"]  # stage 3 has no gate
    found = table.loc[table["block"] == 2, "mean_gate"]
    assert found.tolist() == pytest.approx([float(t.mean()) for t in gates], rel=1e-4)
    shares = carried_shares(highway, digits, 1000)
    matrix = block_matrix(shares, shares["share_carried"], 2)
    t = gates
    assert matrix[1, 3] == pytest.approx(float((t[0] * (1 - t[1]) * (1 - t[2])).mean()), rel=1e-4)
    assert matrix[0, 2] == pytest.approx(float(((1 - t[0]) * (1 - t[1])).mean()), rel=1e-4)
    assert matrix[2, 2] == pytest.approx(float(t[1].mean()), rel=1e-4)
    sums = shares.groupby(["block", "target_layer"])["share_carried"].sum()
    np.testing.assert_allclose(sums, 1, rtol=1e-5)


def test_the_shares_make_up_the_next_layers_input(highway: Checkpoint, digits: Images) -> None:
    """x_t is the sum over sources of T_s prod(1 - T) times H_s: the shares are those of what the layers gave."""
    model = highway.to_model()
    assert isinstance(model, Highway)
    batch, _ = next(digits.batches(16))
    with torch.inference_mode():
        x = model.stage2[0](model.pool(model.stage1(batch)))
        parts = [x]
        for layer in model.stage2[1:]:
            t, h = torch.sigmoid(layer.gate(x)), torch.relu(layer.conv(x))
            parts = [part * (1 - t) for part in parts] + [t * h]
            x = layer(x)
        torch.testing.assert_close(sum(parts), x)


def test_gates_of_others_are_refused(digits: Images) -> None:
    spec = spec_from_name("resnet-8", in_channels=1)
    network = Checkpoint(spec, build_model(spec).state_dict())
    with pytest.raises(ValueError, match="only Highway Networks have gates: this is a ResNet-8"):
        transform_gates(network, digits)


def test_a_fractal_blocks_connections_by_hand() -> None:
    table = fractal_connections(FractalNetSpec((4, 8), 3))
    one = table[table["block"] == 1]
    found = {(r.source_layer, r.target_layer): (r.column, r.share_in_join) for r in one.itertuples()}
    third, half = pytest.approx(1 / 3), 0.5
    assert found == {
        (0, 1): (3, 1.0),
        (1, 2): (3, half),
        (0, 2): (2, half),
        (2, 3): (3, 1.0),
        (3, 4): (3, third),
        (2, 4): (2, third),
        (0, 4): (1, third),
    }
    assert one.groupby("target_layer")["share_in_join"].sum().tolist() == pytest.approx([1, 1, 1, 1])


def test_supervision_is_direct_by_companions_and_short_in_a_densenet() -> None:
    dense = supervision(spec_from_name("densenet-40-12"))
    assert dense["layers_to_classifier"].tolist() == [3, 2, 1]  # through two transitions, one, none
    companions = supervision(spec_from_name("dsn-plain-20"))
    assert companions["layers_to_classifier"].tolist() == [1, 1, 1]
    assert companions["by"].tolist() == ["companion", "companion", "the network's classifier"]
    assert supervision(spec_from_name("plain-20"))["layers_to_classifier"].tolist() == [13, 7, 1]


def test_paths_of_a_highway_network() -> None:
    spec = HighwaySpec((3, 2), (4, 8))
    counts = path_counts(spec).set_index("length")["num_paths"].to_dict()
    assert counts == {3: 1, 4: 3, 5: 3, 6: 1}  # stem, three gated layers or not, one plain layer, classifier
    assert layer_paths(spec)["name"].tolist()[:2] == ["stem", "stage1.1"]
    assert spec.depth == 6


def test_tables_of_several_networks_are_put_together() -> None:
    specs = [spec_from_name(name) for name in ("densenet-40-12", "resnet-sd-32")]
    table, measure = path_table(specs)
    assert measure == "probability"
    pd.testing.assert_frame_equal(
        table[table["network"] == specs[1].title].reset_index(drop=True), direct_connections(specs[1])
    )
    fractal = FractalNetSpec.published(21)
    table, measure = path_table([fractal])
    assert measure == "share_in_join"
    pd.testing.assert_frame_equal(table, fractal_connections(fractal))
    with pytest.raises(ValueError, match="draw them separately"):
        path_table([*specs, fractal])
    with pytest.raises(ValueError, match=r"DenseNet \(L=40, k=12\) appears 2 times"):
        path_table([specs[0], specs[0]])


def tables() -> dict[str, pd.DataFrame]:
    both = [direct_connections(spec_from_name(name)) for name in ("densenet-40-12", "resnet-sd-32")]
    return {"probability": pd.concat(both), "share_in_join": fractal_connections(FractalNetSpec.published(21))}


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["probability", "share_in_join"])
def test_figures_have_a_panel_a_block_and_show_the_tables_values(measure: str) -> None:
    table = tables()[measure]
    figure = short_paths_figure(table, measure)
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert len(panels) == len(table.groupby(["network", "block"]))
    cells = panels[0].collections[0]
    column, row = np.asarray(cells.get_offsets()).astype(int).T
    own = table[(table["network"] == table["network"].iloc[0]) & (table["block"] == 1)]
    expected = block_matrix(own, own[measure], 1)
    assert len(row) == np.isfinite(expected).sum()
    np.testing.assert_allclose(np.ma.filled(cells.get_array(), np.nan), expected[row, column])
    assert figure_bytes(figure, "pdf") == figure_bytes(short_paths_figure(table, measure), "pdf")


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["probability", "share_in_join"])
def test_the_screen_shows_the_same_values(measure: str) -> None:
    table = tables()[measure]
    own = table[table["network"] == table["network"].iloc[-1]].reset_index(drop=True)
    figure = short_paths_screen(own, measure)
    assert len(figure.data) == own["block"].nunique()
    for block, trace in enumerate(figure.data, start=1):
        np.testing.assert_array_equal(np.array(trace.z, float), block_matrix(own, own[measure], block))
        assert MEASURES[measure][0] in trace.hovertemplate
    with pytest.raises(ValueError, match="measure 'share_carried' is not a column of the table"):
        short_paths_screen(own, "share_carried")


def test_figures_refuse_what_does_not_fit() -> None:
    table = tables()["probability"]
    with pytest.raises(ValueError, match="measure 'share_carried' is not a column of the table"):
        short_paths_figure(table, "share_carried")
    with pytest.raises(ValueError, match="color_map 'pink' is unknown: choose from"):
        short_paths_figure(table, color_map="pink")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="different numbers of blocks"):
        short_paths_figure(pd.concat([table, direct_connections(ResNetSpec((2, 2)))]))


def test_the_gates_figure_has_a_bar_a_layer(highway: Checkpoint, digits: Images) -> None:
    table = transform_gates(highway, digits, 32)
    figure = gates_figure(table)
    assert isinstance(figure, Figure)
    assert [bar.get_height() for bar in figure.axes[0].patches] == table["mean_gate"].tolist()
    assert list(gates_screen(table).data[0].y) == table["mean_gate"].tolist()
