"""What people have besides plain DenseNets: each network is written by hand here, and its table computed by loops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from analysis import connection_weights, feature_reuse_figure, figure5_observations
from app.cli.main import run
from densenet_core import Checkpoint, CheckpointError, checkpoint_from_state_dict
from densenet_core.checkpoints.identify.connectivity import ConcatSpec

State = dict[str, Tensor]
Row = tuple[int, int, int, str, float]  # block, source, target, kind, mean |w|


class Hand(nn.Module):
    """A DenseNet as loops: layers with bottlenecks, options for what people leave out or add."""

    def __init__(
        self,
        layers: tuple[int, ...] = (3, 3),
        growth: tuple[int, ...] = (4, 4),
        stem: tuple[int, ...] = (8,),
        kept: float = 0.5,
        copies: int = 1,
        dims: int = 2,
        kernel: int = 3,
        transition: str = "norm and conv",
        last_norm: bool = True,
        head: str = "linear",
        norm: Callable[[int], nn.Module] | None = None,
        bottleneck: bool = True,
    ) -> None:
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
        norm = norm or {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dims]
        width = 3
        self.begin = nn.ModuleList()
        for outputs in stem:
            self.begin.append(nn.ModuleDict({"c": conv(width, outputs, 3, bias=False), "n": norm(outputs)}))
            width = outputs
        self.body, self.readers, sources = nn.ModuleList(), [], [width]
        if transition == "pooling":  # the feature maps stay what they are: one block
            growth, layers = tuple(k for k, n in zip(growth, layers, strict=True) for _ in range(n)), (sum(layers),)
        for block, number in enumerate(layers):
            stage = nn.ModuleDict()
            for layer in range(number):
                added = growth[layer if transition == "pooling" else block]
                first = conv(width, 4 * added if bottleneck else added, 1 if bottleneck else kernel, bias=False)
                parts = nn.ModuleDict({"n1": norm(width), "c1": first})
                if bottleneck:
                    parts["n2"] = norm(4 * added)
                    parts["c2"] = conv(4 * added, added, kernel, bias=False)
                stage[f"unit{layer}"] = parts
                self.readers.append((block + 1, layer + 1, "dense_layer", first, [*sources], 1))
                width += added
                sources = [*sources, added]
            if block < len(layers) - 1:
                outputs = int(width * kept)
                reduce = conv(copies * width, outputs, 1, bias=False)
                self.readers.append((block + 1, number + 1, "transition", reduce, sources, copies))
                stage["down"] = nn.ModuleDict({"n": norm(copies * width)} if "norm" in transition else {})
                stage["down"]["c"] = reduce
                width, sources = outputs, [outputs]
            self.body.append(stage)
        if last_norm:
            self.last = norm(width)
        if head != "none":
            reader = conv(width, 5, 1) if head == "conv" else nn.Linear(copies * width if head == "pools" else width, 5)
            place = (len(layers), layers[-1] + 1)
            self.readers.append((*place, "classifier", reader, sources, copies if head == "pools" else 1))
            self.head = nn.Sequential(reader, nn.ReLU(), nn.Dropout(), nn.Linear(5, 3)) if head == "mlp" else reader

    def rows(self) -> list[Row]:
        """The table by loops: the mean over every copy of a source."""
        rows = []
        for block, target, kind, layer, widths, copies in self.readers:
            parts = layer.weight.detach().abs().split(widths * copies, dim=1)
            for source in range(len(widths)):
                own = torch.cat([part.flatten() for part in parts[source :: len(widths)]])
                rows.append((block, source, target, kind, own.mean().item()))
        return rows


def assert_table(found: Checkpoint, model: Hand) -> None:
    table = connection_weights(found)
    got = table[["block", "source_layer", "target_layer", "target_kind", "mean_abs_weight"]].itertuples(index=False)
    expected = sorted(model.rows())
    assert [tuple(row[:4]) for row in sorted(tuple(row) for row in got)] == [row[:4] for row in expected]
    keys = ["block", "source_layer", "target_layer"]
    assert table.sort_values(keys)["mean_abs_weight"].tolist() == pytest.approx([row[4] for row in expected], rel=1e-5)
    feature_reuse_figure(table)
    assert len(figure5_observations(table)) == 5


CASES: dict[str, tuple[dict, str]] = {  # the options, and why the network can't be built ("" if it can)
    "backbone": ({"head": "none", "last_norm": False}, "no classifier"),
    "1x1 convolution head": ({"head": "conv"}, ""),
    "no last norm": ({"last_norm": False}, "no norm"),
    "no norm in the transition": ({"transition": "conv"}, "no norm"),
    "pooling alone": ({"transition": "pooling", "growth": (4, 6)}, "one block"),
    "uneven growth": ({"growth": (4, 6)}, "different numbers"),
    "copied maps": ({"copies": 3}, "poolings"),
    "concatenated poolings before the classifier": (
        {"copies": 2, "head": "pools", "transition": "norm and conv"},
        "poolings",
    ),
    "deep stem": ({"stem": (6, 6, 8)}, ""),
    "no stem": ({"stem": ()}, "stem"),
    "group norm": ({"norm": lambda width: nn.GroupNorm(1, width)}, "running statistics"),
    "no norm at all": ({"norm": lambda width: nn.Identity()}, "no norm"),
    "1-d, kernel 7": ({"dims": 1, "kernel": 7}, "kernels of 7"),
    "no bottleneck, kernel 5": ({"bottleneck": False, "kernel": 5}, "kernels of 5x5"),
}


@pytest.mark.slow
def test_an_order_that_is_not_visible_is_said_where_it_matters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(Hand(norm=lambda width: nn.Identity()).state_dict(), tmp_path / "a.pth")
    assert run(["reuse", str(tmp_path / "a.pth")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "order of concatenation is not visible in the weights, old feature maps first is assumed" in lines[0]
    verdicts = [line for line in lines if "not decidable" in line]
    assert len(verdicts) == 5 and all("--order" in line for line in verdicts)
    assert run(["reuse", str(tmp_path / "a.pth"), "--order", "old_first"]) == 0
    said = capsys.readouterr().out
    assert "is not visible" not in said and "not decidable" not in said


@pytest.mark.slow
@pytest.mark.parametrize("what", CASES)
def test_the_table_of_what_people_have(what: str) -> None:
    torch.manual_seed(0)
    options, why = CASES[what]
    model = Hand(**options)
    found = checkpoint_from_state_dict(model.state_dict())
    assert_table(found, model)
    if not why:
        found.to_model()
        return
    assert isinstance(found.spec, ConcatSpec)
    with pytest.raises(CheckpointError, match=why):
        found.to_model()
