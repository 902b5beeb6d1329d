"""What the Notes page computes, against formulas by hand, the modules themselves and the paper's text."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.architecture.architecture import block_connections
from analysis.architecture.bottlenecks import DESIGNS, design_costs
from analysis.architecture.preservation import compare_preservation
from analysis.figures.diagrams.notes import (
    channel_growth_screen,
    design_costs_screen,
    learning_rate_screen,
    preservation_screen,
)
from analysis.results.data_sets import data_sets, learning_rates, recipes
from densenet_core import DenseNetSpec
from densenet_core.data.datasets import load_splits
from densenet_core.networks.resnet import ResidualBlock


def maps(seed: int = 0, number: int = 4) -> torch.Tensor:
    return torch.rand((1, number, 8, 8), generator=torch.Generator().manual_seed(seed))


def shares(found: object, operation: str) -> list[float]:
    table = found.table  # type: ignore[attr-defined]
    return table.loc[table["operation"] == operation, "identical_share"].tolist()


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_concatenation_keeps_every_bit_and_summation_none(seed: int) -> None:
    found = compare_preservation(maps(seed), num_layers=5, growth_rate=2, seed=seed)
    assert shares(found, "concatenation") == [1.0] * 5
    assert shares(found, "summation")[0] < 0.01
    assert (found.table.loc[found.table["operation"] == "summation", "max_abs_difference"] > 0).all()
    for values in found.first_map["concatenation"]:
        np.testing.assert_array_equal(values, maps(seed)[0, 0].numpy())


def test_layers_that_add_nothing_would_preserve_the_sum_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test looks at the maps, not at the operation's name."""
    monkeypatch.setattr(ResidualBlock, "forward", lambda _, x: x + 0)
    assert shares(compare_preservation(maps()), "summation") == [1.0] * 4


def test_the_random_state_is_left_as_it_was() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    compare_preservation(maps())
    assert torch.equal(before, torch.get_rng_state())


def test_the_picture_has_each_step_of_both() -> None:
    found = compare_preservation(maps(), num_layers=3)
    traces = preservation_screen(found.first_map).data
    assert len(traces) == 2 * 4
    np.testing.assert_array_equal(traces[-1].z, found.first_map["summation"][-1])


@pytest.mark.parametrize(("m", "k", "bn_size", "size"), [(256, 32, 4, 28), (64, 12, 2, 7)])
def test_costs_of_the_four_designs_by_hand(m: int, k: int, bn_size: int, size: int) -> None:
    totals = design_costs(m, k, bn_size, size).groupby("design")[["params", "mult_adds"]].sum()
    b, q = bn_size * k, m // 4
    weights = [9 * m * k, m * b + 9 * b * k, 2 * 9 * m * m, m * q + 9 * q * q + q * m]
    norms = [2 * m, 2 * (m + b), 2 * 2 * m, 2 * (m + 2 * q)]
    assert totals.loc[list(DESIGNS), "params"].tolist() == [w + n for w, n in zip(weights, norms, strict=True)]
    assert totals.loc[list(DESIGNS), "mult_adds"].tolist() == [w * size * size for w in weights]


def test_a_width_that_resnets_bottleneck_can_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="in_maps 30 is not a multiple of 4"):
        design_costs(30)


def test_the_costs_picture_stacks_to_the_totals() -> None:
    costs = design_costs()
    bars = [trace for trace in design_costs_screen(costs).data if trace.type == "bar"]
    assert sum(float(np.sum(bar.x)) for bar in bars) == costs["params"].sum() + costs["mult_adds"].sum()


def test_the_growth_picture_stacks_to_what_each_layer_reads() -> None:
    spec = DenseNetSpec((4, 4), 4, 6)
    heights = np.zeros(6)
    for bar in (trace for trace in channel_growth_screen(spec).data if trace.type == "bar"):
        np.add.at(heights, np.asarray(bar.x, int), np.asarray(bar.y))
    assert heights.tolist() == [0, 6, 10, 14, 18, 22]
    assert len(block_connections(spec)) == sum(range(1, 6))


def test_digits_are_counted_and_the_papers_are_published() -> None:
    table = data_sets().set_index("dataset")
    splits = load_splits("digits")
    assert table.loc["digits", ["train", "test", "origin"]].tolist() == [len(splits.train), len(splits.test), "counted"]
    assert (table.drop("digits")["origin"] == "published").all()
    assert table.loc["cifar10", ["mirror", "shift"]].tolist() == [True, 4]


def test_recipes_are_the_papers() -> None:
    table = recipes().set_index("recipe")
    assert table.loc["cifar", ["epochs", "batch_size", "milestones"]].tolist() == [300, 64, "150, 225"]
    assert table.loc["svhn", ["epochs", "milestones", "drop_rate"]].tolist() == [40, "20, 30", 0.2]
    assert table.loc["imagenet", ["epochs", "batch_size", "milestones"]].tolist() == [90, 256, "30, 60"]
    assert table.index[~table["published"]].tolist() == ["fast"]


def test_the_learning_rate_falls_after_its_milestones() -> None:
    rates = learning_rates("svhn").set_index("epoch")["learning_rate"]
    assert rates[[20, 21, 30, 31]].tolist() == pytest.approx([0.1, 0.01, 0.01, 0.001])
    assert (learning_rates("fast")["learning_rate"] > 0).all()  # the axis is logarithmic
    (line,) = learning_rate_screen(learning_rates("svhn")).data
    assert list(line.y) == pytest.approx(rates.tolist())
