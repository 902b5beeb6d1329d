from __future__ import annotations

import csv

import pytest
import torch
import torchvision
from torch import nn

from densenet_core import DenseNet, DenseNetSpec, create_model
from densenet_core.networks.names import spec_from_name
from tests.conftest import shared_file, trained_like

TORCHVISION = ("densenet121", "densenet161", "densenet169", "densenet201")


def on_meta(spec: DenseNetSpec) -> DenseNet:
    with torch.device("meta"):
        return DenseNet(spec)


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_state_dicts_load_unchanged_with_equal_outputs(name: str) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, num_classes=7).eval()
    ours = create_model(name, num_classes=7).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert (ours(images) - theirs(images)).abs().max() <= 1e-5
    ours.train()
    theirs.train()
    with torch.no_grad():
        assert (ours(images) - theirs(images)).abs().max() <= 1e-5
    for key, buffer in theirs.named_buffers():
        torch.testing.assert_close(ours.get_buffer(key), buffer, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_parameter_counts_are_the_papers() -> None:
    with shared_file("reference/exact_params.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 11
    for row in rows:
        is_imagenet = row["num_classes"] == "1000"
        kind = "densenet" if is_imagenet else f"{row['model'].lower()}-"
        name = f"{kind}{row['depth']}" + ("" if is_imagenet else f"-{row['growth_rate']}")
        model = on_meta(spec_from_name(name, num_classes=int(row["num_classes"])))
        assert sum(p.numel() for p in model.parameters()) == int(row["params"]), name


def naive_forward(model: DenseNet, x: torch.Tensor) -> torch.Tensor:
    """The network again, from the paper's text: every layer reads a list of all feature maps before it."""
    features = model.features
    x = features.conv0(x)
    for b in range(1, len(model.spec.block_config) + 1):
        maps = [x]
        for layer in getattr(features, f"denseblock{b}").children():
            out = layer.conv1(torch.relu(layer.norm1(torch.cat(maps, 1))))
            if model.spec.bottleneck:
                out = layer.conv2(torch.relu(layer.norm2(out)))
            maps.append(out)
        x = torch.cat(maps, 1)
        if hasattr(features, f"transition{b}"):
            transition = getattr(features, f"transition{b}")
            x = nn.functional.avg_pool2d(transition.conv(torch.relu(transition.norm(x))), 2)
    return model.classifier(torch.relu(features.norm5(x)).mean((2, 3)))


@pytest.mark.parametrize("bottleneck", [False, True])
def test_forward_is_the_papers_text(bottleneck: bool) -> None:
    model = trained_like(DenseNetSpec((2, 3, 2), 4, 8, bottleneck=bottleneck))
    x = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), naive_forward(model, x), rtol=1e-5, atol=1e-6)


def test_dropout_stands_behind_every_convolution_but_the_first() -> None:
    spec = DenseNetSpec((2, 2), 4, 8, bottleneck=True, drop_rate=0.5)
    dropped = 0

    def count(x: torch.Tensor, p: float, training: bool) -> torch.Tensor:
        nonlocal dropped
        dropped += 1
        assert (p, training) == (0.5, True)
        return x

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.nn.functional.dropout", count)
        model = DenseNet(spec).train()
        model(torch.randn(2, 3, 8, 8))
    assert dropped == 2 * 4 + 1  # two convolutions in each of 4 layers, and the transition
    units = [
        unit
        for block in (1, 2)
        for layer in model.features.get_submodule(f"denseblock{block}").children()
        for unit in layer.units()
    ]
    assert [unit.drop_rate for unit in units] == [0.5] * 8


def test_initialisation_is_hes_over_the_fan_out() -> None:
    torch.manual_seed(0)
    weight = create_model("densenet-40-12").features.denseblock3.denselayer12.conv1.weight
    assert weight.std().item() == pytest.approx((2 / (12 * 9)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("dims", [1, 3])
def test_one_and_three_dimensions(dims: int) -> None:
    model = DenseNet(DenseNetSpec((2, 2), 4, 8, num_classes=3, in_channels=1, spatial_dims=dims)).eval()
    assert model(torch.randn(2, 1, *(8,) * dims)).shape == (2, 3)


def test_what_looks_at_a_norm_sees_what_the_norm_gives() -> None:
    """The ReLU behind it works in place, but not on what others hold."""
    model, images, seen = DenseNet(DenseNetSpec((2, 2), 4, 8)).eval(), torch.randn(2, 3, 8, 8), []
    norm = model.get_submodule("features.denseblock1.denselayer2.norm1")
    norm.register_forward_hook(lambda module, inputs, output: seen.append(output))
    plain = model(images)
    assert seen[0].min() < 0
    conv0 = model.get_submodule("features.conv0")
    conv0.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model.get_submodule("features.denseblock1.denselayer1").norm1 = nn.Identity()
    assert not torch.equal(model(images), plain)
    assert seen[-2].min() < 0  # the stem's maps, which the identity hands on: later layers read them too
