from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.claims.claims import ON_IMAGES as ALL_ON_IMAGES
from analysis.claims.claims import check_claims
from analysis.claims.figure_5 import FIGURE_5
from analysis.claims.redundancy import correlation, effective_rank, mean_cka, redundancy
from densenet_core import Checkpoint, CheckpointError, DataError, create_model, load_zoo
from densenet_core.data.datasets import load_splits, load_test_images
from densenet_core.data.images import TensorImages
from tests.analysis.reuse.test_effects import SPECS, checkpoint_of, some_images

pytestmark = pytest.mark.slow
ON_IMAGES = ["transition_rank", "block_rank", "transition_alike", "block_alike", "even_gradients", "short_paths_carry"]


def test_effective_rank_of_known_spectra() -> None:
    assert effective_rank(np.diag([2.0, 2.0, 2.0, 0.0])) == pytest.approx(3)
    assert effective_rank(np.ones((4, 4))) == pytest.approx(1)
    shares = np.array([0.75, 0.25])
    assert effective_rank(np.diag([3.0, 1.0])) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert np.isnan(effective_rank(np.zeros((2, 2))))


def test_the_scale_of_a_map_does_not_count() -> None:
    values = np.random.default_rng(0).normal(size=(4, 500))
    scaled = values * [[1], [1000], [0.01], [0]]
    found = correlation(np.cov(scaled, bias=True))
    assert found[:3, :3] == pytest.approx(np.corrcoef(values[:3]))
    assert not found[3].any()
    assert effective_rank(found) > 2.9 > 1.1 > effective_rank(np.cov(scaled))


def test_cka_is_one_for_rotated_maps_and_small_for_independent_ones() -> None:
    generator = np.random.default_rng(0)
    x, noise = generator.normal(size=(5000, 3)), generator.normal(size=(5000, 3))
    rotation, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    same = np.cov(np.hstack([x, 2 * x @ rotation]).T)
    assert mean_cka(same, (0, 3, 6)) == pytest.approx(1)
    assert mean_cka(np.cov(np.hstack([x, noise]).T), (0, 3, 6)) < 0.01
    assert np.isnan(mean_cka(np.eye(3), (0, 3)))
    still = np.zeros((6, 6))  # the second source does not vary
    still[:3, :3] = np.eye(3)
    assert np.isnan(mean_cka(still, (0, 3, 6)))


def test_redundancy_is_that_of_the_maps_that_leave_each_block_and_transition() -> None:
    checkpoint, images = checkpoint_of(SPECS[0]), some_images()
    model, seen = checkpoint.to_model(), {}
    for name in ("denseblock1", "transition1", "denseblock2"):
        model.features.get_submodule(name).register_forward_hook(lambda _, __, out, n=name: seen.update({n: out}))
    with torch.inference_mode():
        model(next(images.batches(12))[0])
    table = redundancy(checkpoint, images, batch_size=5)
    places = [("block", 1), ("transition", 1), ("block", 2)]
    assert list(zip(table["place"], table["block"], strict=True)) == places
    for row, maps in zip(table.itertuples(), seen.values(), strict=True):
        values = maps.transpose(0, 1).flatten(1).double().numpy()
        own = np.corrcoef(values)
        assert row.num_maps == len(values)
        assert row.effective_rank == pytest.approx(effective_rank(own), rel=1e-4)
        if row.place == "block":
            edges = tuple(np.cumsum([0, *SPECS[0].source_channels(row.block)]).tolist())
            assert row.mean_cka == pytest.approx(mean_cka(own, edges), rel=1e-4)
        else:
            pairs = own[np.triu_indices(len(own), 1)]
            assert row.mean_cka == pytest.approx((pairs**2).mean(), rel=1e-4)


@pytest.fixture(scope="module")
def zoo_claims() -> pd.DataFrame:
    network, images = load_zoo("densenet-40-12-digits"), load_test_images("digits")
    return check_claims(network, images, num_images=40, num_untrained=2).set_index("claim")


def test_the_claims_on_a_network_of_the_zoo(zoo_claims: pd.DataFrame) -> None:
    assert zoo_claims.index.tolist() == [claim.name for claim in (*FIGURE_5, *ALL_ON_IMAGES)]
    assert zoo_claims["verdict"].tolist()[:5] == [
        "holds, as it does untrained",
        "holds, as it does untrained",
        "does not hold",
        "does not hold",
        "holds",
    ]
    measured = zoo_claims.loc[ON_IMAGES]
    assert measured["value"].notna().all()
    assert (measured["num_untrained"] == 2).all()
    assert (measured["untrained_low"] < measured["untrained_high"]).all()
    assert zoo_claims.loc["fewer_parameters", "num_untrained"] == 0  # an untrained network reaches no error


def test_explosion_is_no_success(zoo_claims: pd.DataFrame) -> None:
    row = zoo_claims.loc["even_gradients"]
    assert row["control"] == "Plain-38, untrained"
    assert row["control_value"] > 10 > row["value"] >= 1
    assert row["criterion"] == "at most 10 and below the control"


def test_without_images_what_needs_them_is_not_decidable() -> None:
    claims = check_claims(load_zoo("densenet-40-12-digits"), num_untrained=1).set_index("claim")
    assert set(claims.loc[ON_IMAGES, "reason"]) == {"it is measured on images, and none were given"}
    assert set(claims.loc[ON_IMAGES, "verdict"]) == {"not decidable"}
    # every path to the loss has 1, 2 or 3 layers; in a chain of 40 the mean is 20
    assert claims.loc["short_paths", "value"] == pytest.approx(2.0 / 20)
    assert claims.loc["short_paths", "verdict"] == "holds, as it does untrained"


def overfitting(own: Checkpoint, beside: Checkpoint | None, num_images: int = 60) -> pd.Series:
    splits = load_splits("digits")
    claims = check_claims(
        own, splits.test, [] if beside is None else [beside], num_images, splits.train, num_untrained=0
    )
    return claims.set_index("claim").loc["overfits_less"]


def test_the_gap_of_losses_is_that_of_the_images() -> None:
    own, other = (create_model("densenet-7-2", in_channels=1) for _ in range(2))
    networks = [Checkpoint(m.spec, m.state_dict(), {"dataset": "X"}) for m in (own, other)]
    same = overfitting(networks[0], networks[0])
    assert (same["value"], same["low"], same["high"]) == (0, 0, 0)
    row = overfitting(
        networks[0], dataclasses.replace(networks[1], record={"dataset": "X", "recipe": {"drop_rate": 0.2}})
    )
    assert row["low"] <= row["value"] <= row["high"]
    assert row["verdict"] == ("holds" if row["high"] <= 0 else "does not hold" if row["low"] > 0 else "undecided")
    assert row["reason"] == "60 training and 60 test images, one seed each; trained with dropout 0 against 0.2"


def test_the_gap_of_losses_needs_a_network_trained_on_the_same_data_and_images() -> None:
    own = create_model("densenet-7-2", in_channels=1)
    network = Checkpoint(own.spec, own.state_dict(), {"dataset": "X"})
    elsewhere = dataclasses.replace(network, record={"dataset": "Y"})
    assert overfitting(network, elsewhere)["reason"] == "the other was trained on Y, this on X"
    assert overfitting(network, None)["reason"] == "no ResNet trained on the same data was given beside it"
    assert overfitting(network, network, 20)["verdict"] == "not decidable"


def fewer_parameters(name: str, **record: object) -> pd.Series:
    """The claim on a shipped network whose record says something else."""
    network = load_zoo(name)
    changed = dataclasses.replace(network, record=network.record | record)
    return check_claims(changed, num_untrained=0).set_index("claim").loc["fewer_parameters"]


def test_parameters_at_equal_error_come_from_the_results() -> None:
    claim = fewer_parameters("densenet-40-12-digits", test_error=1.08, epochs=20)
    assert 0 < claim["value"] < 1  # a ResNet-8 of 75,002 parameters has that error
    assert claim["verdict"] == "does not hold"
    claim = fewer_parameters("densenet-40-12-digits", test_error=0.01, epochs=20)
    assert (claim["verdict"], claim["high"]) == ("undecided", np.inf)  # no ResNet reaches it: at least as many
    unknown = dataclasses.replace(load_zoo("densenet-40-12-digits"), record={})
    assert "does not say" in check_claims(unknown, num_untrained=0)["reason"].iloc[-1]


def test_preactivation_resnets_are_resnets_and_none_is_compared_that_was_trained_for_fewer_epochs() -> None:
    own = load_zoo("densenet-bc-40-12-cifar10-jpeg").num_params
    between = fewer_parameters("densenet-bc-40-12-cifar10-jpeg", test_error=21.41, epochs=3)  # as ResNet-20 (pre-act.)
    assert between["value"] == pytest.approx(219_482 / own)
    assert between["verdict"] == "holds"
    longer = fewer_parameters("densenet-bc-40-12-cifar10-jpeg")
    assert longer["verdict"] == "not decidable"
    assert longer["reason"] == "no ResNet with results on CIFAR-10 (JPEG)+ was trained for 12 epochs or more"


def test_an_order_that_is_not_visible_leaves_the_observations_open() -> None:
    network = dataclasses.replace(checkpoint_of(SPECS[0]), order=None, layout="shapes")
    verdicts = check_claims(network, num_untrained=0)["verdict"]
    assert verdicts.tolist()[:5] == ["not decidable"] * 5
    told = dataclasses.replace(network, order="new_first")
    assert check_claims(told, num_untrained=0)["verdict"].iloc[0] != "not decidable"


def test_wrong_networks_and_images_are_refused() -> None:
    with pytest.raises(CheckpointError, match="feature reuse is measured on DenseNets"):
        check_claims(create_model("resnet-8"))
    wrong = TensorImages(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4).long(), tuple("abcde"), "none")
    with pytest.raises(DataError, match="the images have 1 channel,"):
        check_claims(checkpoint_of(SPECS[0]), wrong)
