"""Class activation maps and Grad-CAM, against exact sums and Captum."""

from __future__ import annotations

import pytest
import torch

from analysis.prediction.logits import logit_contributions
from analysis.prediction.maps import class_activation_maps, grad_cam, layer_names, resize_maps
from densenet_core import DataError
from tests.analysis.prediction.networks import CHECKPOINTS, DENSE, RESIDUAL, checkpoint_of, images_for


@pytest.mark.slow
@pytest.mark.parametrize("name", ["BC", "volumes", "pruned", "ResNet", "pre-activation"])
def test_the_mean_of_a_map_is_the_contribution_of_its_layer(name: str) -> None:
    checkpoint = CHECKPOINTS[name]()
    images = images_for(checkpoint.architecture)
    maps = class_activation_maps(checkpoint, images, [1, 3])
    table = logit_contributions(checkpoint, images, [1, 3])
    sources = table[table["source_layer"] >= 0]["contribution"].to_numpy().reshape(3, 2, -1)
    torch.testing.assert_close(maps.flatten(3).mean(3).numpy(), sources, rtol=1e-4, atol=1e-5)


def test_one_live_pixel_is_found() -> None:
    spec = DENSE["plain"]
    images = images_for(spec)
    moved = images.clone()
    moved[:, :, :4, :4] += 5  # what changes in the image changes the map there and not far away
    before, after = (class_activation_maps(checkpoint_of(spec), own, [0]).sum((1, 2)) for own in (images, moved))
    change = (after - before).abs()
    assert change[:, :3, :3].mean() > 5 * change[:, -2:, -2:].mean()


@pytest.mark.slow
@pytest.mark.parametrize("spec", [DENSE["BC"], RESIDUAL["ResNet"]], ids=["DenseNet", "ResNet"])
def test_grad_cam_is_captums(spec) -> None:
    captum = pytest.importorskip("captum.attr")
    model, images = checkpoint_of(spec).to_model(), images_for(spec)
    for layer in layer_names(model)[1:-1:2]:
        oracle = captum.LayerGradCam(model, model.get_submodule(layer))
        expected = oracle.attribute(images, target=2, relu_attributions=True)[:, 0].detach()
        torch.testing.assert_close(grad_cam(model, images, layer, [2, 2, 2]), expected, rtol=1e-4, atol=1e-6)


def test_layers_of_every_family_have_names() -> None:
    names = layer_names(checkpoint_of(DENSE["BC"]))
    assert names[0] == "features.conv0" and names[-1] == "features.norm5"
    assert {"features.denseblock1", "features.denseblock2.denselayer2", "features.transition1"} < set(names)
    assert layer_names(checkpoint_of(RESIDUAL["ResNet"]))[:3] == ["layer1", "layer1.0", "layer1.1"]


def test_what_is_wrong_is_said() -> None:
    checkpoint, images = checkpoint_of(DENSE["BC"]), images_for(DENSE["BC"])
    with pytest.raises(DataError, match="layer 'denseblock9' is not in the network: it has "):
        grad_cam(checkpoint, images, "denseblock9", [1, 1, 1])
    with pytest.raises(DataError, match="layer 'classifier' has no feature maps"):
        grad_cam(checkpoint, images, "classifier", [1, 1, 1])
    with pytest.raises(DataError, match="classes has 1 entries for 3 images"):
        grad_cam(checkpoint, images, "features.norm5", [1])


def test_a_map_is_laid_over_its_image() -> None:
    maps = torch.zeros(1, 2, 2)
    maps[0, 0, 0] = 1
    large = resize_maps(maps, 8)
    assert large.shape == (1, 8, 8) and large[0, 0, 0] == 1 and large[0, -1, -1] == 0
