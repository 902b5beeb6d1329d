"""DenseNets whose layers have depthwise-separable convolutions: their table is known, in which depthwise ones have no
part, as each of their outputs reads one feature map."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis import connection_weights
from densenet_core import CheckpointError, checkpoint_from_state_dict
from densenet_core.checkpoints.identify.connectivity import ConcatSpec

K, LAYERS = 4, (3, 2)


class Layer(nn.Module):
    def __init__(self, width: int, is_bottleneck: bool, is_nested: bool) -> None:
        super().__init__()
        self.is_bottleneck, inner = is_bottleneck, 4 * K if is_bottleneck else width
        self.before = nn.BatchNorm2d(width)
        if is_bottleneck:
            self.squeeze, self.between = nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner)
        each = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        mix = nn.Conv2d(inner, K, 1, bias=False)
        if is_nested:
            self.separable = nn.ModuleDict({"depthwise": each, "pointwise": mix})
        else:
            self.each, self.mix = each, mix

    def steps(self) -> tuple[nn.Module, nn.Module]:
        own = getattr(self, "separable", None)
        return (own["depthwise"], own["pointwise"]) if own is not None else (self.each, self.mix)

    @property
    def first(self) -> nn.Module:
        return self.squeeze if self.is_bottleneck else self.steps()[1]

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.before(x))
        if self.is_bottleneck:
            x = F.relu(self.between(self.squeeze(x)))
        for step in self.steps():
            x = step(x)
        return x


class Separable(nn.Module):
    def __init__(
        self,
        is_bottleneck: bool,
        is_nested: bool = False,
        channels: int = 3,
        kept: float = 0.5,
        new_first: bool = False,
    ) -> None:
        super().__init__()
        self.new_first = new_first
        self.entry = nn.Conv2d(channels, 8, 3, padding=1, bias=False)
        self.stages, self.down, width = nn.ModuleList(), nn.ModuleDict(), 8
        for block, number in enumerate(LAYERS):
            self.stages.append(nn.ModuleList(Layer(width + i * K, is_bottleneck, is_nested) for i in range(number)))
            width += number * K
            if not block:
                self.down["norm"] = nn.BatchNorm2d(width)
                self.down["conv"] = nn.Conv2d(width, int(kept * width), 1, bias=False)
                self.entries, width = (8, int(kept * width)), int(kept * width)
        self.last, self.head = nn.BatchNorm2d(width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        for block, stage in enumerate(self.stages):
            for layer in stage:
                x = torch.cat((layer(x), x) if self.new_first else (x, layer(x)), 1)
            x = x if block else F.avg_pool2d(self.down["conv"](F.relu(self.down["norm"](x))), 2)
        scores: Tensor = self.head(F.relu(self.last(x)).mean((2, 3)))
        return scores

    def rows(self) -> Iterator[tuple[int, int, int, float]]:
        """Yield block, source, target and the mean of the absolute weights, by loops."""
        for block, stage in enumerate(self.stages):
            readers = [layer.first for layer in stage] + [self.head if block else self.down["conv"]]
            for target, reader in enumerate(readers, start=1):
                widths = [self.entries[block], *[K] * (target - 1)]
                order = [*range(target)][:: -1 if self.new_first else 1]
                parts = reader.weight.detach().abs().split([widths[source] for source in order], dim=1)
                yield from ((block + 1, s, target, part.mean().item()) for s, part in zip(order, parts, strict=True))


CASES: dict[str, dict[str, object]] = {
    "bottlenecks": {"is_bottleneck": True},
    "bottlenecks, nested": {"is_bottleneck": True, "is_nested": True},
    "bottlenecks, gray images": {"is_bottleneck": True, "channels": 1},
    "bottlenecks, new maps first": {"is_bottleneck": True, "new_first": True},
    "no bottlenecks": {"is_bottleneck": False},
    "no bottlenecks, nested": {"is_bottleneck": False, "is_nested": True},
    "no bottlenecks, gray images": {"is_bottleneck": False, "channels": 1},
    "no bottlenecks, no compression": {"is_bottleneck": False, "kept": 1.0},
}


@pytest.mark.parametrize("what", CASES)
def test_the_table_is_known_and_the_scores_are_refused(what: str) -> None:
    torch.manual_seed(0)
    model = Separable(**CASES[what])  # type: ignore[arg-type]
    with torch.no_grad():
        for _ in range(3):  # for running statistics that show the order
            model(torch.randn(4, model.entry.in_channels, 16, 16))
    found = checkpoint_from_state_dict(model.state_dict())
    assert isinstance(found.spec, ConcatSpec)
    assert found.order == ("new_first" if model.new_first else "old_first")
    table = connection_weights(found)[["block", "source_layer", "target_layer", "mean_abs_weight"]]
    expected = sorted(model.rows())
    got = sorted(tuple(row) for row in table.itertuples(index=False))
    assert [row[:3] for row in got] == [row[:3] for row in expected]
    assert [row[3] for row in got] == pytest.approx([row[3] for row in expected], rel=1e-5)
    with pytest.raises(CheckpointError, match="only the feature reuse is known"):
        found.to_model()
