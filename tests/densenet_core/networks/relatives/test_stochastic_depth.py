from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from densenet_core import ResNetSpec, create_model, load_checkpoint
from densenet_core.networks.build import build_model


@pytest.mark.slow
def test_parameters_are_those_of_the_resnet_and_survival_falls_linearly() -> None:
    """The paper prints 1.7M, and 10.2M for 1202 layers, which no count of that network gives (19.4M)."""
    for depth, params in ((110, 1_727_962), (1202, 19_421_274)):
        with torch.device("meta"):
            model = create_model(f"resnet-sd-{depth}")
        assert sum(p.numel() for p in model.parameters()) == params
        assert model.spec.family == "ResNet with stochastic depth"
    spec = ResNetSpec.stochastic(110)
    assert spec.title == "ResNet-110 with stochastic depth"
    assert spec.survivals[0] == pytest.approx(1 - 1 / 108)
    assert spec.survivals[-1] == 0.5
    assert spec.expected_blocks == pytest.approx((3 * 54 - 1) / 4)  # the paper's section 3
    assert ResNetSpec.cifar(110).expected_blocks == 54


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet-sd-8", "preact"])
def test_a_block_is_kept_or_dropped_in_training_and_scaled_by_its_survival_at_test_time(name: str) -> None:
    spec = ResNetSpec.stochastic(8, survival=0.3)
    spec = replace(spec, preactivation=name == "preact")
    block = build_model(spec).layer3[0]  # the last: survival 0.3
    assert block.survival == pytest.approx(0.3)
    x = torch.rand(4, 32, 8, 8)
    with torch.no_grad():
        block.eval()
        scaled, shortcut = block(x), block.downsample(x)
        block.survival = 1.0
        whole = block(x)
        block.survival = 0.3
        if name == "resnet-sd-8":  # the last ReLU hides what lies below 0: what is above lies on the line
            above = (whole > 0) & (scaled > 0)
            torch.testing.assert_close(scaled[above], (0.3 * whole + 0.7 * shortcut)[above])
        else:
            torch.testing.assert_close(scaled, 0.3 * whole + 0.7 * shortcut)
        for norm in (block.bn1, block.bn2):  # the batch's statistics are another thing
            norm.momentum = 0.0
        block.train()
        dropped = [bool((block(x) == block.downsample(x)).all()) for _ in range(400)]
    assert 0.6 < sum(dropped) / 400 < 0.8  # 0.7 is expected, 4 deviations are 0.09
    assert block(x).shape == (4, 64, 4, 4)


def test_in_training_a_kept_block_is_not_scaled() -> None:
    model = build_model(ResNetSpec.stochastic(8, survival=0.3)).train()
    block, x = model.layer3[0], torch.rand(4, 32, 8, 8)
    with torch.no_grad():
        block.survival = 1.0
        whole = block(x)
        block.survival = 0.3
        kept = [out for out in (block(x) for _ in range(30)) if not torch.equal(out, block.downsample(x))]
    assert kept
    for out in kept:
        torch.testing.assert_close(out, whole)


def test_what_can_not_be_dropped_is_refused() -> None:
    with pytest.raises(ValueError, match=r"survival 0\.5 needs shortcuts"):
        replace(ResNetSpec.plain(8), survival=0.5)
    with pytest.raises(ValueError, match="survival 0 must be above 0 and at most 1"):
        ResNetSpec.stochastic(8, survival=0)
    with pytest.raises(ValueError, match="depth 21 is not 6"):
        create_model("resnet-sd-21")


@pytest.mark.slow
def test_it_learns_digits_and_its_file_says_what_it_is(learns_digits: Callable[..., Path]) -> None:
    folder = learns_digits("resnet-sd-8")
    assert load_checkpoint(folder).spec == ResNetSpec.stochastic(8, in_channels=1)
