"""Live modules of any kind are followed: every source of every convolution, held against what the module is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from analysis import connection_filter, connection_weights, feature_reuse_figure
from analysis.reuse.connections import as_checkpoint
from densenet_core import CheckpointError, DenseNetSpec
from densenet_core.checkpoints.identify.connectivity import ConcatSpec, targets
from densenet_core.checkpoints.trace import trace_concatenations
from densenet_core.networks.build import build_model
from tests.conftest import trained_like
from tests.densenet_core.checkpoints.formats.foreign import ForeignDenseNet, trained
from tests.densenet_core.checkpoints.identify.shapes.test_by_shape import EVEN, assert_same_reuse


@pytest.mark.parametrize(
    "spec",
    [
        DenseNetSpec((2, 3), 4, 8, num_classes=5),
        DenseNetSpec((2, 2), 3, 6, bottleneck=False, compression=1.0),
        DenseNetSpec((2, 2), 4, 8, spatial_dims=3, in_channels=1, stem="imagenet"),
    ],
    ids=lambda spec: spec.title,
)
def test_a_traced_densenet_has_the_table_of_its_names(spec: DenseNetSpec) -> None:
    model = trained_like(spec)
    followed = trace_concatenations(model)
    by_names = {(t.block, t.layer): (t.kind, t.weight, t.norm, t.runs) for t in targets(spec)}
    assert {(t.block, t.layer): (t.kind, t.weight, t.norm, t.runs) for t in followed.targets} == by_names
    assert (followed.in_channels, followed.num_classes) == (spec.in_channels, spec.num_classes)


@pytest.mark.slow
def test_torchvisions_own_module_is_followed() -> None:
    followed = trace_concatenations(torchvision.models.densenet121(memory_efficient=True))
    assert followed.num_connections == DenseNetSpec.imagenet("121").num_connections
    assert followed.sources[0][:2] == ("features.conv0", "features.denseblock1.denselayer1.conv2")


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"new_first": True}, {"gated": True}, {"groups": 2}, {"heads": 2}])
def test_a_module_of_unknown_names_and_shapes(options: dict) -> None:
    model = ForeignDenseNet(**options)  # not trained: its state dict does not tell the order
    assert_same_reuse(connection_weights(model), model, EVEN)


def test_the_order_of_an_untrained_module_is_followed() -> None:
    found = as_checkpoint(ForeignDenseNet(new_first=True))
    assert (found.spec, found.order) == (DenseNetSpec((3, 2), 4, 8, num_classes=5), "new_first")


class Nested(nn.Module):
    """A U-Net++ of two levels: three nodes above, two below."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.ModuleList(nn.Conv2d(width, 4, 3, padding=1) for width in (3, 4 + 6, 4 + 4 + 6))
        self.low = nn.ModuleList([nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)])
        self.up = nn.ConvTranspose2d(6, 6, 2, stride=2)
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.top[0](x))
        below = F.relu(self.low[0](F.max_pool2d(first, 2)))
        second = F.relu(self.top[1](torch.cat([first, F.interpolate(below, scale_factor=2)], 1)))
        last = self.up(F.relu(self.low[1](below)))
        third = F.relu(self.top[2](torch.cat([first, second, last], 1)))
        return self.out(third)


def test_a_nested_u_net() -> None:
    model = Nested()
    table = connection_weights(model, input_shape=(1, 3, 16, 16))
    spec = as_checkpoint(model).spec
    assert isinstance(spec, ConcatSpec)
    assert spec.sources == (("top.0", "low.0", "top.1", "up"),)
    names = {target.layer: target.weight for target in spec.targets}
    rows = {(names[r.target_layer], spec.sources[0][r.source_layer]): r for r in table.itertuples()}
    assert set(rows) == {
        ("low.0.weight", "top.0"),
        ("top.1.weight", "top.0"),
        ("top.1.weight", "low.0"),
        ("low.1.weight", "low.0"),
        ("top.2.weight", "top.0"),
        ("top.2.weight", "top.1"),
        ("top.2.weight", "up"),
    }
    expected = model.top[2].weight[:, 8:].abs().mean().item()
    assert rows["top.2.weight", "up"].mean_abs_weight == pytest.approx(expected)
    assert (table["source_layer"] < table["target_layer"]).all()
    assert table["effective_weight"].isna().all()  # it has no batch norm
    row = rows["top.2.weight", "up"]
    part = connection_filter(as_checkpoint(model), row.block, row.source_layer, row.target_layer)
    torch.testing.assert_close(torch.from_numpy(part), model.top[2].weight[:, 8:].detach())
    feature_reuse_figure(table)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "blocks"), [("googlenet", 9), ("squeezenet1_1", 8)])
def test_torchvisions_other_concatenating_networks(name: str, blocks: int) -> None:
    kwargs = {"init_weights": False} if name == "googlenet" else {}
    table = connection_weights(torchvision.models.get_model(name, weights=None, **kwargs))
    assert table["block"].nunique() == blocks
    shares = table.groupby(["block", "target_layer"])["num_channels"].sum()
    assert shares.groupby("block").nunique().max() == 1  # every reader of a block reads all of it


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.read = nn.Conv2d(8, 6, 1, groups=2)
        self.up = nn.ConvTranspose2d(8, 5, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.cat([self.one(x), self.two(x)], 1)
        return self.read(y), self.up(y)


def test_grouped_and_transposed_convolutions() -> None:
    model = Grouped()
    table = connection_weights(model).set_index(["target_layer", "source_layer"])["mean_abs_weight"]
    assert table[2, 0] == pytest.approx(model.read.weight[:3].abs().mean().item())
    assert table[2, 1] == pytest.approx(model.read.weight[3:].abs().mean().item())
    assert table[3, 1] == pytest.approx(model.up.weight[4:].abs().mean().item())


def test_a_flattened_map_is_read_by_a_linear_layer() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.head = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 3, 1), nn.Linear(5 * 16, 7)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.cat([self.one(x), self.two(x)], 1).flatten(1))

    model = Flat()
    table = connection_weights(model, input_shape=(1, 3, 4, 4))
    assert table["num_channels"].tolist() == [2 * 16, 3 * 16]
    assert table["mean_abs_weight"].tolist() == pytest.approx(
        [model.head.weight[:, :32].abs().mean().item(), model.head.weight[:, 32:].abs().mean().item()]
    )


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        buffer = torch.cat([self.one(x), self.one(x)], 1)
        buffer[:, :4] = self.one(x)
        return F.conv2d(buffer, buffer.new_ones(2, 8, 1, 1))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) if x.sum().item() > 0 else x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (torchvision.models.resnet18(), "feature reuse is measured on DenseNets: this is a ResNet"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), "no layer of the network reads concatenated feature maps"),
        (InPlace(), "writes into slices of tensors"),
        (Branching(), "can't be traced with an input of shape"),
        (nn.Linear(3, 4), "no convolution"),
    ],
    ids=["resnet", "no concatenation", "in place", "branches on data", "linear"],
)
def test_what_can_not_be_followed_is_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        connection_weights(model)


def test_the_module_is_left_as_it_was() -> None:
    model = trained(ForeignDenseNet()).train()
    model.stages[0][0].mid.eval()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    trace_concatenations(model)
    assert model.training and not model.stages[0][0].mid.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert all(not tensor.is_meta for tensor in model.parameters())


def test_our_network_with_connections_cut_is_followed_too() -> None:
    spec = DenseNetSpec((3, 2), 4, 8, num_classes=5, cuts=((1, 1, 3), (2, 0, 3)))
    followed = trace_concatenations(build_model(spec))
    runs = {(t.block, t.layer): t.runs for t in followed.targets}
    assert runs[1, 3] == ((0, 8), (2, 4))
    assert runs[2, 3] == ((1, 4), (2, 4))


@pytest.mark.parametrize(
    ("cut", "channels"),
    [
        (lambda y: y.chunk(2, dim=1)[1], {1: 4}),
        (lambda y: y.split([1, 6, 1], dim=1)[1], {0: 2, 1: 4}),
        (lambda y: y[:, 2:6], {0: 1, 1: 3}),
        (lambda y: y.narrow(1, 0, 3), {0: 3}),
        (lambda y: y[:, -5:, 1:], {1: 5}),
        (lambda y: y[:, ::2], {0: 2, 1: 2}),
        (lambda y: F.dropout(F.pad(y, (1, 1)), training=True), {0: 3, 1: 5}),
        (lambda y: y * 0.5 + 1, {0: 3, 1: 5}),
        (lambda y: y.mean((2, 3), keepdim=True).sigmoid() * y, {0: 3, 1: 5}),
    ],
    ids=["chunk", "split", "slice", "narrow", "negative slice", "steps", "pad and dropout", "numbers", "gate"],
)
def test_parts_of_a_concatenation(cut: Callable[[Tensor], Tensor], channels: dict[int, int]) -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 5, 1)
            self.read = nn.Conv2d(sum(channels.values()), 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.read(cut(torch.cat([self.one(x), self.two(x)], 1)))

    table = connection_weights(Parts())
    assert dict(zip(table["source_layer"], table["num_channels"], strict=True)) == channels
