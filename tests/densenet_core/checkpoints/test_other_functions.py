"""What a live module, a pickled one, a graph or a configuration shows of a network is not overruled by its shapes."""

from __future__ import annotations

import json
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis import connection_weights
from densenet_core import Checkpoint, CheckpointError, DenseNetSpec, load_checkpoint
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.checkpoints.trace import checkpoint_from_module
from tests.conftest import settled

K = 4
SPEC = DenseNetSpec((2, 2), K, 8, num_classes=5)
IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Two blocks of two layers, with whatever activation and pooling are given."""

    def __init__(self, act: nn.Module | None = None, pool: nn.Module | None = None, growth: int = K) -> None:
        super().__init__()
        self.act, self.pool = act or nn.ReLU(), pool or nn.AvgPool2d(2)
        self.entry = nn.Conv2d(3, 2 * growth, 3, padding=1, bias=False)
        self.units, width = nn.ModuleList(), 2 * growth
        for place in range(5):
            if place == 2:
                parts = (nn.BatchNorm2d(width), nn.Conv2d(width, width // 2, 1, bias=False))
                width //= 2
            else:
                inner = (nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False))
                parts = (nn.BatchNorm2d(width), nn.Conv2d(width, 4 * growth, 1, bias=False), *inner)
                width += growth
            self.units.append(nn.ModuleList(parts))
        self.last, self.head = nn.BatchNorm2d(width), nn.Linear(width, 5)

    def features(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        for place, unit in enumerate(self.units):
            y = unit[1](self.transition_act(unit[0](x)) if place == 2 else self.act(unit[0](x)))
            x = self.pool(y) if place == 2 else torch.cat((x, unit[3](self.act(unit[2](y)))), 1)
        return self.act(self.last(x))

    def transition_act(self, x: Tensor) -> Tensor:
        return self.act(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


class LinearTransition(Net):
    def transition_act(self, x: Tensor) -> Tensor:
        return x


class ScaledInput(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x - 0.5) / 0.25)


class FixedPool(Net):
    """As repositories for CIFAR write it: the last pooling is of a fixed size."""

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.head(F.avg_pool2d(self.features(x), 16).flatten(1)), 1)


class Product(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).mean((2, 3)) @ self.head.weight.T + self.head.bias


class StdConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight, None, self.stride, self.padding)


def prepared(model: nn.Module) -> nn.Module:
    """With running statistics, gammas and betas that are not the initial ones."""
    torch.manual_seed(0)
    side = 32 if isinstance(model, FixedPool) else 16
    return settled(model, lambda: torch.randn(8, 3, side, side) + 0.3)


def replaced(model: nn.Module, old: type[nn.Module], new: Callable[[nn.Module], nn.Module]) -> nn.Module:
    for name, part in list(model.named_children()):
        setattr(model, name, new(part)) if isinstance(part, old) else replaced(part, old, new)
    return model


def with_std_convs() -> nn.Module:
    def std(part: nn.Module) -> nn.Module:
        made = StdConv(part.in_channels, part.out_channels, part.kernel_size, padding=part.padding, bias=False)
        made.weight = part.weight
        return made

    return replaced(prepared(Net()), nn.Conv2d, std)


def with_epsilon() -> nn.Module:
    model = prepared(Net())
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 1e-2
    return model


def pickled(model: nn.Module, file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As ``torch.save(model)`` writes it, from a module that is not installed here."""
    made = types.ModuleType("elsewhere")
    for part in {type(part) for part in model.modules() if type(part).__module__ == __name__}:
        monkeypatch.setattr(part, "__module__", "elsewhere")
        setattr(made, part.__name__, part)
    monkeypatch.setitem(sys.modules, "elsewhere", made)
    torch.save(model, file)
    return file


def exported(model: nn.Module, file: Path) -> Path:
    pytest.importorskip("onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        size = 32 if isinstance(model, FixedPool) else 16
        torch.onnx.export(model, (torch.randn(1, 3, size, size),), file, dynamo=False)
    return file


def assert_same_scores(found: Checkpoint, model: nn.Module) -> None:
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    images = images if isinstance(model, FixedPool) else IMAGES
    with torch.inference_mode():
        ours = found.to_model()(images)
        ours = F.log_softmax(ours, 1) if isinstance(model, FixedPool) else ours
        torch.testing.assert_close(ours, model(images), rtol=1e-4, atol=1e-5)


SAME: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: prepared(Net()),
    "another epsilon": with_epsilon,
    "a fixed last pooling": lambda: prepared(FixedPool()),
    "a product in place of a linear layer": lambda: prepared(Product()),
}
# and what is said of a live module, of a graph, and of a pickled module (None: it does not show it)
OTHER: dict[str, tuple[Callable[[], nn.Module], str, str, str | None]] = {
    "leaky ReLU": (lambda: prepared(Net(nn.LeakyReLU(0.2))), "leaky_relu", "leakyrelu", "LeakyReLU"),
    "SiLU": (lambda: prepared(Net(nn.SiLU())), "it computes silu", "it computes", "SiLU"),
    "max pooling": (
        lambda: prepared(Net(pool=nn.MaxPool2d(2))),
        "max_pool 2x2 of stride 2",
        "max_pool 2x2 of stride 2",
        "MaxPool2d",
    ),
    "no ReLU in the transition": (lambda: prepared(LinearTransition()), "9 ReLUs", "9 ReLUs", None),
    "a scaled input": (lambda: prepared(ScaledInput()), "div, sub", "div, sub", None),
    "standardized weights": (with_std_convs, "the weights of its convolutions from others", "", "StdConv"),
}


def assert_only_its_table(found: Checkpoint, why: str) -> None:
    assert isinstance(found.spec, ConcatSpec)
    assert why in found.spec.why
    assert len(connection_weights(found)) == 12
    with pytest.raises(CheckpointError, match="only the feature reuse is known"):
        found.to_model()


@pytest.mark.slow
@pytest.mark.parametrize("what", SAME)
def test_what_computes_the_same_is_built(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = SAME[what]()
    live = checkpoint_from_module(model)
    assert (live.spec, live.order, live.assumed) == (SPEC, "old_first", ())
    assert_same_scores(live, model)
    assert_same_scores(load_checkpoint(pickled(model, tmp_path / "a.pth", monkeypatch)), model)
    assert_same_scores(load_checkpoint(exported(model, tmp_path / "a.onnx")), model)


@pytest.mark.slow
@pytest.mark.parametrize("what", OTHER)
def test_what_computes_something_else_has_only_a_table(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, live, graph, module = OTHER[what]
    model = make()
    found = checkpoint_from_module(model)
    assert isinstance(found.spec, ConcatSpec) and live in found.spec.why
    if module is not None:
        assert_only_its_table(load_checkpoint(pickled(model, tmp_path / "a.pth", monkeypatch)), module)
    if graph:
        assert_only_its_table(load_checkpoint(exported(model, tmp_path / "a.onnx")), graph)


def test_weights_that_torch_composes_live_are_built() -> None:
    model = prepared(Net())
    for part in [part for part in model.modules() if isinstance(part, nn.Conv2d)]:
        torch.nn.utils.parametrizations.weight_norm(part)
    assert_same_scores(checkpoint_from_module(model), model)


@pytest.mark.parametrize("size", [True, False])
def test_a_pickled_module_shows_its_group_norms(size: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def grouped(part: nn.Module) -> nn.Module:
        width = part.num_features
        return nn.GroupNorm(width // 8 if size else 8, width)

    model = replaced(Net(growth=16), nn.BatchNorm2d, grouped).eval()
    found = load_checkpoint(pickled(model, tmp_path / "a.pth", monkeypatch))
    live = checkpoint_from_module(model)
    if size:  # of each group, not their number
        assert isinstance(found.spec, ConcatSpec) and isinstance(live.spec, ConcatSpec)
        assert "its norms are group-4 and group-8" in found.spec.why
        return
    assert found.spec == live.spec == DenseNetSpec((2, 2), 16, 32, num_classes=5, norm="group", norm_groups=8)
    assert_same_scores(found, model)
    assert_same_scores(live, model)


CONFIG = {"class_name": "BatchNormalization", "config": {"name": "bn", "epsilon": 1e-5}}
KERAS: dict[str, tuple[dict[str, object], str]] = {
    "plain": ({"class_name": "Conv2D", "config": {"activation": "linear", "padding": "same", "strides": [1, 1]}}, ""),
    "activation": ({"class_name": "Activation", "config": {"name": "a", "activation": "elu"}}, "has elu"),
    "leaky ReLU": ({"class_name": "LeakyReLU", "config": {"name": "a", "alpha": 0.2}}, "has LeakyReLU"),
    "ReLU of 6": ({"class_name": "ReLU", "config": {"name": "a", "max_value": 6.0}}, "has ReLU"),
    "max pooling": (
        {"class_name": "MaxPooling2D", "config": {"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"}},
        "has MaxPooling2D",
    ),
    "uneven padding": (
        {"class_name": "Conv2D", "config": {"kernel_size": [7, 7], "strides": [2, 2], "padding": "same"}},
        "Conv2D with strides and padding 'same'",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", KERAS)
def test_the_configuration_of_keras_is_heard(what: str, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    layer, why = KERAS[what]
    model = prepared(Net())
    parts = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    with h5py.File(tmp_path / "a.h5", "w") as stream:
        stream.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": {"layers": [CONFIG, layer]}})
        for key, tensor in model.state_dict().items():
            module, _, part = key.rpartition(".")
            if part != "num_batches_tracked":
                is_norm, array = f"{module}.running_var" in model.state_dict(), tensor.numpy()
                array = array.transpose(*range(2, array.ndim), 1, 0) if array.ndim > 1 else array
                array = array - np.float32(1e-3 - 1e-5) if part == "running_var" else array
                name = parts[part] if is_norm else {"weight": "kernel", "bias": "bias"}[part]
                stream[f"{module.replace('.', '_')}/{name}:0"] = np.ascontiguousarray(array)
    found = load_checkpoint(tmp_path / "a.h5")
    if why:
        assert_only_its_table(found, why)
    else:
        assert_same_scores(found, model)
