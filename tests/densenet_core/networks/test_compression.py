"""The rounding of channel counts under compression, and how theta is read back from them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
import torch
import torchvision
from hypothesis import example, given, settings
from hypothesis import strategies as st

from densenet_core import DenseNetSpec
from densenet_core.checkpoints.identify.infer_spec import infer_densenet_spec
from densenet_core.networks.build import build_model
from densenet_core.networks.densenet_spec import compress
from densenet_core.networks.layers import tensor_shapes


@given(st.integers(1, 10_000), st.integers(1, 10_000))
@example(100, 2900)  # 0.29 * 100 is 28.999... in binary
def test_a_transition_keeps_floor_theta_m(num_features: int, ten_thousandths: int) -> None:
    """The authors' rule, in exact arithmetic."""
    exact = floor(num_features * Fraction(ten_thousandths, 10_000))
    assert compress(num_features, ten_thousandths / 10_000) == exact


@given(st.integers(1, 5_000), st.integers(2, 30))
def test_a_theta_that_is_no_decimal_is_the_fraction_that_was_meant(num_kept: int, divisor: int) -> None:
    assert compress(num_kept * divisor, 1 / divisor) == num_kept


@pytest.mark.parametrize(("blocks", "growth_rate", "init"), [((2, 3, 1), 5, 7), ((3, 1, 2, 2), 7, 9), ((1, 1), 3, 4)])
def test_odd_widths_are_torchvisions(blocks: tuple[int, ...], growth_rate: int, init: int) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.DenseNet(growth_rate, blocks, init, num_classes=10)
    spec = DenseNetSpec(blocks, growth_rate, init, stem="imagenet")
    assert any(maps % 2 for maps in spec.block_outputs[:-1])
    assert tensor_shapes(spec) == {key: tuple(tensor.shape) for key, tensor in theirs.state_dict().items()}


def digits(theta: float) -> int:
    """The number of decimals with which a theta is written."""
    return -int(Decimal(repr(theta)).as_tuple().exponent)


thetas = st.one_of(
    st.integers(1, 5).flatmap(lambda d: st.integers(10 ** (d - 1), 10**d).map(lambda n: n / 10**d)),
    st.floats(0.1, 1),
    st.builds(lambda p, q: p / (p + q), st.integers(1, 9), st.integers(0, 9)),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=9).map(tuple),
    st.sampled_from([1, 3, 12, 32, 512, 1999]),
    st.sampled_from([16, 24, 1000]),
    thetas,
    st.booleans(),
)
@example((8, 42, 59, 25, 25, 14, 36, 1), 1999, 64, 0.562330581, True)  # only a theta of many digits fits
@example((1, 3), 1999, 10, 0.99999999, True)  # 10 of 10 feature maps are kept by rounding, 2,008 of 2,009 after them
def test_a_spec_is_read_back_from_its_shapes(
    blocks: tuple[int, ...], growth_rate: int, init: int, theta: float, bottleneck: bool
) -> None:
    """All but theta, of which many give the same network: the one that is read gives it too, with no more digits."""
    try:
        spec = DenseNetSpec(blocks, growth_rate, init, bottleneck, compression=theta)
    except ValueError:  # a block without feature maps
        return
    found = infer_densenet_spec(tensor_shapes(spec))
    assert replace(found, compression=theta) == spec
    assert found.block_inputs == spec.block_inputs
    assert digits(found.compression) <= max(digits(theta), 1) or digits(theta) > 5


@pytest.mark.parametrize("theta", [0.1, 0.25, 1 / 3, 0.5, 0.55, 0.99])
def test_a_network_is_read_back_from_its_state_dict(theta: float) -> None:
    spec = DenseNetSpec((4, 3, 2), 5, 21, compression=theta)
    with torch.device("meta"):
        state = build_model(spec).state_dict()
    found = infer_densenet_spec({key: tuple(tensor.shape) for key, tensor in state.items()})
    assert (found.block_inputs, found.family) == (spec.block_inputs, "DenseNet-BC")


def test_uneven_shares_are_read_transition_by_transition() -> None:
    shapes = tensor_shapes(DenseNetSpec((2, 2, 2), 4, 8))
    shapes["features.transition2.conv.weight"] = (15, *shapes["features.transition2.conv.weight"][1:])
    assert infer_densenet_spec(shapes).transition_widths == (8, 15)
