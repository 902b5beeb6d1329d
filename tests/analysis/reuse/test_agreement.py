from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import connection_weights
from analysis.reuse.agreement import agreement, agreement_table, disagreements, spearman
from densenet_core import load_zoo


@pytest.fixture
def table() -> pd.DataFrame:
    found = connection_weights(load_zoo("densenet-40-12-digits"))
    noise = np.random.default_rng(0).random(len(found))
    return found.assign(contribution=found["mean_abs_weight"].rank() ** 3, taylor=noise)


def test_rank_correlation_is_scipys(table: pd.DataFrame) -> None:
    a, b = np.round(table["taylor"].to_numpy(), 1), table["mean_abs_weight"].to_numpy()  # with ties
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert math.isnan(spearman(np.ones(5), np.arange(5.0)))


def test_measures_of_the_same_order_agree_wholly_and_noise_does_not(table: pd.DataFrame) -> None:
    same = agreement(table, "mean_abs_weight", "contribution", kind=None)
    assert (same.spearman, same.low, same.high, same.overlap) == pytest.approx((1, 1, 1, 1))
    assert same.within_targets == pytest.approx(1)
    assert same.num_connections == len(table)
    noise = agreement(table, "mean_abs_weight", "taylor")
    assert noise.low < 0 < noise.high
    assert abs(noise.spearman) < 0.2
    assert noise.num_connections == (table["target_kind"] == "dense_layer").sum()


def test_the_interval_holds_the_true_correlation_about_as_often_as_it_says() -> None:
    generator, held = np.random.default_rng(1), 0
    for _ in range(60):
        x = generator.normal(size=80)
        y = 0.6 * x + 0.8 * generator.normal(size=80)
        rows = pd.DataFrame({"block": 1, "source_layer": 0, "target_layer": range(80), "target_kind": "dense_layer"})
        found = agreement(rows.assign(a=x, b=y), "a", "b", resamples=200)
        held += found.low <= 6 / math.pi * math.asin(0.6 / 2) <= found.high  # Spearman's of a normal pair with 0.6
    assert held >= 50  # of 60; 57 are to be expected


def test_overlap_counts_the_largest(table: pd.DataFrame) -> None:
    rows = table.head(8).assign(a=[8, 7, 6, 5, 4, 3, 2, 1], b=[8, 1, 7, 2, 6, 3, 5, 4])
    found = agreement(rows, "a", "b", kind=None, top=3)
    assert found.overlap == pytest.approx(2 / 3)  # a: rows 0 1 2, b: rows 0 2 4
    assert agreement(rows, "a", "b", kind=None, top=100).top == 4


def test_the_connections_on_which_they_differ_most(table: pd.DataFrame) -> None:
    rows = table.head(5).assign(a=[1.0, 2, 3, 4, 5], b=[5.0, 2, 3, 4, 1])
    found = disagreements(rows, "a", "b", kind=None, most=2)
    assert found["difference"].tolist() == [-1.0, 1.0]
    assert found["target_layer"].tolist() == [rows["target_layer"].iloc[0], rows["target_layer"].iloc[4]]
    assert found[["rank_a", "rank_b"]].to_numpy().tolist() == [[0, 1], [1, 0]]


def test_every_two_measures(table: pd.DataFrame) -> None:
    found = agreement_table(table, ["mean_abs_weight", "contribution", "taylor"])
    assert found[["first", "second"]].to_numpy().tolist() == [
        ["mean_abs_weight", "contribution"],
        ["mean_abs_weight", "taylor"],
        ["contribution", "taylor"],
    ]


def test_what_is_wrong_is_named(table: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="measure 'ablation' is none of"):
        agreement(table, "mean_abs_weight", "ablation")
    with pytest.raises(ValueError, match="kind 'dense_layer' has 1 connections here: 3 or more"):
        agreement(table.head(1), "mean_abs_weight", "taylor")
