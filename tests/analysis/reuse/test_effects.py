"""What connections do on data, against a network worked out by hand and against cutting by hooks, one at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.reuse import ablation, effects
from analysis.reuse.ablation import connection_ablation
from analysis.reuse.comparison.image_effects import EFFECTS
from analysis.reuse.connections import connection_weights
from analysis.reuse.cuts import scores
from analysis.reuse.dissection import dissect
from analysis.reuse.effects import connection_effects
from analysis.reuse.measures import HALVES
from densenet_core import Checkpoint, CheckpointError, DataError, DenseNet, DenseNetSpec, create_model
from densenet_core.checkpoints.identify.connectivity import targets
from densenet_core.data.images import TensorImages, sample_evenly

pytestmark = pytest.mark.slow
SPECS = [
    DenseNetSpec((3, 2), 4, 8, num_classes=5),
    DenseNetSpec((3, 2), 4, 8, bottleneck=False, compression=1.0, num_classes=5),
    DenseNetSpec((2,), 3, 5, num_classes=5),
    DenseNetSpec((1,), 3, 5, num_classes=5),
    DenseNetSpec((2, 1, 2), 4, 8, stem="imagenet", num_classes=5),
]


def some_images(number: int = 12, size: int = 16, channels: int = 3) -> TensorImages:
    generator = torch.Generator().manual_seed(3)
    light = torch.randint(20, 256, (number, channels, 1, 1), generator=generator)
    pixels = (torch.rand(number, channels, size, size, generator=generator) * light).to(torch.uint8)
    return TensorImages(pixels, torch.arange(number) % 5, tuple("abcde"), "none")


def images_for(spec: DenseNetSpec) -> TensorImages:
    return some_images(size=64 if spec.stem == "imagenet" else 16)


def checkpoint_of(spec: DenseNetSpec) -> Checkpoint:
    """A network whose every part matters: running statistics of real passes, a classifier with large weights."""
    torch.manual_seed(0)
    model = DenseNet(spec).train()
    batch, _ = next(images_for(spec).batches(12))
    with torch.no_grad():
        for _ in range(20):
            model(batch)
        model.classifier.weight *= 10
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        norms[len(norms) // 2].weight[::3] *= -1  # an upper bound instead of a lower one
        norms[-1].weight[0] = 0  # can't be divided by
    return Checkpoint(spec, {key: tensor.detach().clone() for key, tensor in model.state_dict().items()})


def by_hooks(checkpoint: Checkpoint, images: TensorImages, row: pd.Series, replace: str) -> float:
    """The loss with one connection cut, in a plain pass of the whole network; the slice of the layer's own input."""
    model, batch, labels = checkpoint.to_model(), *next(images.batches(len(images)))
    (target,) = (t for t in targets(checkpoint.spec) if (t.block, t.layer) == (row.block, row.target_layer))
    low = sum(checkpoint.spec.source_channels(row.block)[: row.source_layer])

    def cut(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        own = inputs[0][:, low : low + row.num_channels]
        others = [dim for dim in range(own.dim()) if dim != 1]
        instead = own.mean(others, keepdim=True).expand_as(own) if replace == "mean" else torch.zeros_like(own)
        return (torch.cat((inputs[0][:, :low], instead, inputs[0][:, low + row.num_channels :]), dim=1),)

    model.get_submodule(target.weight.removesuffix(".weight")).register_forward_pre_hook(cut)
    with torch.inference_mode():
        return F.cross_entropy(model(batch), labels).item()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.family} {spec.block_config} {spec.stem}")
@pytest.mark.parametrize("fold", [False, True])
def test_taken_apart_it_is_the_same_network(spec: DenseNetSpec, fold: bool) -> None:
    checkpoint = checkpoint_of(spec)
    batch, _ = next(images_for(spec).batches(12))
    with torch.inference_mode():
        whole = checkpoint.to_model()(batch)
        torch.testing.assert_close(dissect(checkpoint, fold=fold)(batch), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.family} {spec.block_config} {spec.stem}")
@pytest.mark.parametrize("replace", ["zero", "mean"])
def test_ablation_is_what_cutting_one_connection_after_the_other_gives(
    spec: DenseNetSpec, replace: ablation.Replacement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores, "MAX_POSITIONS", 2 * 12 * 16 * 16)  # two variants at once: groups and a rest
    checkpoint, images = checkpoint_of(spec), images_for(spec)
    table = connection_ablation(checkpoint, images, replace=replace)
    with torch.inference_mode():
        batch, labels = next(images.batches(12))
        whole = F.cross_entropy(checkpoint.to_model()(batch), labels).item()
    assert table.attrs["loss"] == pytest.approx(whole, abs=1e-5)
    expected = [by_hooks(checkpoint, images, row, replace) - whole for row in table.itertuples()]
    np.testing.assert_allclose(table["ablation"], expected, atol=1e-5)
    assert np.abs(expected).max() > 0.02


def test_the_halves_are_the_ablation_of_every_other_image() -> None:
    checkpoint, images = checkpoint_of(SPECS[0]), some_images()
    found = connection_ablation(checkpoint, images)
    for first, half in enumerate(HALVES):
        alone = connection_ablation(checkpoint, images.subset(torch.arange(first, 12, 2)))
        np.testing.assert_allclose(found[half], alone["ablation"], atol=1e-6)


def test_the_effects_on_images_are_the_ablation_of_each_image_alone(tmp_path: Path) -> None:
    checkpoint, images = checkpoint_of(SPECS[0]), some_images()
    found = connection_ablation(checkpoint, images, batch_size=5, keep_in=tmp_path)
    one_by_one = connection_ablation(checkpoint, images, batch_size=1).attrs[EFFECTS].values
    effects = found.attrs[EFFECTS]
    # Batches of another size use other convolution kernels: float32 scores and effects of up to 4.6 nats differ by some
    # units in the last place (2.4e-6 at most over these images, on one and two threads). Batches of one image do not.
    np.testing.assert_allclose(effects.values, one_by_one, atol=3e-6)
    for number in (0, 7):
        alone = connection_ablation(checkpoint, images.subset(torch.tensor([number])))
        np.testing.assert_array_equal(one_by_one[number], alone["ablation"].astype(np.float32))
    again = connection_ablation(checkpoint, images, keep_in=tmp_path).attrs[EFFECTS]
    np.testing.assert_array_equal(again.values, effects.values)
    (file,) = tmp_path.iterdir()
    with np.load(file) as arrays:  # as an older version kept it
        np.savez(file, done=arrays["done"], sums=arrays["sums"])
    old = connection_ablation(checkpoint, images, keep_in=tmp_path)
    assert EFFECTS not in old.attrs
    np.testing.assert_array_equal(old["ablation"], found["ablation"])


def test_ablation_does_not_depend_on_the_batches() -> None:
    checkpoint, images = checkpoint_of(SPECS[0]), some_images()
    one, many = (connection_ablation(checkpoint, images, batch_size=size) for size in (12, 5))
    np.testing.assert_allclose(one["ablation"], many["ablation"], atol=1e-6)
    assert one.attrs["num_images"] == many.attrs["num_images"] == 12


def test_a_connection_without_weights_has_no_effect_at_all() -> None:
    checkpoint = checkpoint_of(SPECS[0])
    checkpoint.state_dict["features.denseblock1.denselayer3.conv1.weight"][:, 8:12] = 0  # source 1
    table = connection_ablation(checkpoint, some_images())
    table = table.merge(connection_effects(checkpoint, some_images()))
    (row,) = table[(table.block == 1) & (table.source_layer == 1) & (table.target_layer == 3)].itertuples()
    assert (row.ablation, row.error_rise, row.contribution, row.taylor) == (0, 0, 0, 0)
    assert (row.mean_abs_weight, row.effective_weight) == (0, 0)


def two_layer_network() -> Checkpoint:
    """One block, one layer, one map each, without anything that is not a plain factor: all can be done by hand."""
    spec = DenseNetSpec((1,), 1, 1, bottleneck=False, compression=1.0, num_classes=2, in_channels=1)
    state = {key: torch.zeros_like(tensor) for key, tensor in DenseNet(spec).state_dict().items()}
    for norm in ("features.denseblock1.denselayer1.norm1", "features.norm5"):
        state[f"{norm}.weight"] += 1
        state[f"{norm}.running_var"] += 1 - 1e-5  # with the norm's eps: 1
    state["features.conv0.weight"][0, 0, 1, 1] = 2.0
    state["features.denseblock1.denselayer1.conv1.weight"][0, 0, 1, 1] = 3.0
    state["classifier.weight"] += torch.tensor([[0.5, 0.1], [0.0, 0.0]])
    return Checkpoint(spec, state)


def test_a_two_layer_network_by_hand() -> None:
    images = TensorImages(torch.full((1, 1, 4, 4), 255, dtype=torch.uint8), torch.tensor([1]), ("a", "b"), "none")
    # The image is 1 everywhere: source 0 gives 2, the layer 3 x 2 = 6; the scores are 0.5 x 2 + 0.1 x 6 = 1.6, and 0.
    checkpoint = two_layer_network()
    found = connection_effects(checkpoint, images).merge(connection_ablation(checkpoint, images))

    def loss(score: float) -> float:
        return float(np.log1p(np.exp(score)))  # of the second class

    slope = 1 / (1 + np.exp(-1.6))  # of the loss by the first score
    assert found["target_kind"].tolist() == ["dense_layer", "classifier", "classifier"]
    assert found["contribution"].tolist() == pytest.approx([1.0, 1.0 / 1.6, 0.6 / 1.6])
    assert found["taylor"].tolist() == pytest.approx([slope * 0.6, slope * 1.0, slope * 0.6], rel=1e-5)
    expected = [loss(1.0) - loss(1.6), loss(0.6) - loss(1.6), loss(1.0) - loss(1.6)]
    assert found["ablation"].tolist() == pytest.approx(expected, rel=1e-5)
    assert found["error_rise"].tolist() == [0, 0, 0]
    assert found["effective_weight"].tolist() == pytest.approx([3 / 9, 0.25, 0.05])


def test_the_norms_factor_counts_in_the_effective_weight() -> None:
    checkpoint = checkpoint_of(SPECS[0])
    before = connection_weights(checkpoint)
    checkpoint.state_dict["features.denseblock1.denselayer3.norm1.weight"][8:12] *= 2  # source 1 of target 3
    ratio = connection_weights(checkpoint)["effective_weight"] / before["effective_weight"]
    changed = (before.block == 1) & (before.source_layer == 1) & (before.target_layer == 3)
    assert ratio[changed].tolist() == pytest.approx([2.0])
    assert ratio[~changed].tolist() == pytest.approx([1.0] * (len(before) - 1))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.family} {spec.block_config} {spec.stem}")
def test_taylor_is_the_slope_of_the_loss_by_each_connections_weights(spec: DenseNetSpec) -> None:
    """Scaling a connection's weights by 1 + h changes the loss by h x taylor: here by autograd on the plain network."""
    checkpoint, images = checkpoint_of(spec), images_for(spec)
    batch, labels = next(images.batches(12))
    model = checkpoint.to_model()
    F.cross_entropy(model(batch), labels).backward()
    table = connection_effects(checkpoint, images, batch_size=5)
    for row in table.itertuples():
        (target,) = (t for t in targets(spec) if (t.block, t.layer) == (row.block, row.target_layer))
        weight = model.get_parameter(target.weight)
        low = sum(spec.source_channels(row.block)[: row.source_layer])
        own = slice(low, low + row.num_channels)
        assert weight.grad is not None
        slope = (weight.grad[:, own] * weight.detach()[:, own]).sum().abs().item()
        assert row.taylor == pytest.approx(slope, abs=1e-5)
    shares = table.groupby(["block", "target_layer"])["contribution"].sum()
    assert shares.tolist() == pytest.approx([1.0] * len(shares))


def test_an_interrupted_ablation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, images = checkpoint_of(SPECS[0]), some_images()
    unbroken = connection_ablation(checkpoint, images, batch_size=4)

    def interrupt(done: int, total: int) -> None:
        assert total == 12
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        connection_ablation(checkpoint, images, batch_size=4, on_batch=interrupt, keep_in=tmp_path)
    batches, original = [], ablation._ablate_batch
    monkeypatch.setattr(ablation, "_ablate_batch", lambda *a: batches.append(1) or original(*a))
    for expected in (1, 1):  # the batch that was left; nothing
        resumed = connection_ablation(checkpoint, images, batch_size=4, keep_in=tmp_path)
        assert len(batches) == expected
        pd.testing.assert_frame_equal(resumed, unbroken)
    (state,) = tmp_path.iterdir()
    state.write_bytes(state.read_bytes()[:100])
    anew = connection_ablation(checkpoint, images, batch_size=4, keep_in=tmp_path)
    assert len(batches) == 1 + 3
    pd.testing.assert_frame_equal(anew, unbroken)
    connection_ablation(checkpoint_of(SPECS[2]), images, batch_size=12, keep_in=tmp_path)
    assert len(batches) == 5  # another network: a file of its own
    assert len(list(tmp_path.iterdir())) == 2


def test_the_table_of_the_images_so_far_is_that_of_these_images() -> None:
    checkpoint, images, seen = checkpoint_of(SPECS[0]), some_images(), []
    whole = connection_ablation(checkpoint, images, batch_size=4, on_table=lambda make: seen.append(make()))
    assert len(seen) == 3
    alone = connection_ablation(checkpoint, images.subset(torch.arange(4)))
    for early, expected in ((seen[0], alone), (seen[-1], whole)):
        assert early["ablation"].tolist() == pytest.approx(expected["ablation"].tolist(), abs=1e-6)


def test_where_memory_ends_batches_are_halved_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, images, original = checkpoint_of(SPECS[0]), some_images(), effects._measure_batch
    whole = connection_effects(checkpoint, images)

    def with_little_memory(dissection: object, batch: Tensor, labels: Tensor) -> object:
        if len(batch) > 4:
            raise torch.OutOfMemoryError
        return original(dissection, batch, labels)

    monkeypatch.setattr(effects, "_measure_batch", with_little_memory)
    with pytest.warns(UserWarning, match="a batch of 12 does not fit in the device's memory: continuing with 6"):
        halved = connection_effects(checkpoint, images)
    pd.testing.assert_frame_equal(halved, whole, rtol=1e-4)

    def without_memory(*_: object) -> object:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(effects, "_measure_batch", without_memory)
    with pytest.warns(UserWarning), pytest.raises(DataError, match="one image does not fit in the device's memory"):
        connection_effects(checkpoint, images)


def test_images_are_taken_evenly_over_the_set() -> None:
    images = some_images()
    assert sample_evenly(images, 4).labels.tolist() == [0, 4, 2, 1]  # rows 0, 4, 7, 11
    assert sample_evenly(images, 99) is images
    with pytest.raises(DataError, match="num_images 0 must be 1 or more"):
        sample_evenly(images, 0)


def test_invalid_input_is_rejected_before_anything_runs() -> None:
    checkpoint = checkpoint_of(SPECS[0])
    for measure in (connection_effects, connection_ablation):
        with pytest.raises(DataError, match="the images have 1 channel, the network expects 3"):
            measure(checkpoint, some_images(channels=1))
        with pytest.raises(CheckpointError, match="feature reuse is measured on DenseNets"):
            measure(create_model("resnet-8"), some_images())
    with pytest.raises(ValueError, match="replace 'noise' is unknown: choose zero or mean"):
        connection_ablation(checkpoint, some_images(), replace="noise")
