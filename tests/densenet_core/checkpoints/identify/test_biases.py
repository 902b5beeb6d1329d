"""DenseNets whose convolutions have biases, against a module written by hand here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core import CheckpointError, DenseNetSpec, checkpoint_from_state_dict, load_checkpoint
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.checkpoints.trace import checkpoint_from_module

K = 4  # growth rate
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
Norm = Callable[[int], nn.Module]


class Biased(nn.Module):
    """Two blocks of two layers, where every convolution has a bias."""

    def __init__(
        self,
        has_bottleneck: bool = True,
        is_imagenet: bool = False,
        new_first: bool = False,
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.new_first, width = new_first, 8
        stem: list[nn.Module] = [nn.Conv2d(3, 8, 3, padding=1)]
        if is_imagenet:
            stem = [nn.Conv2d(3, 8, 7, 2, 3), norm(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        self.entry, self.stages = nn.Sequential(*stem), nn.ModuleList()
        for block in range(2):
            stage = nn.ModuleList()
            for _ in range(2):
                parts: list[nn.Module] = [norm(width), nn.ReLU()]
                if has_bottleneck:
                    parts += [nn.Conv2d(width, 4 * K, 1), norm(4 * K), nn.ReLU()]
                parts.append(nn.Conv2d(4 * K if has_bottleneck else width, K, 3, padding=1))
                stage.append(nn.Sequential(*parts))
                width += K
            self.stages.append(stage)
            if not block:
                self.shrink = nn.Sequential(norm(width), nn.ReLU(), nn.Conv2d(width, 10, 1), nn.AvgPool2d(2))
                width = 10
        self.final, self.head = norm(width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        for block, stage in enumerate(self.stages):
            for layer in stage:
                x = torch.cat((layer(x), x) if self.new_first else (x, layer(x)), 1)
            x = x if block else self.shrink(x)
        return self.head(F.relu(self.final(x)).mean((2, 3)))


def trained(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for part in model.modules():
        if isinstance(part, nn.Conv2d) and part.bias is not None:
            nn.init.normal_(part.bias)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 3, 32, 32) + 0.3)
    return model.eval()


CASES = {
    "bottlenecks": {},
    "no bottlenecks": {"has_bottleneck": False},
    "ImageNet's stem": {"is_imagenet": True},
    "new maps first": {"new_first": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("what", CASES)
def test_biases_are_part_of_the_norms_behind_them(what: str, tmp_path: Path) -> None:
    model = trained(Biased(**CASES[what]))
    torch.save(model.state_dict(), tmp_path / "a.pth")
    found = load_checkpoint(tmp_path / "a.pth")
    assert isinstance(found.spec, DenseNetSpec)
    number = sum(isinstance(part, nn.Conv2d) for part in model.modules())
    assert f"{number} biases of convolutions are part of the running means of the norms behind them" in found.notes
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("new_first", [False, True])
def test_a_live_module_is_built_or_says_why_not(new_first: bool) -> None:
    model = trained(Biased(new_first=new_first))
    found = checkpoint_from_module(model, (1, 3, 32, 32))
    if new_first:
        assert isinstance(found.spec, ConcatSpec) and "does not concatenate old feature maps first" in found.spec.why
        return
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-4)


def test_other_norms_do_not_take_biases() -> None:
    model = Biased(norm=lambda width: nn.GroupNorm(2, width))
    found = checkpoint_from_state_dict(model.state_dict(), norm="group-2")
    assert isinstance(found.spec, ConcatSpec) and "its convolutions have biases ('entry.0'" in found.spec.why


def test_a_bias_that_is_damaged_is_named() -> None:
    state = Biased().state_dict()
    with pytest.raises(CheckpointError, match=r"'features\.conv0\.bias' holds NaN"):
        checkpoint_from_state_dict({**state, "entry.0.bias": torch.full((8,), float("nan"))})
    found = checkpoint_from_state_dict({**state, "shrink.2.bias": torch.zeros(3)})
    assert isinstance(found.spec, ConcatSpec) and "transition1.conv.bias' has shape (3,)" in found.spec.why
