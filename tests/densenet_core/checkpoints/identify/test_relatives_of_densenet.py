"""Networks near DenseNets as their authors name them: Tiramisu, RDNet, CondenseNet, fastai's and other heads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from analysis import connection_weights
from densenet_core import checkpoint_from_state_dict
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.checkpoints.trace import trace_concatenations


def table_of(state: dict[str, Tensor]) -> dict[tuple[int, int, int], float]:
    table = connection_weights(checkpoint_from_state_dict(state))
    return {(r.block, r.source_layer, r.target_layer): r.mean_abs_weight for r in table.itertuples()}


class Tiramisu(nn.Module):
    """FC-DenseNet (Jegou et al. 2017): blocks down, a bottleneck, blocks up, a 1x1 convolution."""

    def __init__(self, down: tuple[int, ...] = (2, 3), middle: int = 2, k: int = 4) -> None:
        super().__init__()
        self.firstconv = nn.Conv2d(3, 8, 3, padding=1)
        width, skips = 8, []
        self.denseBlocksDown, self.transDownBlocks = nn.ModuleList(), nn.ModuleList()
        for layers in down:
            self.denseBlocksDown.append(self.block(width, layers, k))
            width += layers * k
            skips.append(width)
            self.transDownBlocks.append(nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 1)))
        self.bottleneck, new = self.block(width, middle, k), middle * k
        self.transUpBlocks, self.denseBlocksUp = nn.ModuleList(), nn.ModuleList()
        for layers in down[::-1]:
            self.transUpBlocks.append(nn.ConvTranspose2d(new, new, 3, stride=2))
            width = new + skips.pop()
            self.denseBlocksUp.append(self.block(width, layers, k))
            new = layers * k
        self.finalConv = nn.Conv2d(width + new, 5, 1)

    @staticmethod
    def block(width: int, layers: int, k: int) -> nn.ModuleList:
        norms = [nn.BatchNorm2d(width + i * k) for i in range(layers)]
        convs = [nn.Conv2d(width + i * k, k, 3, padding=1) for i in range(layers)]
        return nn.ModuleList(nn.Sequential(n, nn.ReLU(), c) for n, c in zip(norms, convs, strict=True))


def test_tiramisu() -> None:
    torch.manual_seed(0)
    model = Tiramisu()
    found = checkpoint_from_state_dict(model.state_dict())
    assert isinstance(found.spec, ConcatSpec)
    assert "transitions up" in found.spec.why
    table = table_of(model.state_dict())
    up = model.transUpBlocks[0].weight.detach().abs()  # (in, out, 3, 3), of the bottleneck's new maps
    assert [key for key in table if key[0] == 3 and key[2] == 3] == [(3, 1, 3), (3, 2, 3)]
    assert [table[3, 1, 3], table[3, 2, 3]] == pytest.approx([up[:4].mean().item(), up[4:].mean().item()])
    last = model.finalConv.weight.detach().abs()
    assert table[5, 0, 3] == pytest.approx(last[:, :-8].mean().item())
    assert table[5, 2, 3] == pytest.approx(last[:, -4:].mean().item())
    assert found.spec.num_classes == 5


class LayerNorm2d(nn.LayerNorm):
    """As timm's: over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class RDBlock(nn.Module):
    """A dense layer of RDNet (Kim et al. 2024): depthwise 7x7, layer norm, 1x1 up and down, gate."""

    def __init__(self, width: int, growth: int, gated: bool, times: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(growth))
        self.layers = nn.Module()
        parts = [
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            LayerNorm2d(width),
            nn.Conv2d(width, times * width, 1),
            nn.GELU(),
            nn.Conv2d(times * width, growth, 1),
        ]
        self.gate = gated
        if gated:
            gate = nn.Module()
            gate.fc = nn.Conv2d(growth, growth, 1)
            parts.append(gate)
        self.layers.layers = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers.layers[:5](x)
        if self.gate:
            y = y * F.hardsigmoid(self.layers.layers[5].fc(y.mean((2, 3), keepdim=True)))
        return y * self.gamma.reshape(1, -1, 1, 1)


class RDNet(nn.Module):
    def __init__(self, growths: tuple[int, ...] = (4, 6, 6), layers: int = 3, times: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), LayerNorm2d(8))
        width, self.dense_stages = 8, nn.Sequential()
        for number, growth in enumerate(growths):
            stage = nn.Sequential()
            if number:
                outputs, side = width // 2 // 2 * 2, 2 if number == 1 else 1
                stage.append(LayerNorm2d(width))
                stage.append(nn.Conv2d(width, outputs, side, side))
                width = outputs
            dense = nn.Module()
            for layer in range(layers):
                dense.add_module(f"dense_block{layer}", RDBlock(width, growth, gated=number > 0, times=times))
                width += growth
            stage.append(dense)
            self.dense_stages.append(stage)
        self.head = nn.Module()
        self.head.norm, self.head.fc = nn.LayerNorm(width), nn.Linear(width, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.dense_stages:
            for part in stage:
                if type(part) is nn.Module:
                    for layer in part.children():
                        x = torch.cat([x, layer(x)], 1)
                else:
                    x = part(x)
        return self.head.fc(self.head.norm(x.mean((2, 3))))


def test_rdnet_from_its_file_and_traced() -> None:
    torch.manual_seed(0)
    model = RDNet()
    state = model.state_dict()
    found = checkpoint_from_state_dict(state)
    assert isinstance(found.spec, ConcatSpec)
    assert found.spec.sources[1][1] == "dense_stages.1.2.dense_block0.layers.layers.4"
    weight = model.dense_stages[1][2].dense_block2.layers.layers[2].weight.detach().abs()
    table = table_of(state)
    width = weight.shape[1] - 12
    expected = [weight[:, :width].mean().item(), weight[:, width : width + 6].mean().item()]
    assert [table[2, 0, 3], table[2, 1, 3]] == pytest.approx(expected)
    assert table[2, 0, 4] == pytest.approx(model.dense_stages[2][1].weight.detach().abs()[:, :width].mean().item())
    norms = {target.weight: target.norm for target in found.spec.targets}
    assert (
        norms["dense_stages.0.0.dense_block1.layers.layers.2.weight"] == "dense_stages.0.0.dense_block1.layers.layers.1"
    )
    assert norms["head.fc.weight"] == "head.norm"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"growths": (8, 16, 24), "layers": 2, "times": 1},  # its last gates have the width of the first stage
        {"growths": (8, 8, 8), "layers": 2, "times": 1},  # its layers' last convolutions that of two layers
        {"growths": (4, 12), "layers": 3, "times": 2},
    ],
)
def test_rdnets_are_the_same_from_the_file_and_traced(options: dict[str, Any]) -> None:
    model = RDNet(**options)
    found = checkpoint_from_state_dict(model.state_dict())
    assert isinstance(found.spec, ConcatSpec)
    followed = trace_concatenations(model, (1, 3, 32, 32))
    assert [(t.block, t.layer, t.kind, t.weight, t.norm, t.runs) for t in followed.targets] == [
        (t.block, t.layer, t.kind, t.weight, t.norm, t.runs) for t in found.spec.targets
    ]


SMALL = {"growth_rate": 8, "block_config": (3, 4), "num_init_features": 16, "num_classes": 10}


def features() -> dict[str, Tensor]:
    torch.manual_seed(0)
    state = torchvision.models.DenseNet(**SMALL).state_dict()
    return {key: tensor for key, tensor in state.items() if key.startswith("features.")}


def test_fastais_body_and_head() -> None:
    body = {key.replace("features.", "0.0."): tensor for key, tensor in features().items()}
    head = nn.Sequential(
        nn.Identity(), nn.Flatten(), nn.BatchNorm1d(104), nn.Dropout(), nn.Linear(104, 512, bias=False)
    )
    head = nn.Sequential(*head, nn.ReLU(), nn.BatchNorm1d(512), nn.Dropout(), nn.Linear(512, 3, bias=False))
    state = body | {f"1.{key}": tensor for key, tensor in head.state_dict().items()}
    weight = head[4].weight.detach().abs()  # of the maximum and the mean of 52 maps each
    table = table_of(state)
    assert len(table) == 25
    assert table[2, 4, 5] == pytest.approx(torch.cat([weight[:, 44:52], weight[:, 96:]]).mean().item())
    spec = checkpoint_from_state_dict(state).spec
    assert isinstance(spec, ConcatSpec) and "2 poolings" in spec.why
    assert [t.norm for t in spec.targets if t.kind == "classifier"] == ["1.2"]


@pytest.mark.parametrize("prefix", ["", "0.", "encoder.", "module.E.features."])
def test_a_backbone_with_any_prefix_and_a_decoder_behind(prefix: str) -> None:
    state = {prefix + key.removeprefix("features."): tensor for key, tensor in features().items()}
    plain = table_of(state)
    assert len(plain) == 20
    if prefix:
        state["decoder.up.weight"] = torch.randn(52, 13, 2, 2)
        assert table_of(state) == plain
        assert "decoder.up.weight" in checkpoint_from_state_dict(state).ignored


def test_an_mlp_head() -> None:
    head = nn.Sequential(nn.Linear(52, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 7))
    state = features() | {f"classifier.{key}": tensor for key, tensor in head.state_dict().items()}
    table = table_of(state)
    assert len(table) == 25
    assert table[2, 4, 5] == pytest.approx(head[0].weight.detach().abs()[:, 44:].mean().item())
