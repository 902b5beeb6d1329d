from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.claims.claims import check_claims, claims_table, untrained
from analysis.claims.redundancy import block_redundancy, effective_rank, mean_cka
from densenet_core import Checkpoint, CheckpointError, DataError, DenseNetSpec, create_model, load_zoo
from densenet_core.data.datasets import load_test_images
from densenet_core.data.images import TensorImages
from tests.analysis.reuse.test_effects import SPECS, checkpoint_of, some_images


def test_effective_rank_of_known_spectra() -> None:
    assert effective_rank(np.diag([2.0, 2.0, 2.0, 0.0])) == pytest.approx(3)
    assert effective_rank(np.ones((4, 4))) == pytest.approx(1)
    shares = np.array([0.75, 0.25])
    assert effective_rank(np.diag([3.0, 1.0])) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert np.isnan(effective_rank(np.zeros((2, 2))))


def test_cka_is_one_for_rotated_maps_and_small_for_independent_ones() -> None:
    generator = np.random.default_rng(0)
    x, noise = generator.normal(size=(5000, 3)), generator.normal(size=(5000, 3))
    rotation, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    same = np.cov(np.hstack([x, 2 * x @ rotation]).T)
    assert mean_cka(same, (0, 3, 6)) == pytest.approx(1)
    assert mean_cka(np.cov(np.hstack([x, noise]).T), (0, 3, 6)) < 0.01
    assert np.isnan(mean_cka(np.eye(3), (0, 3)))


def test_redundancy_is_that_of_the_maps_that_leave_each_block() -> None:
    checkpoint, images = checkpoint_of(SPECS[0]), some_images()
    model, seen = checkpoint.to_model(), []
    for name in ("denseblock1", "denseblock2"):
        model.features.get_submodule(name).register_forward_hook(lambda _, __, out: seen.append(out))
    with torch.inference_mode():
        model(next(images.batches(12))[0])
    table = block_redundancy(checkpoint, images, batch_size=5)
    for row, maps in zip(table.itertuples(), seen, strict=True):
        values = maps.transpose(0, 1).flatten(1).double().numpy()
        covariance = np.cov(values, bias=True)
        assert row.num_maps == len(values)
        assert row.effective_rank == pytest.approx(effective_rank(covariance), rel=1e-4)
        edges = tuple(np.cumsum([0, *SPECS[0].source_channels(row.block)]).tolist())
        assert row.mean_cka == pytest.approx(mean_cka(covariance, edges), rel=1e-4)


def test_the_claims_on_a_network_of_the_zoo() -> None:
    network = load_zoo("densenet-40-12-digits")
    table = claims_table(check_claims(network, load_test_images("digits"), num_images=60))
    assert len(table) == 10
    assert table["verdict"].tolist()[:4] == ["holds", "holds", "does not hold", "holds"]
    measured = table.iloc[4:8]
    assert measured["value"].notna().all() and measured["null"].notna().all()
    for row in table.itertuples():
        bound = float(row.criterion.split()[-1])
        if row.value is not None and not np.isnan(row.value):
            expected = row.value >= bound if "least" in row.criterion else row.value <= bound
            assert row.holds == expected
        else:
            assert row.verdict == "not decidable" and row.reason


def test_without_images_what_needs_them_is_not_decidable() -> None:
    claims = check_claims(load_zoo("densenet-40-12-digits"))
    assert [claim.reason for claim in claims[4:7]] == ["it is measured on images, and none were given"] * 3
    assert claims[7].value == pytest.approx(2.0 / 20)  # every path to the loss: 1, 2 or 3 layers; a chain of 40: 20


def test_the_gap_of_losses_needs_a_network_trained_on_the_same_data() -> None:
    spec = DenseNetSpec((2, 2), 4, 8)
    state = create_model("densenet-7-2").state_dict()
    record = {"dataset": "X", "train_loss": 0.1, "test_loss": 0.3}
    own = Checkpoint(spec, checkpoint_of(spec).state_dict, record)
    other = Checkpoint(create_model("densenet-7-2").spec, state, record | {"test_loss": 0.5})
    claim = check_claims(own, beside=other)[8]
    assert (claim.value, claim.holds) == (pytest.approx(-0.2), True)
    worse = Checkpoint(other.spec, state, record | {"test_loss": 0.2})
    assert check_claims(own, beside=worse)[8].holds is False
    elsewhere = Checkpoint(other.spec, state, record | {"dataset": "Y"})
    assert check_claims(own, beside=elsewhere)[8].reason == "the other was trained on Y, this on X"
    assert check_claims(own)[8].reason == "no ResNet trained on the same data was given beside it"


def test_parameters_at_equal_error_come_from_the_results() -> None:
    record = load_zoo("densenet-40-12-digits").record
    network = load_zoo("densenet-40-12-digits")
    as_good_as_a_resnet = Checkpoint(network.spec, network.state_dict, record | {"test_error": 1.08})
    claim = check_claims(as_good_as_a_resnet)[9]
    assert claim.value is not None and 0 < claim.value < 1  # a ResNet-8 of 75,002 parameters has that error
    assert claim.holds is False
    assert "does not say" in check_claims(Checkpoint(network.spec, network.state_dict))[9].reason


def test_an_untrained_network_is_of_the_same_spec_and_has_the_images_statistics() -> None:
    images = some_images(60)
    null = untrained(checkpoint_of(SPECS[0]), images)
    assert null.spec == SPECS[0]
    model, seen = null.to_model(), []
    model.features.norm5.register_forward_hook(lambda _, __, out: seen.append(out))
    with torch.inference_mode():
        model(next(images.batches(60))[0])
    assert abs(float(seen[0].mean())) < 0.1
    assert float(seen[0].std()) == pytest.approx(1, abs=0.15)


def test_what_is_wrong_is_told() -> None:
    with pytest.raises(CheckpointError, match="feature reuse is read off DenseNets"):
        check_claims(create_model("resnet-8"))
    wrong = TensorImages(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4).long(), tuple("abcde"), "none")
    with pytest.raises(DataError, match="the images have 1 channels"):
        check_claims(checkpoint_of(SPECS[0]), wrong)
