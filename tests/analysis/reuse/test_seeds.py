"""Seeds of one architecture: the null hypothesis against untrained networks, the rest against loops by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import connection_weights
from analysis.figures.seeds import COLUMNS, seeds_figure, seeds_screen
from analysis.reuse.comparison.seeds import compare_seeds, describe_seeds, differing_settings, seed_statistics
from analysis.reuse.untrained import build_untrained
from densenet_core import DenseNetSpec

SPEC = DenseNetSpec((3, 2), 8, 16, num_classes=10)
NUM_UNTRAINED = 60


@pytest.fixture(scope="module")
def untrained() -> list[pd.DataFrame]:
    return [connection_weights(build_untrained(SPEC, seed=seed)) for seed in range(NUM_UNTRAINED)]


@pytest.mark.slow
def test_the_noise_is_that_of_untrained_networks(untrained: list[pd.DataFrame]) -> None:
    noise = seed_statistics(untrained[:2])["noise"].to_numpy()
    measured = np.log([table["mean_abs_weight"] for table in untrained]).std(0, ddof=1)
    # the standard deviation of a standard deviation from n values is about 1 / sqrt(2 n) of it
    assert measured / noise == pytest.approx(np.ones(len(noise)), abs=4 / np.sqrt(2 * NUM_UNTRAINED))
    assert np.mean((measured / noise) ** 2) == pytest.approx(1, abs=0.12)


@pytest.mark.slow
def test_untrained_networks_rarely_differ(untrained: list[pd.DataFrame]) -> None:
    groups = [seed_statistics(untrained[i : i + 3]) for i in range(0, NUM_UNTRAINED, 3)]
    assert np.mean([found["p_value"] < 0.05 for found in groups]) == pytest.approx(0.05, abs=0.035)
    assert sum(found["differs"].any() for found in groups) <= 4  # 1 of 20 is expected
    assert abs(np.mean([found.attrs["within_targets"] for found in groups])) < 0.2


def test_a_cell_that_differs_is_found_and_the_statistics_are_by_hand(untrained: list[pd.DataFrame]) -> None:
    tables = [table.copy() for table in untrained[:4]]
    for factor, table in zip((0.5, 1.0, 1.5, 2.0), tables, strict=True):
        for column in ("mean_abs_weight", "total_abs_weight"):
            table.loc[5, column] *= factor
    found = seed_statistics(tables, "mean_abs_weight", "none")
    assert found.index[found["differs"]].tolist() == [5]
    values = [float(table.loc[5, "mean_abs_weight"]) for table in tables]
    mean = sum(values) / 4
    assert found.loc[5, "mean"] == pytest.approx(mean)
    assert found.loc[5, "std"] == pytest.approx((sum((value - mean) ** 2 for value in values) / 3) ** 0.5)
    assert found.loc[5, ["low", "high"]].tolist() == [min(values), max(values)]
    assert (found.attrs["num_networks"], found.attrs["num_differing"]) == (4, 1)
    assert f"1 of {len(found)} cells differ" in describe_seeds(found)


def test_both_figures_show_mean_and_spread_and_dot_the_cells_that_agree(untrained: list[pd.DataFrame]) -> None:
    found = seed_statistics(untrained[:3])
    screen = seeds_screen(found)
    drawn = [trace.z[~np.isnan(trace.z)] for trace in screen.data if trace.type == "heatmap"]
    assert sorted(np.concatenate(drawn[:2])) == pytest.approx(sorted(found["mean"]))
    assert sorted(np.concatenate(drawn[2:])) == pytest.approx(sorted(found["std"]))
    dots = sum(len(trace.x) for trace in screen.data if trace.type == "scatter" and trace.customdata is None)
    assert dots == len(found) - found["differs"].sum()
    cells = [row for trace in screen.data if trace.customdata is not None for row in trace.customdata]
    assert len(cells) == 2 * len(found) and len(cells[0]) == len(COLUMNS)
    assert {trace.xaxis for trace in screen.data} == {"x", "x2"}  # shared by the rows
    assert len(seeds_figure(found).axes) == 6


def test_other_measures_have_no_null(untrained: list[pd.DataFrame]) -> None:
    tables = [table.assign(taylor=np.arange(len(table)) + seed) for seed, table in enumerate(untrained[:2])]
    found = seed_statistics(tables, "taylor")
    assert found["differs"].isna().all() and found.attrs["num_tested"] == 0
    assert "differ between" not in describe_seeds(found)
    seeds_screen(found, "taylor")


def test_what_can_not_be_compared_is_named(untrained: list[pd.DataFrame]) -> None:
    with pytest.raises(ValueError, match="1 network is given: give two or more seeds"):
        seed_statistics(untrained[:1])
    with pytest.raises(ValueError, match="networks 1 and 3 have the same weights"):
        seed_statistics([untrained[0], untrained[1], untrained[0]])
    with pytest.raises(ValueError, match="different blocks"):
        compare_seeds([build_untrained(SPEC), build_untrained(DenseNetSpec((2, 2), 8, 16))])


def test_other_settings_than_the_seed_are_named() -> None:
    records = [{"dataset": "C10", "seed": s, "recipe": {"epochs": e, "seed": s}} for s, e in ((0, 30), (1, 40))]
    assert differing_settings(records) == ["epochs"]
    assert differing_settings(records[:1] * 2) == []
