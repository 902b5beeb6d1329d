"""The numbers that the README and docs/findings.md say in words are those of the measured tables."""

import re
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import spearmanr

from tools.measured import MEASURED, measured_tables, name_network

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


def test_networks_of_others_are_named_by_their_files() -> None:
    assert name_network("some/folder/densenet_bc_100_12_cifar10.pth.tar") == "densenet_bc_100_12_cifar10"
    assert name_network(BC) == BC
