"""Checkpoints in other libraries' names: the same network has the same scores under each of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from densenet_core import DenseNetSpec, ResNetSpec, load_checkpoint
from densenet_core.networks.build import build_model
from tests.conftest import trained_like

IMAGENET = DenseNetSpec((2, 3, 1), 4, 8, num_classes=5, stem="imagenet")
CIFAR = DenseNetSpec((2, 1, 2), 3, 6, num_classes=5, bottleneck=False, compression=1.0)
BC = DenseNetSpec((2, 1, 2), 3, 6, num_classes=5)
MEDICAL = DenseNetSpec((2, 2), 4, 8, num_classes=2, stem="imagenet", spatial_dims=3, in_channels=1)
XRAY = DenseNetSpec((2, 2), 4, 8, num_classes=18, stem="imagenet", in_channels=1)

LAYER = r"features\.denseblock(\d)\.denselayer(\d)\."


def pytorchcv(key: str) -> str:
    key = re.sub(LAYER + r"norm(\d)", r"features.stage\1.unit\2.conv\3.bn", key)
    key = re.sub(LAYER + r"conv(\d)", r"features.stage\1.unit\2.conv\3.conv", key)
    key = re.sub(
        r"transition(\d)\.(norm|conv)", lambda m: f"stage{int(m[1]) + 1}.trans{int(m[1]) + 1}.conv.{m[2]}", key
    )
    key = key.replace(".conv.norm", ".conv.bn").replace("features.norm5", "features.post_activ.bn")
    key = key.replace("features.conv0", "features.init_block.conv").replace("features.norm0", "features.init_block.bn")
    return key.replace("classifier", "output")


def pytorchcv_cifar(key: str) -> str:
    return re.sub(r"init_block\.conv", "init_block", pytorchcv(key))


def pytorchcv_plain(key: str) -> str:
    return re.sub(r"(unit\d)\.conv1", r"\1.conv", pytorchcv_cifar(key))


def monai(key: str) -> str:
    return re.sub(r"(denselayer\d)\.", r"\1.layers.", key).replace("classifier", "class_layers.out")


CASES: dict[str, tuple[str, DenseNetSpec, Callable[[str], str]]] = {
    "MONAI, 2-D": ("MONAI", IMAGENET, monai),
    "MONAI, 3-D": ("MONAI", MEDICAL, monai),
    "pytorchcv, ImageNet": ("pytorchcv", IMAGENET, pytorchcv),
    "pytorchcv, CIFAR with bottlenecks": ("pytorchcv", BC, pytorchcv_cifar),
    "pytorchcv, CIFAR": ("pytorchcv", CIFAR, pytorchcv_plain),
    "gpleiss": ("torchvision", BC, lambda key: key.replace("norm5", "norm_final")),
    "torchvision, one class behind a sigmoid": (
        "torchvision",
        XRAY,
        lambda key: "module.densenet121." + key.replace("classifier", "classifier.0"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", CASES)
def test_the_same_network_by_other_names(what: str, tmp_path: Path) -> None:
    layout, spec, renamed = CASES[what]
    model = trained_like(spec)
    torch.save({renamed(key): tensor for key, tensor in model.state_dict().items()}, tmp_path / "a.pth")
    found = load_checkpoint(tmp_path / "a.pth")
    assert (found.layout, found.spec, found.ignored) == (layout, spec, ())
    images = torch.randn(2, spec.in_channels, *(32,) * spec.spatial_dims)
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(images), model(images))


def test_torchxrayvisions_operating_points_are_no_part_of_the_network(tmp_path: Path) -> None:
    state: dict[str, Tensor] = dict(trained_like(XRAY).state_dict())
    torch.save(state | {"op_threshs": torch.full((18,), float("nan"))}, tmp_path / "a.pth")
    found = load_checkpoint(tmp_path / "a.pth")
    assert (found.spec, found.ignored) == (XRAY, ("op_threshs",))


def test_a_wide_resnet_with_the_names_of_a_cifar_densenet(tmp_path: Path) -> None:
    spec = ResNetSpec.wide(10, 2)
    model = build_model(spec).eval()
    state = {}
    for key, tensor in model.state_dict().items():
        key = re.sub(r"layer(\d)\.(\d)\.downsample\.0", r"block\1.layer.\2.convShortcut", key)
        key = re.sub(r"layer(\d)\.(\d)\.", r"block\1.layer.\2.", key)
        state[re.sub(r"^bn\.", "bn1.", key)] = tensor
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    found = load_checkpoint(tmp_path / "a.pth")
    assert (found.layout, found.spec) == ("Wide ResNet", spec)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(images), model(images))
