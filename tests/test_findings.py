"""The numbers that the README and docs/findings.md say in words are those of the measured tables."""

import re
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import spearmanr

from analysis.reuse.agreement import images_needed, reliability
from analysis.reuse.comparison.agreements import compare_agreements
from tools.findings.measured import MEASURED, measured_decisions, measured_tables, name_network

ROOT = Path(__file__).parents[1]
BC, PLAIN = "densenet-bc-40-12-cifar10-jpeg", "densenet-40-12-cifar10-jpeg"
OTHERS = "densenet_bc_100_12_cifar10"
NOISE = 1e-6  # nats: smaller changes of the loss are rounding


def correlation_with_ablation(network: str, measure: str) -> str:
    table = measured_tables("effects")[network].query("target_kind == 'dense_layer'")
    table = table.assign(by_sources=1 / table.groupby(["block", "target_layer"])["ablation"].transform("size"))
    effect = table["ablation"].where(table["ablation"].abs() >= NOISE, 0)
    return f"{spearmanr(table[measure], effect).statistic:.2f}"


@pytest.mark.parametrize(
    ("page", "both"),
    [
        ("README.md", ("{} against {} in a DenseNet-BC", "{} against {} in the plain network")),
        ("docs/findings.md", ("{} for the total and {} for the mean in the DenseNet-BC", "{} and {} in the plain")),
    ],
)
def test_correlations_of_total_and_mean_weight_in_prose(page: str, both: tuple[str, str]) -> None:
    text = re.sub(r"\s+", " ", (ROOT / page).read_text())
    for network, said in zip((BC, PLAIN), both, strict=True):
        numbers = [correlation_with_ablation(network, own) for own in ("total_abs_weight", "mean_abs_weight")]
        assert said.format(*numbers) in text


@pytest.mark.parametrize(
    ("page", "said", "measures"),
    [
        ("README.md", "total weight reaches {} and the number of sources alone {}", ("total_abs_weight", "by_sources")),
        ("docs/findings.md", "is {} for the total and {} for the mean", ("total_abs_weight", "mean_abs_weight")),
    ],
)
def test_correlations_in_the_network_that_others_trained(page: str, said: str, measures: tuple[str, ...]) -> None:
    text = re.sub(r"\s+", " ", (ROOT / page).read_text())
    assert said.format(*(correlation_with_ablation(OTHERS, own) for own in measures)) in text


def test_pruned_networks_do_better_from_new_weights_in_all_six_pairs() -> None:
    errors = pd.read_csv(MEASURED / "scratch_digits.csv").pivot(
        index=["keep", "seed"], columns="start", values="test_error"
    )
    assert len(errors) == 6
    assert (errors["from scratch"] < errors["fine-tuned"]).all()


def test_random_connections_reach_the_error_of_those_that_pruning_keeps() -> None:
    found = pd.read_csv(MEASURED / "scratch_digits.csv").query("keep == 0.3").groupby("start")
    errors, params = found["test_error"].mean(), found["params"]
    assert errors["random"] <= errors["from scratch"]
    said = (
        f"with {params.min()['random'] / 1000:.0f} to {params.max()['random'] / 1000:.0f} thousand parameters instead"
    )
    assert said in prose("docs/findings.md")


def test_correlations_over_seeds_in_prose() -> None:
    table = pd.read_csv(MEASURED / "seeds_effects_digits.csv").query("target_kind == 'dense_layer'")
    table["effect"] = table["ablation"].where(table["ablation"].abs() >= NOISE, 0)
    seeds = [own.reset_index(drop=True) for _, own in table.groupby("seed")]
    own = pd.Series([spearmanr(seed["total_abs_weight"], seed["effect"]).statistic for seed in seeds])
    other = pd.Series([spearmanr(a["effect"], b["effect"]).statistic for a, b in combinations(seeds, 2)])
    found = [f"{values.mean():.2f} ± {values.std():.2f}" for values in (other, own)]
    assert "{} against {} for total".format(*found) in prose("docs/findings.md")
    said = f"predicts the effect better ({other.mean():.2f}) than the own total weight does ({own.mean():.2f})"
    assert said in prose("README.md")


def test_networks_of_others_are_named_by_their_files() -> None:
    assert name_network("some/folder/densenet_bc_100_12_cifar10.pth.tar") == "densenet_bc_100_12_cifar10"
    assert name_network(BC) == BC


def prose(page: str) -> str:
    return re.sub(r"\s+", " ", (ROOT / page).read_text())


def test_shares_of_the_last_third_in_untrained_networks() -> None:
    untrained = [own["untrained"] for own in measured_decisions().values()]
    means = [own["last_third_share"] for own in untrained]
    ends = [end for own in untrained for end in own["last_third_range"]]
    said = "it is {:.2f} to {:.2f} (means of five; single networks {:.2f} to {:.2f})"
    assert said.format(min(means), max(means), min(ends), max(ends)) in prose("docs/findings.md")
    assert {own["seeds"] for own in untrained} == {5}
    shares = [own["trained"]["last_third_share"] for own in measured_decisions().values()]
    assert min(shares) > max(ends)  # "trained networks take more of the logit from their last layers"


def test_depths_at_which_the_network_of_others_decides() -> None:
    own = measured_decisions()[OTHERS]["trained"]
    before = own["decided_by_depth"][own["sources"] - own["sources"] // 3 - 1]
    said = f"{before:.0f} % of the images are decided before its last third, and {100 - before:.0f} % in it"
    assert said in prose("docs/findings.md")


def test_images_that_would_make_ablation_reliable() -> None:
    for network, said in ((PLAIN, "about 970 would bring"), (OTHERS, "about 1,170 would")):
        table = measured_tables("effects")[network].query("target_kind == 'dense_layer'")
        needed = images_needed(reliability(table), int(table["num_images"].iloc[0]))
        assert f"about {round(needed, -1):,.0f}" in said
        assert said in prose("docs/findings.md")


def test_pruning_is_compared_at_equal_parameters_too() -> None:
    table = measured_tables("pruning")[BC].query("repair == 'none'").set_index(["measure", "keep"])
    said = "mean |w| has {:.1f} % with {:.0f} thousand, ablation {:.1f} % with {:.0f} thousand and total |w| {:.1f} %"
    curves = [table.loc[own] for own in (("mean_abs_weight", 0.8), ("ablation", 0.6), ("total_abs_weight", 0.6))]
    numbers = [number for own in curves for number in (own["error"], own["params"] / 1000)]
    assert said.format(*numbers) in prose("docs/findings.md")


def test_repairs_are_compared_with_the_same_random_order() -> None:
    table = measured_tables("pruning")[PLAIN].query("measure == 'random' and seed == 0 and keep == 0.8")
    errors = table.set_index("repair")["error"]
    assert f"random {errors['norms']:.1f} instead of {errors['none']:.1f} %" in prose("docs/findings.md")


def test_throughput_of_published_networks() -> None:
    table = pd.read_csv(MEASURED.parent / "published" / "timm.csv").query("error_kind == 'top1_single_crop'")
    table = table[table["model"].str.contains("(tv_in1k, 224 px)", regex=False)].set_index("arch")
    for ours, theirs, said in (
        ("densenet201", "resnet101", "{:.2f} times ResNet-101's mult_adds and processes {:.0f} and {:.0f} % fewer"),
        ("densenet121", "resnet50", "{:.2f} times ResNet-50's and processes {:.0f} and {:.0f} % fewer"),
    ):
        a, b = table.loc[ours], table.loc[theirs]
        fewer = [100 - 100 * a[gpu] / b[gpu] for gpu in ("images_per_s_rtx3090", "images_per_s_rtx5090")]
        assert said.format(a["mult_adds_printed"] / b["mult_adds_printed"], *fewer) in prose("docs/efficiency.md")


def test_what_total_weight_adds_to_width_within_a_target() -> None:
    names = (PLAIN, BC, "densenet-40-12-digits", "densenet-bc-76-12-digits", OTHERS)
    tables = measured_tables("effects")
    found = [compare_agreements(tables[name], "total_abs_weight", "channel_share", resamples=500) for name in names]
    said = "the total |w| adds {:.2f}, {:.2f}, {:.2f}, {:.2f} and {:.2f}"
    assert said.format(*(own.within_targets for own in found)) in prose("docs/findings.md")
    assert [own.within_low > 0 for own in found] == [False, False, True, False, False]
