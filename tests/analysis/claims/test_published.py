from __future__ import annotations

import math

import pandas as pd
import pytest

from analysis.claims.published import published_claims
from analysis.results.results import published_results


@pytest.fixture(scope="module")
def claims() -> pd.DataFrame:
    return published_claims().set_index("claim")


def test_the_papers_statements_on_its_own_numbers(claims: pd.DataFrame) -> None:
    others = {
        "third_of_resnet": "undecided",
        "third_of_resnet_osmr": "does not hold",
    }
    assert claims["verdict"].to_dict() == {name: others.get(name, "holds") for name in claims.index}
    assert claims.loc["resnet1001_c100", "reason"].startswith("22.27 % against 22.71 %; 12.94 times fewer")
    assert claims.loc["below_fractalnet", "value"] == pytest.approx(1 - 5.19 / 7.33)
    assert "C100: 19.64 % against 28.20 % (30.4% lower)" in claims.loc["below_fractalnet", "reason"]
    assert claims.loc["capacity", "value"] == pytest.approx(3.74 - 4.10)
    assert claims.loc["overfits_with_growth_rate", "value"] == pytest.approx(5.83 - 5.77)
    assert claims.loc["svhn_depth", "value"] == pytest.approx(1.74 - 1.59)
    assert claims.loc["best_variant", "value"] == pytest.approx(3.46 - 3.74)
    assert claims.loc["fewer_than_30m", "value"] == pytest.approx(3.62 - 4.17)
    ratio = (5.83 / 3.74) / (11.26 / 5.46)
    assert claims.loc["loses_less_without_augmentation", "value"] == pytest.approx(ratio)


def test_undecided_claims_have_a_bound(claims: pd.DataFrame) -> None:
    row = claims.loc["third_of_resnet"]
    assert (row["low"], row["high"]) == (pytest.approx(2.21, abs=0.01), math.inf)
    assert row["reason"].endswith("at least 2.2 times fewer parameters")


def test_resnets_of_one_recipe_need_fewer_at_all_but_one(claims: pd.DataFrame) -> None:
    assert claims.loc["resnets_need_fewer", "value"] == pytest.approx(4 / 6)
    assert claims.loc["resnets_need_fewer", "reason"].endswith(
        "times fewer at the others: PreResNet-20 (≥ 1.55), PreResNet-56 (1.23)"
    )  # 272,282 / 176,122 of the smallest DenseNet-BC, which is better; 0.81 times as many


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "dataset", "error", "failing"),
    [
        ("DenseNet-201", "ImageNet", 23.0, {"resnet101_on_par", "resnet50_computation"}),
        ("DenseNet-BC (L=250, k=24)", "C10", 7.5, {"below_fractalnet", "fewer_than_30m"}),
        ("DenseNet (L=100, k=12)", "C10+", 3.7, {"capacity"}),
        ("DenseNet-BC (L=100, k=12)", "C100+", 23.5, {"resnet1001_c100"}),
    ],
)
def test_statements_can_fail(model: str, dataset: str, error: float, failing: set[str], claims: pd.DataFrame) -> None:
    worse = published_results().copy()
    worse.loc[(worse["model"] == model) & (worse["dataset"] == dataset), "error"] = error
    now = published_claims(worse).set_index("claim")["verdict"]
    changed = set(now.index[now != claims["verdict"]])
    assert failing <= changed
    assert set(now[list(failing)]) == {"does not hold"}


def test_missing_rows_are_not_decidable() -> None:
    results = published_results()
    verdicts = published_claims(results[results["model"] != "DenseNet-201"]).set_index("claim")
    assert verdicts.loc["resnet101_on_par", "verdict"] == "not decidable"
    assert "0 rows of DenseNet-201" in verdicts.loc["resnet101_on_par", "reason"]
