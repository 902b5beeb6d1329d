from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from analysis import connection_weights, figure5_observations
from analysis.claims.figure_5 import _untrained_means, observations_over_training, spreads, untrained_weights
from densenet_core import DenseNet, DenseNetSpec, create_model

NAMES = ["layers_spread", "transitions_spread", "row_0_less", "row_0_least", "classifier_leans"]


def table_with(weight: object) -> pd.DataFrame:
    """A three-block table whose mean |w| is ``weight(row)``."""
    table = connection_weights(DenseNet(DenseNetSpec((6, 6, 6), 4, 8)))
    ratio = table["l1_per_input_map"] / table["mean_abs_weight"]
    means = np.array([weight(row) for row in table.itertuples()])
    return table.assign(mean_abs_weight=means, l1_per_input_map=means * ratio)


def test_spread_is_1_for_equal_weights_and_one_nth_for_one() -> None:
    weights = [1, 1, 1, 0, 0, 7, 0.5, 0.25, 0.25, 0, 0]
    targets = [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4]
    found = spreads(pd.DataFrame({"block": 1, "target_layer": targets, "mean_abs_weight": weights}))
    assert found.tolist()[:3] == pytest.approx([1, 1 / 3, 2**1.5 / 3])  # the entropy of the third is 1.5 bits
    assert np.isnan(found.iloc[3])


def test_a_network_as_the_paper_describes_it_meets_all() -> None:
    def weight(row: object) -> float:
        if row.target_kind == "classifier":
            return 1.0 + row.source_layer
        return 0.5 if row.source_layer == 0 else 1.0

    seen = figure5_observations(table_with(weight)).set_index("claim")
    assert seen.index.tolist() == NAMES
    # untrained networks spread their weights too
    assert seen["verdict"].tolist() == ["holds, as it does untrained"] * 2 + ["holds"] * 3
    assert seen.loc["row_0_less", "value"] == pytest.approx(0.5)
    assert seen.loc["row_0_least", "value"] == 1.0
    # sources 0..6 weigh 1..7: last third (two of seven) against the five before
    assert seen.loc["classifier_leans", "value"] == pytest.approx(((6 + 7) / 2) / 3)


def test_a_network_of_the_opposite_kind_meets_none() -> None:
    def weight(row: object) -> float:
        if row.target_kind == "classifier":
            return 10.0 - row.source_layer
        return 1.0 if row.source_layer == 0 else 1e-3

    seen = figure5_observations(table_with(weight)).set_index("claim")
    assert seen["verdict"].tolist() == ["does not hold"] * 5
    assert seen.loc["row_0_less", "value"] == pytest.approx(1000)
    assert seen.loc["row_0_least", "value"] == 0.0


def test_less_is_not_least() -> None:
    """Row 0 lies below the mean of its target everywhere, and layer 1 below row 0."""

    def weight(row: object) -> float:
        return {0: 0.8, 1: 0.7}.get(row.source_layer, 1.0)

    seen = figure5_observations(table_with(weight)).set_index("claim")
    assert seen.loc["row_0_less", "verdict"] == "holds"
    assert seen.loc["row_0_least", "verdict"] == "does not hold"


def test_only_the_transition_makes_the_second_fail() -> None:
    def weight(row: object) -> float:
        return 1e-4 if row.target_kind == "transition" and row.source_layer else 1.0

    verdicts = figure5_observations(table_with(weight))["verdict"]
    assert verdicts.tolist()[:2] == ["holds, as it does untrained", "does not hold"]


def test_one_block_has_no_transition() -> None:
    seen = figure5_observations(connection_weights(DenseNet(DenseNetSpec((6,), 4, 8))))
    assert seen["verdict"].tolist()[1:4] == ["not decidable"] * 3
    assert seen["reason"].tolist()[1:3] == [
        "no transition reads a dense block",
        "no dense layer with two sources follows a transition",
    ]


def test_nothing_is_decidable_where_the_order_is_not_visible() -> None:
    seen = figure5_observations(table_with(lambda row: 1.0), is_order_visible=False)
    assert set(seen["verdict"]) == {"not decidable"}
    assert "--order old_first or new_first" in seen["reason"].iloc[0]


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["densenet-40-12", "densenet-bc-40-12"])
def test_drawn_networks_vary_as_initialized_ones(arch: str) -> None:
    """The deviation of mean |w| over networks, of every connection; relative to its target's mean."""
    torch.manual_seed(0)
    tables = [connection_weights(create_model(arch)) for _ in range(8)]
    first = tables[0]
    drawn = [first.assign(mean_abs_weight=means) for means in _untrained_means(first, 8)]
    deviations = {}
    for name, networks in (("initialized", tables), ("drawn", drawn)):
        targets = [first["block"], first["target_layer"]]
        own = [t["mean_abs_weight"] / t["mean_abs_weight"].groupby(targets).transform("mean") for t in networks]
        deviations[name] = pd.Series(np.std(own, axis=0, ddof=1)).groupby(first["target_kind"]).mean()
    ratio = deviations["drawn"] / deviations["initialized"]
    assert sorted(ratio.index) == ["classifier", "dense_layer", "transition"]
    assert ratio.between(0.8, 1.25).all(), ratio


def test_a_drawn_network_has_the_same_connections_cut() -> None:
    table = table_with(lambda row: 0.0 if row.source_layer == 2 else 1.0)
    drawn = untrained_weights(table, 0)
    assert (drawn["mean_abs_weight"] == 0).equals(table["mean_abs_weight"] == 0)
    assert not drawn["mean_abs_weight"].equals(untrained_weights(table, 1)["mean_abs_weight"])


@pytest.mark.slow
def test_observations_over_the_epochs_are_those_of_each_epoch() -> None:
    tables = [table_with(lambda row, e=e: 1.0 + e * row.source_layer).assign(epoch=e) for e in (1, 2)]
    moved = observations_over_training(pd.concat(tables, ignore_index=True))
    assert list(moved.columns) == ["epoch", "claim", "statement", "value"]
    for table, (_, own) in zip(tables, moved.groupby("epoch"), strict=True):
        expected = figure5_observations(table)["value"]
        assert own["value"].tolist() == pytest.approx(expected.tolist())
