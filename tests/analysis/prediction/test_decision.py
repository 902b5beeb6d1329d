"""Connections of a decision, against hooks, exact parts and a network with one live path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from analysis.prediction.decision import decision_connections, strongest_paths
from analysis.prediction.feature_maps import Place, driving_images, first_filters, layer_maps, read_maps, source_maps
from analysis.prediction.logits import logit_contributions
from analysis.reuse.connections import targets
from densenet_core import CheckpointError, DataError, DenseNetSpec
from tests.analysis.prediction.networks import DENSE, RESIDUAL, checkpoint_of, images_for
from tests.analysis.prediction.test_lens import some_images

SPEC = DENSE["BC"]


def logit_without(model: nn.Module, place: tuple[int, int, int], images: Tensor, for_class: int) -> float:
    """The mean logit when the target's convolution gets zeros in place of one source, by a hook."""
    block, source, target = place
    channels = SPEC.source_channels(block)
    low = sum(channels[:source])
    (name,) = (t.weight.removesuffix(".weight") for t in targets(SPEC) if (t.block, t.layer) == (block, target))

    def cut(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        changed = inputs[0].clone()
        changed[:, low : low + channels[source]] = 0
        return (changed,)

    handle = model.get_submodule(name).register_forward_pre_hook(cut)
    with torch.inference_mode():
        logit = float(model(images)[:, for_class].mean())
    handle.remove()
    return logit


@pytest.mark.slow
def test_cutting_is_what_hooks_do() -> None:
    images, model = images_for(SPEC), checkpoint_of(SPEC).to_model()
    with torch.inference_mode():
        whole = float(model(images)[:, 2].mean())
    table = decision_connections(checkpoint_of(SPEC), images, 2, cut=True)
    for row in table.itertuples():
        expected = whole - logit_without(model, (row.block, row.source_layer, row.target_layer), images, 2)
        assert row.cut_effect == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_gradient_activation_is_autograds() -> None:
    images, model = images_for(SPEC), checkpoint_of(SPEC).to_model()
    kept: dict[str, Tensor] = {}
    for target in targets(SPEC):
        name = target.weight.removesuffix(".weight")
        model.get_submodule(name).register_forward_pre_hook(lambda _, x, name=name: kept.update({name: x[0]}))
    scores = model(images)
    gradients = dict(
        zip(kept, torch.autograd.grad((scores[:, 3] - scores[:, 1]).sum(), list(kept.values())), strict=True)
    )
    table = decision_connections(checkpoint_of(SPEC), images, 3, against=1)
    for target in targets(SPEC):
        name = target.weight.removesuffix(".weight")
        channels = SPEC.source_channels(target.block)[: target.layer]
        product = (kept[name] * gradients[name]).transpose(0, 1).flatten(1).sum(1).detach() / 3
        expected = [own.sum().item() for own in product.split(list(channels))]
        rows = table[(table["block"] == target.block) & (table["target_layer"] == target.layer)]
        np.testing.assert_allclose(rows["gradient_activation"], expected, rtol=1e-3, atol=1e-4)


def test_to_the_classifier_it_is_the_logit_by_layer() -> None:
    images = images_for(SPEC)
    table = decision_connections(checkpoint_of(SPEC), images, 2, cut=True)
    parts = logit_contributions(checkpoint_of(SPEC), images, [2]).groupby("source_layer")["contribution"].mean()
    rows = table[table["target_kind"] == "classifier"]
    for column in ("gradient_activation", "cut_effect"):
        np.testing.assert_allclose(rows[column], parts[parts.index >= 0], rtol=1e-3, atol=1e-5)


def all_paths(spec: DenseNetSpec) -> int:
    """Paths from the stem to the classifier: 2^n in a block of n layers."""
    return 2 ** sum(spec.block_config)


def test_without_shifts_all_paths_sum_to_the_logit() -> None:
    checkpoint = checkpoint_of(SPEC)
    model, image = checkpoint.to_model(), images_for(SPEC)[:1]
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.zero_()
                module.running_mean.zero_()
        model.classifier.bias.zero_()
        logit = float(model(image)[0, 2])
    table = strongest_paths(model, image, 2, top=1000, beam=1000)
    assert len(table) == all_paths(SPEC)
    assert table["part"].sum() == pytest.approx(logit, rel=1e-3)
    assert table["share"].abs().sum() == pytest.approx(1)
    assert strongest_paths(model, image, 2, top=3, beam=1000)["path"].tolist() == table["path"].tolist()[:3]


def test_the_one_live_path_is_found() -> None:
    model = checkpoint_of(SPEC).to_model()
    channels = SPEC.source_channels(2)
    with torch.no_grad():  # the classifier reads layer 1 of block 2 only, and that the transition alone
        kept = model.classifier.weight[:, channels[0] : channels[0] + channels[1]].clone()
        model.classifier.weight.zero_()
        model.classifier.weight[:, channels[0] : channels[0] + channels[1]] = kept
        transition = model.features.transition1.conv.weight
        transition[:, : SPEC.num_init_features + 2 * SPEC.growth_rate] = 0  # it reads layer 3
        layer = model.features.denseblock1.denselayer3.conv1.weight
        layer[:, SPEC.num_init_features :] = 0  # which reads the stem
    table = strongest_paths(model, images_for(SPEC)[:1], 2, top=3)
    assert table["path"].iloc[0] == "stem > 1.3 > T1 > 2.1 > classifier"
    assert table["share"].abs().iloc[0] == pytest.approx(1) and table["num_layers"].iloc[0] == 3


def test_what_a_target_reads_sums_to_its_pre_activation() -> None:
    checkpoint, images, seen = checkpoint_of(SPEC), images_for(SPEC), []
    model = checkpoint.to_model()
    model.features.denseblock2.denselayer2.conv1.register_forward_hook(lambda *found: seen.append(found[2]))
    with torch.inference_mode():
        model(images)
    parts = sum(read_maps(checkpoint, images, Place(2, source, 2)) for source in range(2))
    torch.testing.assert_close(parts, seen[0], rtol=1e-3, atol=1e-4)


def test_maps_of_layers_and_sources() -> None:
    checkpoint, images = checkpoint_of(SPEC), images_for(SPEC)
    by_name = layer_maps(checkpoint, images, "features.denseblock2.denselayer1")
    torch.testing.assert_close(source_maps(checkpoint, images, 2, 1), by_name)
    assert torch.equal(first_filters(checkpoint), checkpoint.state_dict["features.conv0.weight"])
    assert first_filters(checkpoint_of(RESIDUAL["ResNet"])).shape == (16, 3, 3, 3)


def test_the_image_that_drives_a_map_and_where() -> None:
    model = checkpoint_of(SPEC).to_model()
    with torch.no_grad():
        model.features.conv0.weight.zero_()
        model.features.conv0.weight[0, :, 1, 1] = 1  # map 0 of the stem is the brightness
    images = some_images()
    images.pixels[7] = 250
    images.pixels[11] = 0
    images.pixels[11, :, 12, 4] = 9
    table = driving_images(model, images, (1, 0), channel=0, top=3)
    assert table["row"].iloc[0] == 7 and table["row"].iloc[-1] == 11 and len(table) == 6
    assert table[["y", "x"]].iloc[-1].tolist() == [12.5 / 16, 4.5 / 16]
    read = driving_images(model, images, Place(1, 0, 1), top=3)
    assert read["value"].is_monotonic_decreasing and len(read) == 6


def test_what_is_wrong_is_said() -> None:
    checkpoint, images = checkpoint_of(SPEC), images_for(SPEC)
    with pytest.raises(CheckpointError, match="ResNet"):
        decision_connections(checkpoint_of(RESIDUAL["ResNet"]), images, 1)
    with pytest.raises(DataError, match="classes has 7"):
        decision_connections(checkpoint, images, 1, against=7)
    with pytest.raises(DataError, match="pass exactly one"):
        strongest_paths(checkpoint, images, 1)
    with pytest.raises(DataError, match="no connection from source 3 to target 2 in block 1"):
        read_maps(checkpoint, images, Place(1, 3, 2))
    with pytest.raises(DataError, match="channel 99 is not a map"):
        driving_images(checkpoint, some_images(), (1, 0), channel=99)
