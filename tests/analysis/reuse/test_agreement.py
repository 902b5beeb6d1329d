from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import connection_weights
from analysis.reuse.agreement import (
    agreement,
    agreement_table,
    describe_reliability,
    disagreements,
    images_needed,
    reliability,
)
from analysis.reuse.baselines import BASELINES, log_densenet, nearest_and_farthest
from analysis.reuse.comparison.agreements import compare_agreements
from analysis.reuse.comparison.image_effects import EFFECTS, image_effects
from analysis.reuse.ranks import expected_overlap, spearman, weighted_spearman
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


def test_a_resample_is_scipys_correlation_of_the_repeated_rows() -> None:
    generator = np.random.default_rng(2)
    a, b = generator.integers(0, 6, 30).astype(float), generator.normal(size=30)  # with ties
    times = generator.integers(0, 4, (5, 30))
    expected = [stats.spearmanr(np.repeat(a, row), np.repeat(b, row)).statistic for row in times]
    np.testing.assert_allclose(weighted_spearman(a, b, times), expected)


def clustered(generator: np.random.Generator, targets: int = 25, sources: int = 8) -> pd.DataFrame:
    """Two measures of correlation 0 whose targets each have a level of their own in both."""
    levels = generator.normal(size=(2, targets))
    rows = pd.DataFrame(
        [(1, source, target) for target in range(targets) for source in range(sources)],
        columns=["block", "source_layer", "target_layer"],
    ).assign(target_kind="dense_layer")
    for name, level in zip("ab", levels, strict=True):
        rows[name] = level[rows["target_layer"]] + 0.3 * generator.normal(size=len(rows))
    return rows


@pytest.mark.slow
def test_the_interval_holds_the_true_correlation_although_a_targets_connections_are_alike() -> None:
    generator, held, naive = np.random.default_rng(1), 0, 0
    for _ in range(60):
        rows = clustered(generator)
        found = agreement(rows, "a", "b", resamples=200)
        held += found.low <= 0 <= found.high
        alone = rows.assign(target_layer=range(len(rows)))  # as if every connection were independent
        found = agreement(alone, "a", "b", resamples=200)
        naive += found.low <= 0 <= found.high
    assert held >= 50  # of 60; 57 are to be expected
    assert naive <= 40


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


def test_every_measure_and_baseline_has_a_row_with_and_without_the_blocks_input(table: pd.DataFrame) -> None:
    found = agreement_table(table, "taylor", ["mean_abs_weight", "contribution", "ablation"], resamples=20)
    names = ["mean_abs_weight", "contribution", *BASELINES]  # the table has no ablation
    assert found["measure"].tolist() == [name for name in names for _ in (True, False)]
    assert found["block_input"].tolist() == [True, False] * len(names)
    assert found.loc[found["measure"] == "contribution", "comparable"].tolist() == ["target"] * 2
    dense = table[table["target_kind"] == "dense_layer"]
    assert found["num_connections"].tolist()[:2] == [len(dense), (dense["source_layer"] > 0).sum()]
    inner = dense[dense["source_layer"] > 0]
    expected = stats.spearmanr(inner["mean_abs_weight"], inner["taylor"]).statistic
    assert found["spearman"][1] == pytest.approx(expected)


def test_the_number_of_sources_alone_orders_shares() -> None:
    """A share that is the same for all sources of a target is the baseline, and the table shows it."""
    rows = pd.DataFrame(
        [(1, s, t) for t in range(1, 7) for s in range(t)], columns=["block", "source_layer", "target_layer"]
    )
    rows = rows.assign(target_kind="dense_layer", num_channels=4)
    rows["contribution"] = 1 / rows["target_layer"]
    found = agreement_table(rows, "contribution", [], resamples=20).set_index(["measure", "block_input"])
    assert found.loc[("inverse_sources", True), "spearman"] == pytest.approx(1)


def test_of_one_image_the_reliability_is_said_to_be_unknown() -> None:
    rows = pd.DataFrame({"target_kind": ["dense_layer"] * 3, "ablation": [0.1, 0.2, 0.4], "taylor": [1.0, 2.0, 3.0]})
    rows = rows.assign(ablation_half_1=[0.1, 0.2, 0.4], ablation_half_2=math.nan)
    rows.attrs["num_images"] = 1
    assert describe_reliability(rows).startswith("The reliability of ablation on 1 image is not known")
    assert describe_reliability(rows[["target_kind", "taylor"]]) == ""


def test_halves_that_do_not_agree_do_not_tell_how_many_images_would() -> None:
    rows = pd.DataFrame({"target_kind": ["dense_layer"] * 3, "ablation": [0.1, 0.2, 0.4]})
    rows = rows.assign(ablation_half_1=[0.1, 0.2, 0.4], ablation_half_2=[0.4, 0.2, 0.1])
    rows.attrs["num_images"] = 12
    assert describe_reliability(rows).endswith("how many images would reach 0.9 can not be told.")


def test_a_measure_is_not_compared_with_itself(table: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="first and second are both 'mean_abs_weight': choose two measures"):
        disagreements(table, "mean_abs_weight", "mean_abs_weight")


def test_reliability_is_spearman_brown_of_the_halves_and_corrects_the_correlation() -> None:
    generator = np.random.default_rng(4)
    true = generator.normal(size=4000)
    halves = [true + generator.normal(size=4000) for _ in range(2)]
    rows = pd.DataFrame({"block": 1, "source_layer": 1, "target_layer": range(4000), "target_kind": "dense_layer"})
    rows = rows.assign(ablation_half_1=halves[0], ablation_half_2=halves[1], ablation=sum(halves) / 2, taylor=true)
    r = stats.spearmanr(*halves).statistic
    assert reliability(rows) == pytest.approx(2 * r / (1 + r))
    found = agreement(rows, "ablation", "taylor", resamples=2)
    assert found.spearman < 0.85
    assert found.corrected == pytest.approx(1, abs=0.03)  # the true values themselves
    assert math.isnan(agreement(rows, "taylor", "ablation_half_1", resamples=2).reliability)
    assert math.isnan(reliability(rows.drop(columns="ablation_half_1")))
    assert images_needed(2 * r / (1 + r), 100) > 100
    assert math.isinf(images_needed(0.0, 100))


def test_differences_below_rounding_are_ties() -> None:
    rows = pd.DataFrame({"block": 1, "source_layer": range(6), "target_layer": 7, "target_kind": "dense_layer"})
    rows["ablation"] = [1e-8, -3e-8, 5e-7, 0.1, 0.2, 0.3]
    rows["taylor"] = [3.0, 2.0, 1.0, 4.0, 5.0, 6.0]
    tied = rows.assign(ablation=[0, 0, 0, 0.1, 0.2, 0.3])
    expected = stats.spearmanr(tied["ablation"], tied["taylor"]).statistic
    assert agreement(rows, "ablation", "taylor", resamples=2).spearman == pytest.approx(expected)


def test_the_patterns_of_the_literature() -> None:
    rows = pd.DataFrame({"block": 1, "source_layer": range(9), "target_layer": 9})
    kept = log_densenet(rows).sort_values(ascending=False).index[:4]
    assert sorted(9 - kept) == [1, 2, 4, 8]
    kept = nearest_and_farthest(rows).sort_values(ascending=False).index[:4]
    assert sorted(kept) == [0, 1, 7, 8]


def test_what_is_wrong_is_named(table: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="table has no column 'ablation': measure_reuse"):
        agreement(table, "mean_abs_weight", "ablation")
    with pytest.raises(ValueError, match="kind 'dense_layer' has 1 connections here: 3 or more"):
        agreement(table.head(1), "mean_abs_weight", "taylor")


def test_resamples_with_values_of_their_own_are_scipys_too() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.normal(size=20), generator.integers(0, 5, (4, 20)).astype(float)  # with ties
    times = generator.integers(0, 3, (4, 20))
    repeated = zip(b, times, strict=True)
    expected = [stats.spearmanr(np.repeat(a, row), np.repeat(own, row)).statistic for own, row in repeated]
    np.testing.assert_allclose(weighted_spearman(a, b, times), expected)


def test_the_interval_covers_the_choice_of_images() -> None:
    """A measure that orders connections as their true effects do, against ablation on few images."""
    generator = np.random.default_rng(4)
    rows = clustered(generator)
    truth = generator.normal(size=len(rows))
    halves = truth + 0.3 * generator.normal(size=(2, len(rows)))
    table = rows.assign(x=truth, ablation=halves.mean(0), ablation_half_1=halves[0], ablation_half_2=halves[1])
    with_images, without = (
        agreement(own, "x", "ablation", resamples=400) for own in (table, table.drop(columns="ablation_half_1"))
    )
    assert with_images.high - with_images.low > 1.2 * (without.high - without.low)


@pytest.mark.slow
def test_the_interval_over_images_is_that_of_new_images() -> None:
    """The oracle: ablation on 400 fresh sets of as many images, drawn from the distribution that is known here."""
    generator = np.random.default_rng(5)
    rows = clustered(generator, targets=6)
    truth, number = generator.normal(size=len(rows)), 40

    def on_images() -> np.ndarray:
        hard = generator.exponential(size=(number, 1))  # images differ, and an image's effects go together
        return hard * (truth + 2 * generator.normal(size=(number, len(rows))))

    fresh = [spearman(truth, on_images().mean(0)) for _ in range(400)]
    spreads = []
    for seed in range(20):
        effects = image_effects(rows, on_images())
        table = rows.assign(x=truth, ablation=effects.values.mean(0)).sample(frac=1, random_state=seed)
        draws = effects.resample(table, 200, seed)
        np.testing.assert_allclose(draws.mean(0), table["ablation"], atol=0.3)  # shuffled rows keep their values
        spreads.append(np.std(draws, axis=0).mean())
    expected = np.std([on_images().mean(0) for _ in range(400)], axis=0).mean()
    assert np.mean(spreads) == pytest.approx(expected, rel=0.1)
    table.attrs[EFFECTS] = effects
    found = agreement(table, "x", "ablation", resamples=400)
    del table.attrs[EFFECTS]
    without = agreement(table, "x", "ablation", resamples=400)
    assert found.high - found.low > without.high - without.low
    assert found.low < np.median(fresh) + 0.2


def test_the_interval_is_around_the_correlation_although_resampling_adds_noise() -> None:
    """Effects on images that are mostly noise: resampled correlations are all weaker than the measured one."""
    generator = np.random.default_rng(6)
    rows = clustered(generator, targets=8)
    truth = generator.normal(size=len(rows))
    for seed in range(10):
        effects = image_effects(rows, truth + 8 * generator.normal(size=(60, len(rows))))
        table = rows.assign(x=truth, ablation=effects.values.mean(0))
        table.attrs[EFFECTS] = effects
        found = agreement(table, "x", "ablation", resamples=200, seed=seed)
        assert -1 <= found.low < found.spearman < found.high <= 1


def test_ties_at_the_last_place_of_the_largest_count_as_often_as_they_would_be_chosen() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.integers(0, 4, 12), generator.normal(size=12)
    largest = set(np.argsort(-b)[:5])
    shuffled = (generator.permutation(12) for _ in range(4000))  # ties in a random order
    chosen = (order[np.argsort(-a[order], kind="stable")[:5]] for order in shuffled)
    expected = np.mean([len(largest & {*own}) / 5 for own in chosen])
    assert expected_overlap(a, b, 5) == pytest.approx(expected, abs=0.02)
    assert expected_overlap(a[::-1], b[::-1], 5) == pytest.approx(expected_overlap(a, b, 5))  # the order does not count


def test_the_difference_of_two_correlations_is_paired() -> None:
    """Two measures with the same noise: their correlations vary together, and their difference hardly varies."""
    generator = np.random.default_rng(8)
    rows = clustered(generator, targets=40).assign(num_channels=1)
    rows["close"] = rows["a"] + 0.01 * generator.normal(size=len(rows))
    alone, paired = agreement(rows, "a", "b", resamples=300), compare_agreements(rows, "a", "close", "b", resamples=300)
    assert paired.high - paired.low < (alone.high - alone.low) / 5
    expected = stats.spearmanr(rows["a"], rows["b"]).statistic - stats.spearmanr(rows["close"], rows["b"]).statistic
    assert paired.difference == pytest.approx(expected)
    better = compare_agreements(rows, "a", "nearness", "a", resamples=100)
    assert 0 < better.low <= better.difference <= better.high
    assert compare_agreements(rows, "nearness", "a", "a", resamples=100).difference == -better.difference


def test_the_interval_of_a_difference_is_that_of_resampled_targets() -> None:
    generator = np.random.default_rng(9)
    rows = clustered(generator, targets=12)
    rows["c"] = rows["b"] + generator.normal(size=len(rows))
    found = compare_agreements(rows, "c", "a", "b", resamples=2000)
    groups = [own for _, own in rows.groupby("target_layer")]
    naive = []
    for _ in range(400):
        drawn = pd.concat([groups[i] for i in generator.integers(len(groups), size=len(groups))])
        c, a = (stats.spearmanr(drawn[name], drawn["b"]).statistic for name in "ca")
        naive.append(c - a)
    low, high = np.percentile(naive, (2.5, 97.5)) + found.difference - np.median(naive)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.15 * (high - low))
    own = [
        stats.spearmanr(rows["c"], rows["b"]).statistic - stats.spearmanr(rows["a"], rows["b"]).statistic
        for rows in groups
    ]
    error = np.std(own) / np.sqrt(len(own))  # over targets
    assert found.within_targets == pytest.approx(np.mean(own))
    assert found.within_high - found.within_low == pytest.approx(2 * 1.96 * error, rel=0.15)
