"""Networks that put new feature maps before the old ones are seen to do so, and become ours with the same outputs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis import connection_weights
from densenet_core import Checkpoint, DenseNet, DenseNetSpec, load_checkpoint
from densenet_core.checkpoints.identify.concat_order import block_norms, infer_order, to_old_first, uniform_readings
from tests.conftest import shared_file, trained_like

SPECS = [
    DenseNetSpec((3, 2), 4, 8, num_classes=5),
    DenseNetSpec((2, 1, 3), 3, 7, bottleneck=False, compression=1.0, num_classes=5),
]


def new_first_scores(model: DenseNet, x: Tensor) -> Tensor:
    """The module run as a network that concatenates new maps first."""
    for name, part in model.features.named_children():
        if name.startswith("denseblock"):
            for layer in part.children():
                x = torch.cat((layer(x), x), dim=1)
        else:
            x = part(x)
    return model.classifier(F.relu(x).flatten(2).mean(2))


def trained(spec: DenseNetSpec, new_first: bool) -> DenseNet:
    """With running statistics of its own passes."""
    torch.manual_seed(0)
    model = DenseNet(spec).train()
    with torch.no_grad():
        for _ in range(3):
            images = torch.randn(8, 3, 16, 16) + 0.3
            new_first_scores(model, images) if new_first else model(images)
    return model.eval()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.family)
def test_new_first_is_seen_and_becomes_the_same_function(spec: DenseNetSpec, tmp_path: Path) -> None:
    model, images = trained(spec, new_first=True), torch.randn(4, 3, 16, 16)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    found = load_checkpoint(tmp_path / "a.pth")
    assert found.order == "new_first"
    with torch.inference_mode():
        expected = new_first_scores(model, images)
        torch.testing.assert_close(found.to_model()(images), expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(model(images), expected, atol=1e-2)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.family)
def test_old_first_is_seen_and_left_alone(spec: DenseNetSpec, tmp_path: Path) -> None:
    model = trained(spec, new_first=False)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    found = load_checkpoint(tmp_path / "a.pth")
    assert found.order == "old_first"
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in found.state_dict.items())


def test_sources_are_where_they_belong() -> None:
    spec = SPECS[0]
    state = trained_like(spec).state_dict()
    weight = state["features.denseblock1.denselayer3.conv1.weight"]  # of a new-first network: y2, y1, x0
    weight[:, :4], weight[:, 4:8], weight[:, 8:] = 2.0, 1.0, 0.5
    table = connection_weights(Checkpoint(spec, to_old_first(state, spec, uniform_readings(spec, "new_first"))))
    own = table[(table["block"] == 1) & (table["target_layer"] == 3)]
    assert own["mean_abs_weight"].tolist() == [0.5, 1.0, 2.0]


def test_where_nothing_is_seen_the_user_can_tell(tmp_path: Path) -> None:
    model = DenseNet(SPECS[0]).eval()  # untrained: both orders agree
    for untold in (model, trained_like(SPECS[0])):  # of the second neither does
        assert infer_order(Checkpoint(SPECS[0], untold.state_dict()).arrays, block_norms(SPECS[0])) is None
    torch.save(model.state_dict(), tmp_path / "a.pth")
    assert load_checkpoint(tmp_path / "a.pth").order is None
    told, images = load_checkpoint(tmp_path / "a.pth", order="new_first"), torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(told.to_model()(images), new_first_scores(model, images), rtol=1e-4, atol=1e-5)


def test_a_checkpoint_of_a_cifar_repository_that_puts_new_maps_first(tmp_path: Path) -> None:
    """kuangliu's names: dense1.0.bn1, trans1.bn, bn, linear."""
    model, images = trained(SPECS[0], new_first=True), torch.randn(2, 3, 16, 16)
    rules = (
        (r"features\.conv0", "conv1"),
        (r"features\.denseblock(\d)\.denselayer(\d)\.norm(\d)", lambda m: f"dense{m[1]}.{int(m[2]) - 1}.bn{m[3]}"),
        (r"features\.denseblock(\d)\.denselayer(\d)\.conv(\d)", lambda m: f"dense{m[1]}.{int(m[2]) - 1}.conv{m[3]}"),
        (r"features\.transition(\d)\.norm", r"trans\1.bn"),
        (r"features\.transition(\d)\.conv", r"trans\1.conv"),
        (r"features\.norm5", "bn"),
        (r"classifier", "linear"),
    )
    state = {}
    for key, tensor in model.state_dict().items():
        for pattern, name in rules:
            key = re.sub(pattern, name, key)
        state[f"module.{key}"] = tensor
    torch.save({"net": state, "acc": 95.0}, tmp_path / "ckpt.t7")
    found = load_checkpoint(tmp_path / "ckpt.t7")
    assert (found.layout, found.order) == ("CIFAR style (dense1.0)", "new_first")
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(images), new_first_scores(model, images), rtol=1e-4, atol=1e-5)


def test_a_network_that_others_trained_concatenates_old_maps_first() -> None:
    assert load_checkpoint(shared_file("checkpoints/densenet_bc_100_12_cifar10.pth.tar")).order == "old_first"
