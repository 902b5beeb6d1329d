from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.architecture.paths import path_counts
from analysis.claims.path_gradients import gradient_by_length, path_gradients, share_of_short_paths
from densenet_core import create_model

NAMES = ("densenet-7-2", "densenet-bc-16-4", "resnet-8", "plain-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_parts_add_up_to_the_whole_gradient_and_have_the_lengths_of_paths(name: str) -> None:
    torch.manual_seed(0)
    model, images, labels = create_model(name).eval(), torch.randn(2, 3, 16, 16), torch.tensor([1, 2])
    parts = gradient_by_length(model, images, labels)
    images.requires_grad_()
    (whole,) = torch.autograd.grad(F.cross_entropy(model(images), labels), images)
    assert torch.allclose(parts.sum(0), whole, atol=1e-6 * float(whole.abs().max()) + 1e-9, rtol=1e-3)
    shares = path_gradients({name: model}, images.detach(), labels)
    seen = set(shares.loc[shares["share"] > 1e-5, "length"])
    assert seen <= set(path_counts(model.spec)["length"])  # type: ignore[attr-defined]
    assert shares["share"].sum() == pytest.approx(1, abs=1e-5)


class Chain(nn.Module):
    """Three layers with shortcuts: x + f(x), three times; every path by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x).relu()
        return x


def test_the_parts_are_those_of_the_paths_one_by_one() -> None:
    torch.manual_seed(1)
    model, x, labels = Chain(), torch.randn(1, 2), torch.tensor([0])
    factors, value = [], x  # of each layer, its Jacobian with the ReLU's mask
    for layer in model.layers:
        out = layer(value)
        factors.append((out > 0).float().T * layer.weight)
        value = value + out.relu()
    first = torch.softmax(value, 1) - torch.tensor([[1.0, 0.0]])
    expected = torch.zeros(4, 2)
    for taken in itertools.product((False, True), repeat=3):
        gradient = first
        for factor, is_taken in zip(reversed(factors), reversed(taken), strict=True):
            gradient = gradient @ factor if is_taken else gradient
        expected[sum(taken)] += gradient[0]
    assert torch.allclose(gradient_by_length(model, x, labels)[:, 0], expected, atol=1e-6)


def test_a_plain_network_has_one_path_and_the_network_is_left_as_it_was() -> None:
    model = create_model("plain-8").train()
    images, labels = torch.randn(2, 3, 16, 16), torch.tensor([1, 2])
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    found = path_gradients({"plain": model}, images, labels)
    assert found.loc[found["length"] == 8, "share"].item() == pytest.approx(1, abs=1e-5)
    assert share_of_short_paths(found, 8) < 1e-5
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
