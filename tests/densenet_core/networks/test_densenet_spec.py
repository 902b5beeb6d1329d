from __future__ import annotations

import re

import pytest

from densenet_core import DenseNetSpec
from densenet_core.networks.names import MODEL_NAMES, spec_from_name


@pytest.mark.parametrize(
    ("name", "blocks", "init"),
    [
        ("densenet-40-12", (12, 12, 12), 16),
        ("densenet-100-12", (32, 32, 32), 16),
        ("densenet-100-24", (32, 32, 32), 16),
        ("densenet-bc-100-12", (16, 16, 16), 24),
        ("densenet-bc-250-24", (41, 41, 41), 48),
        ("densenet-bc-190-40", (31, 31, 31), 80),
        ("densenet121", (6, 12, 24, 16), 64),
        ("densenet161", (6, 12, 36, 24), 96),
    ],
)
def test_the_papers_networks(name: str, blocks: tuple[int, ...], init: int) -> None:
    spec = spec_from_name(name)
    assert spec.block_config == blocks
    assert spec.num_init_features == init


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_depth_is_the_one_in_the_name(name: str) -> None:
    in_name = re.search(r"\d+", name)
    assert in_name
    assert spec_from_name(name).depth == int(in_name[0]) + (name == "densenet264")  # by its own formula it has 265


def test_channels_by_a_hand_formula() -> None:
    spec = DenseNetSpec.cifar(100, 12, bottleneck=True, compression=0.5)
    assert spec.block_inputs == (24, (24 + 16 * 12) // 2, (108 + 16 * 12) // 2)
    assert spec.block_outputs == (216, 300, 342)
    assert sum(spec.source_channels(3)) == 342


@pytest.mark.parametrize(
    ("depth", "bottleneck", "nearest"), [(41, False, "40 and 43"), (101, True, "100 and 106"), (1, False, "7")]
)
def test_a_depth_that_does_not_fit_names_the_nearest(depth: int, bottleneck: bool, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"depth {depth} .*nearest are .*{nearest}"):
        DenseNetSpec.cifar(depth, 12, bottleneck)


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown network 'densenet-bc100-12': the nearest are densenet-bc-100-12"):
        spec_from_name("densenet-bc100-12")


@pytest.mark.parametrize(
    ("field", "value"),
    [("growth_rate", 0), ("compression", 0.0), ("compression", 1.5), ("drop_rate", 1.0), ("spatial_dims", 4)],
)
def test_a_wrong_field_is_named_with_its_value(field: str, value: float) -> None:
    options = {"block_config": (2, 2), "growth_rate": 4, "num_init_features": 8} | {field: value}
    with pytest.raises(ValueError, match=f"{field} {value}"):
        DenseNetSpec(**options)


def test_title_is_the_papers() -> None:
    assert spec_from_name("densenet-40-12").title == "DenseNet (L=40, k=12)"
    assert spec_from_name("densenet-bc-250-24").title == "DenseNet-BC (L=250, k=24)"
