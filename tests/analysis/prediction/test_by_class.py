"""Reuse by class and the similarity of layers, against one-class ablations and naive sums."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.prediction import by_class
from analysis.prediction.by_class import class_profiles, cluster_classes, confusion_pairs, reuse_by_class
from analysis.prediction.similarity import layer_similarity, similarity_beside_untrained, similarity_matrix
from analysis.reuse.ablation import connection_ablation
from analysis.reuse.cuts.partial_sums import PartialSums
from densenet_core import DataError
from densenet_core.data.images import TensorImages
from tests.analysis.prediction.networks import DENSE, RESIDUAL, checkpoint_of
from tests.analysis.prediction.test_lens import some_images

SPEC = DENSE["BC"]


@pytest.mark.slow
def test_a_class_is_the_ablation_on_its_images_alone() -> None:
    checkpoint, images = checkpoint_of(SPEC), some_images()
    table = reuse_by_class(checkpoint, images, batch_size=6)
    for number in (0, 3):
        alone = connection_ablation(checkpoint, images.subset(torch.nonzero(images.labels == number)[:, 0]))
        own = table[table["class"] == number]
        np.testing.assert_allclose(own["ablation"], alone["ablation"], atol=1e-5)
        np.testing.assert_allclose(own["error_rise"], alone["error_rise"], atol=1e-3)
    everyone = connection_ablation(checkpoint, images)["ablation"]
    mean = table.groupby(["block", "target_layer", "source_layer"], sort=False)["ablation"].mean()
    np.testing.assert_allclose(mean, everyone, atol=1e-5)


def test_confusions_are_counted_images() -> None:
    checkpoint, images = checkpoint_of(SPEC), some_images()
    table = reuse_by_class(checkpoint, images)
    confusions = table.attrs["confusions"]
    assert np.abs(confusions.sum(2)).max() == 0  # an image that leaves one class comes to another
    wrong = -np.diagonal(confusions, axis1=1, axis2=2) / 4 * 100  # four images a class
    np.testing.assert_allclose(table["error_rise"], wrong.ravel(), atol=1e-6)
    pairs = confusion_pairs(table, top=5)
    assert (pairs["class"] != pairs["predicted"]).all() and (pairs["images"] != 0).all()


def test_many_classes_are_measured_without_their_confusions(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, images = checkpoint_of(SPEC), some_images()
    expected = reuse_by_class(checkpoint, images)
    monkeypatch.setattr(by_class, "MAX_CONFUSIONS", 1)
    table = reuse_by_class(checkpoint, images)
    pd.testing.assert_frame_equal(table, expected)
    assert "confusions" not in table.attrs
    assert confusion_pairs(table).empty


def test_classes_that_need_the_same_connections_lie_side_by_side() -> None:
    generator = np.random.default_rng(0)
    table = reuse_by_class(checkpoint_of(SPEC), some_images())
    shared = generator.normal(size=(2, len(table) // 5))
    for number in range(5):  # classes 0, 2 and 4 share a profile; so do 1 and 3
        noise = 0.1 * generator.normal(size=len(table) // 5)
        table.loc[table["class"] == number, "ablation"] = shared[number % 2] + noise
    clustered = cluster_classes(table)
    parity = [number % 2 for number in clustered.index]
    assert sorted(parity) in (parity, parity[::-1])
    assert clustered.loc[0, 2] > 0.8 > 0 > clustered.loc[0, 1]
    assert np.abs(class_profiles(table).mean()).max() < 1e-9
    with pytest.raises(DataError, match="measure 'x' is not one of"):
        class_profiles(table, "x")


def naive_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased HSIC with explicit sums over four different images (Song et al. 2012, equation 4)."""

    def hsic(a: np.ndarray, b: np.ndarray) -> float:
        n = len(a)
        k, g = a @ a.T, b @ b.T
        np.fill_diagonal(k, 0)
        np.fill_diagonal(g, 0)
        one = np.ones(n)
        value = (
            np.trace(k @ g) + one @ k @ one * (one @ g @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * one @ k @ g @ one
        )
        return value / (n * (n - 3))

    return hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))


def test_similarity_is_the_formula_on_hooked_maps() -> None:
    checkpoint, images = checkpoint_of(SPEC), some_images()
    model, seen = checkpoint.to_model(), {}
    for name in ("denseblock1.denselayer1", "denseblock2.denselayer2"):
        model.get_submodule(f"features.{name}").register_forward_hook(lambda _, __, x, n=name: seen.update({n: x}))
    with torch.inference_mode():
        model(next(images.batches(20))[0])
    values = [maps.mean((2, 3)).double().numpy() for maps in seen.values()]
    matrix = similarity_matrix(layer_similarity(checkpoint, images, batch_size=7))
    assert matrix.loc[(1, 1), (2, 2)] == pytest.approx(naive_cka(*values), rel=1e-3)
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-6)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-9)


def test_between_two_networks() -> None:
    images = some_images(40)
    table = layer_similarity(checkpoint_of(SPEC), images, checkpoint_of(RESIDUAL["ResNet"]))
    assert similarity_matrix(table).shape == (7, 6)
    assert table["cka"].max() <= 1 + 1e-6
    with pytest.raises(DataError, match="CKA needs 4 images or more"):
        layer_similarity(checkpoint_of(SPEC), images, num_images=3)


def test_untrained_networks_of_one_architecture_are_two_networks() -> None:
    images, steps = some_images(40), []
    network = checkpoint_of(SPEC)
    table = similarity_beside_untrained(network, images, network, on_batch=lambda *step: steps.append(step))
    trained, untrained = (similarity_matrix(own) for _, own in table.groupby("weights"))
    np.testing.assert_allclose(np.diag(trained), 1, atol=1e-6)
    assert np.diag(untrained)[1:].max() < 0.999
    shares = [done / total for done, total in steps]
    assert shares == sorted(shares) and shares[-1] == 1


SPEC_CHECKPOINT = checkpoint_of(SPEC)


def test_unrelated_noise_is_not_similar() -> None:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 256, (60, 3, 16, 16), generator=generator).to(torch.uint8)
    images = TensorImages(noise, torch.arange(60) % 5, tuple("abcde"), "none")
    matrix = similarity_matrix(layer_similarity(SPEC_CHECKPOINT, images))
    shuffled = similarity_matrix(layer_similarity(SPEC_CHECKPOINT, images, checkpoint_of(SPEC, seed=9)))
    assert matrix.to_numpy().mean() > shuffled.to_numpy().mean()


@pytest.mark.slow
def test_an_interrupted_measurement_resumes_and_a_finished_one_is_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, images, done = checkpoint_of(SPEC), some_images(), []
    whole = reuse_by_class(checkpoint, images, batch_size=6)

    def interrupt(number: int, _: int) -> None:
        done.append(number)
        if number == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reuse_by_class(checkpoint, images, batch_size=6, on_batch=interrupt, keep_in=tmp_path)
    resumed = reuse_by_class(checkpoint, images, batch_size=6, on_batch=interrupt, keep_in=tmp_path)
    assert done == [6, 12, 18, 20]  # the first 12 images are measured once
    monkeypatch.setattr(by_class, "cut_scores", None)
    cached = reuse_by_class(checkpoint, images, on_batch=interrupt, keep_in=tmp_path)
    assert done == [6, 12, 18, 20]
    for found in (resumed, cached):
        pd.testing.assert_frame_equal(found, whole, atol=1e-12, rtol=1e-12)
        np.testing.assert_allclose(found.attrs["confusions"], whole.attrs["confusions"])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", "other shape"])
def test_a_damaged_cache_is_removed(content: bytes | str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "sums.npz"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        np.savez(file, done=3, sums=np.zeros(7))
    sums = PartialSums(file, num_images=10, shape=(2,))
    assert sums.done == 0 and not file.exists() and "is damaged" in caplog.text
    sums.add(4, np.array([1.0, 2.0]))
    again = PartialSums(file, num_images=10, shape=(2,))
    assert again.done == 4 and again.total.tolist() == [1, 2]
