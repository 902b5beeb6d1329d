"""What a pickled module says about its parts is built exactly, or is the reason why there is only a table.

The oracle is the live module: what is built has its scores, and where a table is given its scores are other ones than
those of the plain DenseNet whose weights it has.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import DenseNet, ResNet
from torchvision.models.resnet import BasicBlock

from densenet_core import CheckpointError, DenseNetSpec, load_checkpoint
from densenet_core.checkpoints.formats.content import ModuleFacts
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.checkpoints.module_parts import examine_parts
from tests.conftest import settled
from tests.densenet_core.checkpoints.test_other_functions import pickled

Change = Callable[[nn.Module], object]
IMAGES = torch.randn(2, 3, 71, 71, generator=torch.Generator().manual_seed(3))
LAYER, TRANSITION = "features.denseblock1.denselayer1.", "features.transition1."


class HalfConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


class HalfNorm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


class HalfReLU(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


class Half(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 2


def double(part: nn.Module, given: Any, result: Tensor) -> Tensor:
    return result * 2


def half(x: Tensor) -> Tensor:
    return x / 2


@pytest.fixture(scope="module")
def plain() -> nn.Module:
    torch.manual_seed(0)
    model = DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=5)
    return settled(model, lambda: IMAGES + 0.3)


def put(name: str, new: nn.Module | Callable[[Any], nn.Module]) -> Change:
    def change(model: nn.Module) -> None:
        parent, _, last = name.rpartition(".")
        old = model.get_submodule(name)
        setattr(model.get_submodule(parent), last, new if isinstance(new, nn.Module) else new(old))

    return change


def with_settings(name: str, **settings: object) -> Change:
    def change(model: nn.Module) -> None:
        for setting, value in settings.items():
            setattr(model.get_submodule(name), setting, value)

    return change


def padded_with(mode: str) -> Callable[[nn.Conv2d], nn.Module]:
    def make(old: nn.Conv2d) -> nn.Module:
        sizes = old.in_channels, old.out_channels, old.kernel_size, old.stride, old.padding
        new = nn.Conv2d(*sizes, bias=False, padding_mode=mode)
        new.weight = old.weight
        return new

    return make


def without_gamma(old: nn.BatchNorm2d) -> nn.Module:
    new = nn.BatchNorm2d(old.num_features, affine=False)
    new.running_mean, new.running_var = old.running_mean, old.running_var
    return new


def head(*between: nn.Module) -> Callable[[nn.Linear], nn.Module]:
    torch.manual_seed(5)
    return lambda old: nn.Sequential(nn.Linear(old.in_features, 12), *between, nn.Linear(12, 5))


SAME: dict[str, Change] = {
    "plain": lambda model: None,
    "dropout": put("classifier", lambda old: nn.Sequential(nn.Dropout(0.5), old)),
    "dropout behind ReLU": put("features.relu0", nn.Sequential(nn.ReLU(), nn.Dropout2d())),
    "momentum": with_settings("features.norm0", momentum=0.5),
    "epsilon of one norm": with_settings(f"{LAYER}norm1", eps=0.5),
    "statistics not tracked on": with_settings("features.norm0", track_running_stats=False),
    "a norm without gamma": put("features.norm0", without_gamma),
    "padding in words": with_settings(f"{LAYER}conv2", padding="same"),
    "no padding in words": with_settings(f"{LAYER}conv1", padding="valid"),
    "two ReLUs": put("features.relu0", nn.Sequential(nn.ReLU(), nn.ReLU())),
    "a head of two layers": put("classifier", head(nn.ReLU(), nn.Dropout())),
    "a flattened head": put("classifier", lambda old: nn.Sequential(nn.Flatten(), old)),
    "a head that drops nothing": put("classifier", lambda old: nn.Sequential(OrderedDict(drop=nn.Identity(), fc=old))),
    "a loss beside it": lambda model: setattr(model, "criterion", nn.CrossEntropyLoss()),
    "training mode": lambda model: model.train(),
}
OTHER: dict[str, tuple[Change, str]] = {
    "no pooling in the stem": (put("features.pool0", nn.Identity()), "'features.pool0' computes nothing"),
    "an empty stem pooling": (put("features.pool0", nn.Sequential()), "'features.pool0' computes nothing"),
    "a deleted pooling": (lambda model: delattr(model.features, "pool0"), "a DenseNet has ReLU and max pooling"),
    "average pooling in the stem": (put("features.pool0", nn.AvgPool2d(3, 2, 1)), r"AvgPool2d\(kernel_size=3"),
    "a smaller stem pooling": (put("features.pool0", nn.MaxPool2d(2)), r"MaxPool2d\(kernel_size=2"),
    "ceil_mode": (with_settings("features.pool0", ceil_mode=True), "ceil_mode=True"),
    "dilated pooling": (with_settings("features.pool0", dilation=2), "dilation=2"),
    "no stem ReLU": (put("features.relu0", nn.Identity()), "'features.relu0' computes nothing"),
    "no ReLU in a layer": (put(f"{LAYER}relu2", nn.Identity()), "relu2' computes nothing"),
    "a threshold": (put("features.relu0", nn.Threshold(0.5, 0.0)), "Threshold"),
    "LeakyReLU": (put(f"{LAYER}relu2", nn.LeakyReLU(0.3)), "LeakyReLU"),
    "ELU": (put(f"{TRANSITION}relu", nn.ELU()), "ELU"),
    "a local norm": (put("features.relu0", nn.Sequential(nn.ReLU(), nn.LocalResponseNorm(2, 1.0))), "LocalResponse"),
    "stride 1": (with_settings("features.conv0", stride=(1, 1)), "other strides, paddings or dilations"),
    "no padding": (with_settings("features.conv0", padding=(0, 0)), "other strides, paddings or dilations"),
    "dilation": (with_settings(f"{LAYER}conv2", padding=(2, 2), dilation=(2, 2)), "other strides, paddings"),
    "circular padding": (put(f"{LAYER}conv2", padded_with("circular")), "other strides, paddings or dilations"),
    "max pooling in a transition": (put(f"{TRANSITION}pool", nn.MaxPool2d(2)), "MaxPool2d"),
    "no pooling in a transition": (put(f"{TRANSITION}pool", nn.Identity()), "pool' computes nothing"),
    "wider pooling": (put(f"{TRANSITION}pool", nn.AvgPool2d(3, 2, 1)), "kernel_size=3, stride=2, padding=1"),
    "overlapping pooling": (put(f"{TRANSITION}pool", nn.AvgPool2d(2, 1)), "kernel_size=2, stride=1"),
    "another divisor": (put(f"{TRANSITION}pool", nn.AvgPool2d(2, 2, divisor_override=3)), "divisor_override=3"),
    "adaptive pooling": (put(f"{TRANSITION}pool", nn.AdaptiveAvgPool2d(5)), "output_size=5"),
    "another convolution": (with_settings(f"{LAYER}conv2", __class__=HalfConv), "HalfConv"),
    "another norm": (with_settings("features.norm0", __class__=HalfNorm), "HalfNorm"),
    "another ReLU": (with_settings("features.relu0", __class__=HalfReLU), "HalfReLU"),
    "a layer without weights": (put("classifier", lambda old: nn.Sequential(Half(), old)), "Half"),
    "a hook": (lambda model: model.features.conv0.register_forward_hook(double), "hooks of its own"),
    "a forward function": (lambda model: setattr(model.features.relu0, "forward", half), "a forward function of its"),
    "a linear head": (put("classifier", head()), "nothing behind a linear layer, where a DenseNet has ReLU"),
    "softmax in a layer": (put(f"{LAYER}relu2", nn.Softmax(1)), "layers that DenseNets do not have: Softmax"),
    "an empty sequence": (put(f"{LAYER}relu1", nn.Sequential()), r"relu1' computes nothing: it is Sequential\(\)"),
    "a sigmoid": (put("classifier", lambda old: nn.Sequential(old, nn.Sigmoid())), "Sigmoid"),
}


def scores(model: nn.Module) -> Tensor:
    with torch.inference_mode():
        found: Tensor = model.eval()(IMAGES)
        return found


@pytest.mark.parametrize("what", SAME)
def test_what_is_built_has_the_scores_of_the_module(
    what: str, plain: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = copy.deepcopy(plain)
    SAME[what](model)
    found = load_checkpoint(pickled(model, tmp_path / "a.pth", monkeypatch))
    torch.testing.assert_close(scores(found.to_model()), scores(model), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("what", OTHER)
def test_what_computes_something_else_has_its_table_and_the_reason(
    what: str, plain: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, why = OTHER[what]
    model = copy.deepcopy(plain)
    change(model)
    assert (scores(model) - scores(plain)).abs().max() > 1e-4  # the weights alone would mislead
    file = pickled(model, tmp_path / "a.pth", monkeypatch)
    found = load_checkpoint(file)
    assert isinstance(found.spec, ConcatSpec)
    with pytest.raises(CheckpointError, match=why):
        found.to_model()


def test_the_scores_of_a_module_that_ends_in_softmax_are_those_before_it(plain: nn.Module, tmp_path: Path) -> None:
    model = copy.deepcopy(plain)
    put("classifier", lambda old: nn.Sequential(old, nn.Softmax(1)))(model)
    torch.save(model, tmp_path / "a.pth")
    found = scores(load_checkpoint(tmp_path / "a.pth").to_model())
    torch.testing.assert_close(found.softmax(1), scores(model), rtol=1e-4, atol=1e-4)


KINDS = {  # of parts that this test suite does not install, or that torch no longer makes
    "timm.layers.blur_pool.BlurPool2d": "layers that DenseNets do not have: BlurPool2d",
    "timm.layers.adaptive_avgmax_pool.FastAdaptiveAvgPool": "",
    "apex.parallel.SyncBatchNorm": "",
    "timm.layers.norm_act.BatchNormAct2d": "",
    "torch.ao.nn.quantized.modules.linear.Linear": "",
    "torch.ao.nn.quantized.modules.linear.LinearPackedParams": "",
    "torchmetrics.classification.accuracy.MulticlassAccuracy": "",
    "own.layers.DropPath": "",
    "own.layers.Linear": "layers that DenseNets do not have: Linear",
    "torch.nn.modules.pooling.LPPool2d": "layers that DenseNets do not have: LPPool2d",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_is_known_by_its_whole_name(kind: str) -> None:
    modules = {"": "own.Network", "fc": "torch.nn.modules.linear.Linear", "x": kind}
    facts = {name: ModuleFacts(own, 0, None, False, {}) for name, own in modules.items()}
    other, _ = examine_parts(facts, {}, (), DenseNetSpec.imagenet(121))
    assert other.removeprefix("the module has ") == KINDS[kind]


def test_a_resnet_with_another_activation_is_refused(tmp_path: Path) -> None:
    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5)
    torch.save(model, tmp_path / "a.pth")
    torch.testing.assert_close(scores(load_checkpoint(tmp_path / "a.pth").to_model()), scores(model))
    model.layer1[0].relu = nn.SiLU()
    torch.save(model, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="layers that ResNets do not have: SiLU: save its state_dict"):
        load_checkpoint(tmp_path / "a.pth")
