from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
import torchvision
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from analysis.architecture.cost import count_cost, default_input_size, total_cost
from analysis.architecture.memory import training_activation_bytes
from densenet_core import DenseNetSpec, create_model
from densenet_core.networks.build import build_model
from densenet_core.networks.layers import network_layers
from densenet_core.networks.names import MODEL_NAMES, spec_from_name
from densenet_core.networks.relatives.deeply_supervised import compute_loss

pytestmark = pytest.mark.slow
SMALL = (
    "densenet-40-12",
    "densenet-bc-40-12",
    "densenet121",
    "resnet-20",
    "preact-resnet-29",
    "wrn-10-2",
    "resnet50",
    "highway-10-8",
    "fractalnet-3-3-8",
)


# deep networks repeat the layers of others of their family
DEEP = ("-110", "-164", "-1001", "-1202", "-190-40", "-250-24", "101", "152", "169", "201", "264")
NOT_DEEP = [name for name in MODEL_NAMES if not name.endswith(DEEP)]


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, num_classes=1000).eval()


@pytest.mark.parametrize(
    ("name", "other_size"), [*((name, False) for name in NOT_DEEP), *((name, True) for name in SMALL)]
)
def test_mult_adds_are_those_of_pytorchs_counter(name: str, other_size: bool) -> None:
    model = on_meta(name)
    size = default_input_size(model.spec)
    size = {32: 224, 224: 32}[size] if other_size else size
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 3, size, size, device="meta"))
    cost = count_cost(model.spec, size)
    assert 2 * total_cost(cost)["mult_adds"] == counter.get_total_flops()
    assert total_cost(cost)["params"] == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", [*SMALL, "fractalnet-21", "dsn-resnet-20"])
def test_conv_and_linear_mult_adds_are_fvcores(name: str) -> None:
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    model = on_meta(name).to_empty(device="cpu")  # fvcore's tracing needs real tensors
    size = min(default_input_size(model.spec), 64)  # a smaller image has the same layers
    analysis = FlopCountAnalysis(model, torch.zeros(1, 3, size, size))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    theirs = analysis.by_operator()
    assert total_cost(count_cost(model.spec, size))["mult_adds"] == theirs["conv"] + theirs["linear"]


@pytest.mark.parametrize("name", SMALL)
def test_every_row_is_the_module_that_it_names(name: str) -> None:
    """Output shape and parameters of each layer, against hooks on the real modules."""
    model = create_model(name).eval()
    seen: dict[str, tuple[int, ...]] = {}
    for module_name, module in model.named_modules():
        module.register_forward_hook(lambda _, __, out, key=module_name: seen.update({key: tuple(out.shape[1:])}))
    with torch.inference_mode():
        model(torch.randn(1, 3, 33, 33))  # a size that does not divide
    cost = count_cost(model.spec, 33)
    named = dict(model.named_modules())
    rows = [row for row in cost.itertuples() if row.kind in ("conv", "norm", "linear")]
    assert len(rows) == sum(isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear) for m in named.values())
    rows += [row for row in cost.itertuples() if row.kind == "max_pool" and row.name in named]
    for row in rows:
        assert row.output_shape == seen[row.name], row.name
        assert row.params == sum(p.numel() for p in named[row.name].parameters())


def test_other_ops_by_hand() -> None:
    cost = count_cost(DenseNetSpec((1,), 2, 3, bottleneck=False, num_classes=5), 4).set_index("name")
    layer = "features.denseblock1.denselayer1"
    assert cost.loc["features.conv0", "mult_adds"] == 3 * 3 * 9 * 16
    assert cost.loc[f"{layer}.norm1", "other_ops"] == 2 * 3 * 16
    assert cost.loc[f"{layer}.relu1", "other_ops"] == 3 * 16
    assert cost.loc[f"{layer}.conv1", "activation_bytes"] == 4 * 2 * 16
    assert cost.loc[f"{layer}.concat", "output_shape"] == (5, 4, 4)
    assert cost.loc["classifier.pool", "other_ops"] == 5 * 16
    assert cost.loc["classifier", ["mult_adds", "params"]].tolist() == [25, 30]


@pytest.mark.parametrize("dims", [1, 3])
def test_one_and_three_dimensions(dims: int) -> None:
    spec = DenseNetSpec((2, 3), 4, 8, spatial_dims=dims, in_channels=1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        build_model(spec).eval()(torch.empty(1, 1, *(8,) * dims))
    assert 2 * total_cost(count_cost(spec, 8))["mult_adds"] == counter.get_total_flops()


@pytest.mark.parametrize("name", ["densenet121", "mobilenet_v2", "vit_b_32"])
def test_any_other_module_is_traced_and_left_as_it_was(name: str) -> None:
    weights = torchvision.models.get_model_weights(name).DEFAULT  # its metadata say what it costs, in 10^9
    model = torchvision.models.get_model(name).train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    total = total_cost(count_cost(model))
    assert round(total["mult_adds"] / 1e9, 3) == weights.meta["_ops"]
    assert total["params"] == weights.meta["num_params"]
    assert model.training
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_traced_densenet_costs_what_its_spec_says() -> None:
    traced = total_cost(count_cost(torchvision.models.densenet121()))
    ours = total_cost(count_cost(spec_from_name("densenet121", 1000)))
    assert [traced[key] for key in ("params", "mult_adds")] == [ours[key] for key in ("params", "mult_adds")]


def test_an_input_too_small_names_the_least_that_works() -> None:
    spec = spec_from_name("densenet121")
    with pytest.raises(ValueError, match=r"input size 16 is too small for .*: the smallest that works is 29"):
        count_cost(spec, 16)
    network_layers(spec, 29)
    with torch.inference_mode():
        build_model(spec).eval()(torch.randn(1, 3, 29, 29))
        with pytest.raises(RuntimeError):
            build_model(spec).eval()(torch.randn(1, 3, 28, 28))


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="network is a list: give a spec, a checkpoint"):
        count_cost(["densenet121"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Linear does not run on \(1, 3, 224, 224\)"):
        count_cost(nn.Linear(3, 2))


def kept_by_autograd(model: nn.Module, images: torch.Tensor) -> int:
    """Bytes of all tensors, parameters and buffers aside, that autograd keeps for the backward pass."""
    own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = model(images)
    assert compute_loss(outputs, torch.zeros(len(images), dtype=torch.long))[0].requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("name", [*SMALL, "dsn-densenet-bc-40-12", "dsn-resnet-20", "dsn-highway-10-8"])
def test_training_memory_is_what_autograd_keeps(name: str) -> None:
    model = create_model(name).train()
    size = 64 if model.spec.stem == "imagenet" else 32
    assert training_activation_bytes(model.spec, size, 2) == kept_by_autograd(model, torch.randn(2, 3, size, size))


def test_memory_grows_with_the_square_of_the_depth_and_linearly_when_recomputed() -> None:
    def growth(memory_efficient: bool) -> float:
        few, many, more = (
            training_activation_bytes(
                DenseNetSpec((layers,), 12, 24, bottleneck=False), 32, memory_efficient=memory_efficient
            )
            for layers in (50, 100, 200)
        )
        return (more - many) / (many - few)

    assert growth(memory_efficient=False) == pytest.approx(4, rel=0.1)
    assert growth(memory_efficient=True) == pytest.approx(2, rel=0.01)


def test_memory_efficient_by_hand() -> None:
    spec = DenseNetSpec((2,), 2, 3, bottleneck=False, num_classes=5)
    image, block = 3 * 16, 7 * 16  # the input, and all maps of the block, which norm5 reads too
    relu, pooled = 7 * 16, 7  # behind norm5
    statistics = 2 * 7 + 2 * 7  # mean and variance of the block's maps, and what norm5 keeps of them
    expected = 4 * (image + block + relu + pooled + statistics)
    assert training_activation_bytes(spec, 4, memory_efficient=True) == expected


def set_option(name: str, **options: Any) -> Callable[[nn.Module], None]:
    """Change options of one module, as ``conv.stride = 2`` does."""

    def change(model: nn.Module) -> None:
        for option, value in options.items():
            setattr(model.get_submodule(name), option, value)

    return change


def put(name: str, module: nn.Module) -> Callable[[nn.Module], None]:
    """Put another module in the place of one."""
    return lambda model: model.set_submodule(name, module)


def grouped(model: nn.Module) -> None:
    conv = model.get_submodule("layer2.0.conv2")
    conv.groups, conv.weight = 2, nn.Parameter(conv.weight[:, ::2])


def hooked(model: nn.Module) -> None:
    model.get_submodule("features.conv0").register_forward_hook(lambda _, __, out: out[:, :, ::2, ::2])


def overridden(model: nn.Module) -> None:
    forward = model.forward
    model.forward = lambda x: forward(x[:, :, ::2, ::2])  # type: ignore[method-assign]


CHANGES = {
    "stride": ("densenet-10-4", set_option("features.conv0", stride=(2, 2))),
    "dilation": ("densenet-10-4", set_option("features.denseblock1.denselayer1.conv1", dilation=2, padding=(2, 2))),
    "padding": ("plain-8", set_option("conv1", padding=(0, 0))),
    "groups": ("resnet-8", grouped),
    "no pooling": ("highway-7-4", put("pool", nn.Identity())),
    "pooling": ("densenet-bc-16-4", put("features.transition1.pool", nn.AvgPool2d(4))),
    "another pooling": ("fractalnet-2-2-4", set_option("pool", kernel_size=4, stride=4)),
    "no activation": ("imagenet", put("features.relu0", nn.Identity())),
    "no layer": ("densenet-10-4", put("features.transition1.conv", nn.Identity())),
    "a block under companions": ("dsn-resnet-8", set_option("network.conv1", stride=(2, 2))),
    "a hook": ("densenet-10-4", hooked),
    "a forward of its own": ("resnet-8", overridden),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_network_is_counted_as_it_runs(what: str) -> None:
    name, change = CHANGES[what]
    small = DenseNetSpec((1, 1), 4, 8, stem="imagenet")
    model = (build_model(small) if name == "imagenet" else create_model(name)).eval()
    before = total_cost(count_cost(model))
    size = default_input_size(model.spec)
    change(model)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, size, size))
    table = count_cost(model)
    assert 2 * total_cost(table)["mult_adds"] == counter.get_total_flops()
    assert total_cost(table)["params"] == sum(p.numel() for p in model.parameters())
    assert total_cost(table) != before
    if what == "no activation":
        assert "features.relu0" not in set(table.loc[table["kind"] == "relu", "name"])


def test_what_changes_no_cost_is_counted_by_arithmetic() -> None:
    expected = count_cost(spec_from_name("densenet-bc-16-4"))
    model = create_model("densenet-bc-16-4", drop_rate=0.2, memory_efficient=True).half().train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum, module.eps = 0.5, 1e-3
    pd.testing.assert_frame_equal(count_cost(model), expected)


@pytest.mark.parametrize("dims", [1, 3])
def test_a_changed_network_of_other_dimensions(dims: int) -> None:
    model = build_model(DenseNetSpec((2, 2), 4, 8, spatial_dims=dims, in_channels=2)).eval()
    model.get_submodule("features.conv0").stride = (2,) * dims
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 2, *(8,) * dims))
    assert 2 * total_cost(count_cost(model, 8))["mult_adds"] == counter.get_total_flops()


def test_poolings_of_others_count_what_they_read() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.MaxPool2d(2), nn.AvgPool2d((1, 2)), nn.AdaptiveAvgPool2d(1))
    cost = count_cost(model, 8).set_index("kind")["other_ops"]
    assert cost[["max_pool", "avg_pool", "global_pool"]].tolist() == [2 * 8 * 8, 2 * 4 * 4, 2 * 4 * 2]
