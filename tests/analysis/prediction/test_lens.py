"""The layer lens and linear probes, against hooks on the classifier and networks whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.prediction.lens import PooledParts, decision_depths, image_lens, lens_by_depth, pooled_parts
from analysis.prediction.predictor import as_predictor
from analysis.prediction.probes import linear_probes, pooled_features
from densenet_core import Checkpoint, DataError
from densenet_core.data.images import TensorImages
from tests.analysis.prediction.networks import DENSE, RESIDUAL, checkpoint_of

SPEC = DENSE["BC"]


def some_images(number: int = 20, size: int = 16) -> TensorImages:
    generator = torch.Generator().manual_seed(3)
    light = torch.randint(20, 256, (number, 3, 1, 1), generator=generator)
    pixels = (torch.rand(number, 3, size, size, generator=generator) * light).to(torch.uint8)
    return TensorImages(pixels, torch.arange(number) % 5, tuple("abcde"), "none")


def classifier_inputs(checkpoint: Checkpoint, images: TensorImages) -> Tensor:
    model, seen = checkpoint.to_model(), []
    model.classifier.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    with torch.inference_mode():
        model(next(images.batches(len(images)))[0])
    return seen[0]


def test_probes_need_two_classes() -> None:
    images = some_images()
    one = TensorImages(images.pixels, torch.zeros(20, dtype=torch.long), images.class_names, "none")
    with pytest.raises(DataError, match="are all of one class: give images of two classes or more"):
        linear_probes(checkpoint_of(SPEC), one, images)


@pytest.mark.parametrize("replace", ["mean", "zero"])
def test_the_lens_is_the_classifier_on_what_is_left(replace: str) -> None:
    checkpoint, images = checkpoint_of(SPEC), some_images()
    inputs, labels = classifier_inputs(checkpoint, images), images.labels
    classifier, low = checkpoint.to_model().classifier, 0
    table = lens_by_depth(pooled_parts(checkpoint, images, batch_size=7), replace)
    one = image_lens(checkpoint, next(images.batches(2))[0], pooled_parts(checkpoint, images), replace)
    for source, width in enumerate(SPEC.source_channels(2)):
        low += width
        instead = inputs.mean(0) if replace == "mean" else torch.zeros(inputs.shape[1])
        with torch.inference_mode():
            scores = classifier(torch.cat((inputs[:, :low], instead[low:].expand(len(inputs), -1)), dim=1))
        row = table.iloc[source]
        assert row["loss"] == pytest.approx(F.cross_entropy(scores, labels).item(), rel=1e-4)
        assert row["error"] == pytest.approx(100 * (scores.argmax(1) != labels).float().mean().item())
        found = one[(one["source_layer"] == source) & (one["image"] == 1)]["probability"]
        np.testing.assert_allclose(found, scores[1].softmax(0), rtol=1e-3, atol=1e-6)


def test_the_last_depth_is_the_network() -> None:
    for spec in (SPEC, RESIDUAL["ResNet"], RESIDUAL["pre-activation"]):
        checkpoint, images = checkpoint_of(spec), some_images()
        with torch.inference_mode():
            scores = checkpoint.to_model()(next(images.batches(20))[0])
        table = lens_by_depth(pooled_parts(checkpoint, images))
        assert table["loss"].iloc[-1] == pytest.approx(F.cross_entropy(scores, images.labels).item(), rel=1e-4)
        assert table["agreement"].iloc[-1] == table["decided"].iloc[-1] == 100
        assert table["decided"].is_monotonic_increasing


def test_a_classifier_that_reads_one_layer_decides_there() -> None:
    labels = torch.arange(6) % 3
    at_one = F.one_hot(labels, 3).float()  # source 1 knows the class, sources 0 and 2 say nothing
    pooled = (torch.rand(6, 2), at_one, torch.rand(6, 4))
    weights = (torch.zeros(3, 2), torch.eye(3) * 5, torch.zeros(3, 4))
    parts = PooledParts(pooled, weights, torch.zeros(6, 3), labels)
    table = lens_by_depth(parts)
    assert table["error"].tolist() == pytest.approx([200 / 3, 0, 0])
    assert decision_depths(parts).tolist() == [0, 1, 1, 0, 1, 1]  # before, all classes are even: the first one wins
    assert table["decided"].tolist() == pytest.approx([100 / 3, 100, 100])
    assert table["loss"].iloc[0] == pytest.approx(np.log(3))


def test_a_layer_that_overrules_the_others_decides() -> None:
    one = torch.ones(4, 1)
    weights = (torch.tensor([[1.0], [0]]), torch.tensor([[0.0], [3]]), torch.tensor([[5.0], [0]]))
    parts = PooledParts((one, one, one), weights, torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
    assert decision_depths(parts, "zero").tolist() == [2] * 4  # first class 0, then 1, then 0 again
    assert lens_by_depth(parts, "zero")["agreement"].tolist() == [100, 0, 100]


def test_the_lens_of_a_classifier_of_zeros_is_flat() -> None:
    model = checkpoint_of(SPEC).to_model()
    with torch.no_grad():
        model.classifier.weight.zero_()
    table = lens_by_depth(pooled_parts(model, some_images()))
    assert np.ptp(table["loss"]) < 1e-6 and np.ptp(table["error"]) == 0


def test_a_probe_reads_what_the_next_layer_reads() -> None:
    checkpoint, images = checkpoint_of(SPEC), some_images()
    model, seen = checkpoint.to_model(), {}
    for layer in (2, 3):
        name = f"features.denseblock1.denselayer{layer}"
        model.get_submodule(name).register_forward_pre_hook(lambda _, x, layer=layer: seen.update({layer: x[0]}))
    with torch.inference_mode():
        model(next(images.batches(20))[0])
    features, labels = pooled_features(as_predictor(checkpoint), images, batch_size=6)
    for layer in (2, 3):
        np.testing.assert_allclose(features[1, layer - 1], seen[layer].mean((2, 3)), rtol=1e-4, atol=1e-5)
    assert labels.tolist() == images.labels.tolist()


@pytest.mark.slow
def test_probes_find_the_brightness_and_no_shuffled_labels() -> None:
    checkpoint = checkpoint_of(SPEC)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 5
    noise = torch.rand(120, 3, 16, 16, generator=generator)
    bright = TensorImages(((labels[:, None, None, None] + noise) * 40).to(torch.uint8), labels, tuple("abcde"), "none")
    shuffled = TensorImages(bright.pixels, labels[torch.randperm(120, generator=generator)], tuple("abcde"), "none")
    found = {}
    for name, images in (("bright", bright), ("shuffled", shuffled)):
        halves = images.subset(torch.arange(60)), images.subset(torch.arange(60, 120))
        found[name] = linear_probes(checkpoint, *halves)
    assert (found["bright"]["test_error"] < 20).all()
    assert found["shuffled"]["test_error"].mean() > 60
    assert found["bright"][["block", "source_layer"]].to_numpy().tolist()[:5] == [
        [1, 0],
        [1, 1],
        [1, 2],
        [1, 3],
        [2, 0],
    ]


def test_probes_after_the_blocks_of_a_resnet() -> None:
    images = some_images()
    said: list[tuple[int, int]] = []
    report = lambda done, total: said.append((done, total))  # noqa: E731
    table = linear_probes(checkpoint_of(RESIDUAL["ResNet"]), images, images, on_batch=report)
    assert said == [(done, 6) for done in range(7)]  # from the first probe's beginning on
    assert table["num_maps"].tolist() == [16, 16, 32, 32, 64, 64]


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(DataError, match="replace 'median' is not one of zero, mean"):
        lens_by_depth(pooled_parts(checkpoint_of(SPEC), some_images()), "median")
    with pytest.raises(DataError, match="image"):
        pooled_parts(checkpoint_of(DENSE["volumes"]), some_images())
