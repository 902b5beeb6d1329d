from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.memory import training_activation_bytes
from densenet_core import DenseNet, DenseNetSpec, create_model
from tests.analysis.test_cost import kept_by_autograd

SPECS = [
    DenseNetSpec((3, 4, 2), 4, 8),
    DenseNetSpec((3, 4), 4, 8, bottleneck=False, compression=1.0),
    DenseNetSpec((2, 3), 4, 8, stem="imagenet"),
    DenseNetSpec((2, 2), 4, 8, spatial_dims=1),
    DenseNetSpec((2, 2), 4, 8, spatial_dims=3),
    DenseNetSpec((2, 2), 4, 8, drop_rate=0.3),
]


def pair(spec: DenseNetSpec) -> tuple[DenseNet, DenseNet]:
    torch.manual_seed(0)
    plain = DenseNet(spec)
    efficient = DenseNet(spec, memory_efficient=True)
    efficient.load_state_dict(plain.state_dict())
    return plain, efficient


def step(model: nn.Module, images: torch.Tensor, precision: torch.dtype = torch.float32) -> float:
    torch.manual_seed(1)  # dropout
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        loss = F.cross_entropy(model(images).float(), torch.arange(len(images)))
    loss.backward()
    return loss.item()


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.block_config} {s.spatial_dims}d {s.stem} drop {s.drop_rate}")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_and_statistics_are_those_of_the_plain_path(
    spec: DenseNetSpec, training: bool, precision: torch.dtype
) -> None:
    if precision == torch.bfloat16 and spec.spatial_dims != 2:
        pytest.skip("autocast is tried in two dimensions")
    plain, efficient = pair(spec)
    images = torch.randn(3, 3, *(32,) * spec.spatial_dims)
    losses = [step(model.train(training), images, precision) for model in (plain, efficient)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for (name, a), b in zip(plain.named_parameters(), efficient.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-6, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")
    for (name, a), b in zip(plain.named_buffers(), efficient.buffers(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


def test_the_statistics_are_updated_once_a_step() -> None:
    _, efficient = pair(SPECS[0])
    for steps in (1, 2):
        step(efficient.train(), torch.randn(3, 3, 16, 16))
        for name, counter in efficient.named_buffers():
            if name.endswith("num_batches_tracked"):
                assert counter == steps, name


@pytest.mark.parametrize("spec", [SPECS[0], SPECS[1]])
def test_it_keeps_what_the_formula_says(spec: DenseNetSpec) -> None:
    model = DenseNet(spec, memory_efficient=True).train()
    largest = spec.block_inputs[0] + (spec.block_config[0] - 1) * spec.growth_rate
    again = 2 * 4 * 2 * largest * 16 * 16  # the largest layer's concatenation and ReLU, computed again
    assert kept_by_autograd(model, torch.randn(2, 3, 16, 16)) == training_activation_bytes(spec, 16, 2, True) - again


def test_kept_memory_grows_linearly_with_depth() -> None:
    def kept(layers: int, memory_efficient: bool) -> int:
        spec = DenseNetSpec((layers,), 4, 8, bottleneck=False)
        return kept_by_autograd(DenseNet(spec, memory_efficient).train(), torch.randn(1, 3, 8, 8))

    linear = [kept(n, True) for n in (10, 20, 40)]
    square = [kept(n, False) for n in (10, 20, 40)]
    assert (linear[2] - linear[1]) / (linear[1] - linear[0]) == pytest.approx(2, rel=0.01)
    assert (square[2] - square[1]) / (square[1] - square[0]) > 3


def test_without_gradients_it_is_the_plain_path() -> None:
    _, efficient = pair(SPECS[0])
    x = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        out = efficient.eval()(x)
    torch.testing.assert_close(out, copy.deepcopy(efficient)(x), rtol=1e-6, atol=1e-6)


def test_a_network_can_be_made_so_by_its_name() -> None:
    assert create_model("densenet-40-12", memory_efficient=True).features.denseblock1.memory_efficient
    with pytest.raises(ValueError, match="memory_efficient is for DenseNets: ResNet-20 is none"):
        create_model("resnet-20", memory_efficient=True)
