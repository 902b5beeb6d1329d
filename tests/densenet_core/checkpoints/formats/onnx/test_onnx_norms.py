"""The kind of norm inside an ONNX graph: read as what it is, or refused by the name of its node; never a batch norm."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core import Checkpoint, CheckpointError, DenseNetSpec, load_checkpoint
from densenet_core.checkpoints.formats.onnx.nodes import Node
from densenet_core.checkpoints.formats.onnx.norms import JOINED, join_norms
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.checkpoints.trace import checkpoint_from_module

onnx = pytest.importorskip("onnx")
Norm = Callable[[int], nn.Module]
K = 4


class ChannelsLast(nn.LayerNorm):
    """A layer norm of the feature maps at each position, as torchvision's ConvNeXt has it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SpelledOut(nn.Module):
    """A norm of which every operation is written down, over some axes."""

    def __init__(self, width: int, *axes: int) -> None:
        super().__init__()
        self.axes = axes
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        away = x - x.mean(self.axes, keepdim=True)
        scaled = away / (away.pow(2).mean(self.axes, keepdim=True) + 1e-5).sqrt()
        return scaled * self.weight[:, None, None] + self.bias[:, None, None]


class Tiny(nn.Module):
    """Two blocks of one layer without a bottleneck, and a head of any order of operations."""

    def __init__(self, norm: Norm, head: str = "norm relu mean") -> None:
        super().__init__()
        self.head = head
        self.entry = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.n1, self.c1 = norm(8), nn.Conv2d(8, K, 3, padding=1, bias=False)
        self.n2, self.c2 = norm(8 + K), nn.Conv2d(8 + K, 8, 1, bias=False)
        self.n3, self.c3 = norm(8), nn.Conv2d(8, K, 3, padding=1, bias=False)
        self.n4, self.out = norm(8 + K), nn.Linear(8 + K, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        x = torch.cat((x, self.c1(F.relu(self.n1(x)))), 1)
        x = F.avg_pool2d(self.c2(F.relu(self.n2(x))), 2)
        x = torch.cat((x, self.c3(F.relu(self.n3(x)))), 1)
        operations = {"norm": self.n4, "relu": F.relu, "mean": lambda x: x.mean((2, 3), keepdim=True)}
        for operation in self.head.split():
            x = operations[operation](x)
        return self.out(x.flatten(1))


SPEC = DenseNetSpec((1, 1), K, 8, num_classes=5, bottleneck=False)
NORMS: dict[str, tuple[Norm, str]] = {
    "group norm": (lambda width: nn.GroupNorm(2, width), "group-2"),
    "instance norm": (lambda width: nn.InstanceNorm2d(width, affine=True), "instance"),
    "instance norm without weights": (lambda width: nn.InstanceNorm2d(width), "instance"),
    "layer norm": (ChannelsLast, "layer"),
    "batch norm without running statistics": (
        lambda width: nn.BatchNorm2d(width, track_running_stats=False),
        "batch_statistics",
    ),
    "layer norm, spelled out": (lambda width: SpelledOut(width, 1), "layer"),
    "instance norm, spelled out": (lambda width: SpelledOut(width, 2, 3), "instance"),
    "batch norm, spelled out": (lambda width: SpelledOut(width, 0, 2, 3), "batch_statistics"),
}


def tiny(norm: Norm, head: str = "norm relu mean") -> nn.Module:
    torch.manual_seed(0)
    model = Tiny(norm, head)
    for name, part in model.named_parameters():
        if part.ndim == 1:
            nn.init.uniform_(part, 0.5, 1.5) if "weight" in name else nn.init.normal_(part)
    for _ in range(2):
        model(torch.randn(8, 3, 16, 16) + 0.3)
    return model.eval()


def exported(model: nn.Module, file: Path, opset: int = 13, training: bool = False) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mode = torch.onnx.TrainingMode.TRAINING if training else torch.onnx.TrainingMode.EVAL
        options = {"dynamo": False, "opset_version": opset, "training": mode, "do_constant_folding": not training}
        torch.onnx.export(model, (torch.randn(2, 3, 16, 16),), file, **options)
    return file


def assert_same_scores(found: Checkpoint, model: nn.Module) -> None:
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(images), model(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("what", NORMS)
def test_norms_that_an_exporter_takes_apart_are_put_together(what: str, opset: int, tmp_path: Path) -> None:
    norm, kind = NORMS[what]
    model = tiny(norm)
    found = load_checkpoint(exported(model, tmp_path / "a.onnx", opset))
    words, _, groups = kind.partition("-")
    assert isinstance(found.spec, DenseNetSpec), found.spec
    assert (found.spec.norm, found.spec.norm_groups, found.order) == (words, int(groups or 0), "old_first")
    assert bool(found.assumed) == (kind == "batch_statistics")
    assert_same_scores(found, model)


def changed(file: Path, change: Callable[[onnx.NodeProto], onnx.NodeProto | None]) -> Path:
    """Write a graph whose nodes were changed one by one."""
    model = onnx.load(file)
    nodes = [change(node) or node for node in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, file)
    return file


@pytest.mark.slow
@pytest.mark.parametrize("per_group", [False, True])
def test_group_normalization_has_numbers_for_maps_or_for_groups(per_group: bool, tmp_path: Path) -> None:
    """Opset 18 defines GroupNormalization with one number a group, and opset 21 with one for each feature map."""
    model = tiny(lambda width: nn.InstanceNorm2d(width, affine=True))
    if per_group:
        for part in (model.n1, model.n2, model.n3, model.n4):
            width = part.num_features // 2
            part.weight.data[:] = part.weight[:2].repeat_interleave(width)
            part.bias.data[:] = part.bias[:2].repeat_interleave(width)
    file = exported(model, tmp_path / "a.onnx")
    graph = onnx.load(file)
    for node in graph.graph.node:
        if node.op_type == "InstanceNormalization":
            node.op_type = "GroupNormalization"
            node.attribute.append(onnx.helper.make_attribute("num_groups", 2))
    if per_group:
        for held in graph.graph.initializer:
            if held.name.startswith("n"):
                array = onnx.numpy_helper.to_array(held)
                held.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array[:: len(array) // 2]), held.name))
    onnx.save(graph, file)
    expected = Tiny(lambda width: nn.GroupNorm(2, width)).eval()
    expected.load_state_dict(model.state_dict())
    assert_same_scores(load_checkpoint(file), expected)


def test_a_norm_that_can_not_be_followed_is_named(tmp_path: Path) -> None:
    """Its numbers are computed, not constants: no table without the layers behind it."""
    file = exported(tiny(lambda width: nn.InstanceNorm2d(width, affine=True)), tmp_path / "a.onnx")

    def odd(node: onnx.NodeProto) -> None:
        if node.op_type == "InstanceNormalization":
            node.op_type, node.name = "LpNormalization", f"odd{node.name.rpartition('/')[0]}"

    with pytest.raises(CheckpointError, match=r"'c2\.weight' reads what 'odd/n2' makes of concatenated feature maps"):
        load_checkpoint(changed(file, odd))


def test_norms_of_two_kinds_have_only_a_table(tmp_path: Path) -> None:
    model = tiny(nn.BatchNorm2d)
    model.n2 = nn.GroupNorm(2, 8 + K)
    found = load_checkpoint(exported(model, tmp_path / "a.onnx"))
    assert isinstance(found.spec, ConcatSpec) and "its norms are batch and group-2" in found.spec.why
    assert [target.norm is not None for target in found.spec.targets] == [True] * 4


def test_a_graph_exported_for_training_says_which_statistics_are_used(tmp_path: Path) -> None:
    model = tiny(nn.BatchNorm2d)
    found = load_checkpoint(exported(model.train(), tmp_path / "a.onnx", training=True))
    assert [words for words in found.assumed if "exported for training" in words]
    assert_same_scores(found, model.eval())


@pytest.mark.slow
@pytest.mark.parametrize("head", ["mean norm relu", "norm mean relu"])
@pytest.mark.parametrize("live", [True, False])
def test_the_order_of_operations_counts(head: str, live: bool, tmp_path: Path) -> None:
    """Pooling before a ReLU or a norm is another function of the same weights."""
    model = tiny(nn.BatchNorm2d, head)
    found = checkpoint_from_module(model) if live else load_checkpoint(exported(model, tmp_path / "a.onnx"))
    assert isinstance(found.spec, ConcatSpec)
    assert "has the global pooling in the place where a DenseNet of its size has" in found.spec.why


def test_a_value_within_a_norm_that_is_read_elsewhere_keeps_its_nodes() -> None:
    nodes = [
        Node("Reshape", "a", ["x", "shape"], ["flat"], {}),
        Node("InstanceNormalization", "b", ["flat", "one", "zero"], ["scaled"], {}),
        Node("Reshape", "c", ["scaled", "back"], ["y"], {}),
    ]
    held = {"shape": np.array([0, 2, -1]), "one": np.ones(2, np.float32), "zero": np.zeros(2, np.float32)}
    assert [node.operation for node in join_norms(nodes, held.get)] == [JOINED]
    also = Node("Relu", "d", ["flat"], ["z"], {})
    assert join_norms([*nodes, also], held.get) == [*nodes, also]
