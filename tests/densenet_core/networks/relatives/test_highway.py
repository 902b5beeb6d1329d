from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from densenet_core import load_checkpoint
from densenet_core.networks.build import build_model, create_model
from densenet_core.networks.relatives.highway_spec import HighwaySpec


def test_parameter_counts_are_near_those_that_the_authors_print() -> None:
    """About 2.3M and 1.25M (Srivastava et al. 2015); by arithmetic the networks of these widths have:"""
    expected = {"highway-19": 2_262_714, "highway-32": 1_241_258}
    for name, params in expected.items():
        with torch.device("meta"):
            model = create_model(name)
        assert sum(p.numel() for p in model.parameters()) == params
        assert model.spec.depth == int(name[-2:])
    assert round(expected["highway-19"] / 1e6, 1) == 2.3
    assert abs(expected["highway-32"] / 1.25e6 - 1) < 0.01


def test_a_layer_is_the_papers_equation_and_starts_as_a_carrier() -> None:
    torch.manual_seed(0)
    model = build_model(HighwaySpec.small(10, 4))
    layer, x = model.stage2[1], torch.rand(2, 8, 6, 6)
    with torch.no_grad():
        h, t = torch.relu(layer.conv(x)), torch.sigmoid(layer.gate(x))
        torch.testing.assert_close(layer(x), h * t + x * (1 - t))
        assert (layer.gate.bias == -2).all()
        layer.gate.bias.fill_(-50)
        torch.testing.assert_close(layer(x), x)
        layer.gate.bias.fill_(50)
        torch.testing.assert_close(layer(x), h)
    assert model.stage1[0].gate is model.stage2[0].gate is None  # there the width changes


def test_shapes() -> None:
    model = create_model("highway-10-4", num_classes=7, in_channels=1).eval()
    with torch.inference_mode():
        assert model(torch.randn(2, 1, 9, 9)).shape == (2, 7)
        assert model.stage3(torch.randn(1, 8, 5, 5)).shape == (1, 16, 5, 5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("highway-11-8", r"depth 11 is not 3\*n\+1: the nearest are 10 and 13"),
        ("highway-20", "depth 20 is neither 19 nor 32: for others add a width"),
    ],
)
def test_a_depth_that_does_not_fit_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model(name)


def test_a_spec_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="gate_bias 0 must be below 0"):
        HighwaySpec((2,), (4,), gate_bias=0)
    with pytest.raises(ValueError, match=r"stage_widths \(4, 8\) needs one number for each"):
        HighwaySpec((2,), (4, 8))


@pytest.mark.slow
def test_it_learns_digits(learns_digits: Callable[..., Path]) -> None:
    found = load_checkpoint(learns_digits("highway-7-8"))
    assert found.spec == HighwaySpec.small(7, 8, in_channels=1)
    assert found.layout == "DenseNet Lens"
