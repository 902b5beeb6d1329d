"""Convolutional Highway Networks: a gate mixes each layer's output with its input."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core.networks.network import Network
from densenet_core.networks.relatives.highway_spec import HighwaySpec


class HighwayLayer(nn.Module):
    """y = H(x) T(x) + x (1 - T(x)), where H is Conv(3x3)-ReLU and T is Conv(3x3)-sigmoid (eq. 3 of the paper).

    A layer that changes the width has no gate: y = H(x).

    Shape: (N, in_maps, H, W) -> (N, out_maps, H, W)
    """

    def __init__(self, in_maps: int, out_maps: int, has_gate: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_maps, out_maps, 3, padding=1)
        self.gate = nn.Conv2d(in_maps, out_maps, 3, padding=1) if has_gate else None

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.conv(x))
        if self.gate is None:
            return h
        return x + torch.sigmoid(self.gate(x)) * (h - x)  # the same with one multiplication less


class Highway(Network):
    """A convolutional Highway Network (Srivastava, Greff, Schmidhuber 2015), without batch norm as in the paper.

    A 2x2 max pooling follows every stage but the last.

    Shape: (N, in_channels, H, W) -> (N, num_classes), unnormalized scores.
    """

    spec: HighwaySpec

    def __init__(self, spec: HighwaySpec) -> None:
        super().__init__()
        self.spec = spec
        in_maps = spec.in_channels
        for s, (num_layers, width) in enumerate(zip(spec.stage_config, spec.stage_widths, strict=True), start=1):
            stage = nn.Sequential()
            for layer in range(num_layers):
                stage.append(HighwayLayer(in_maps, width, has_gate=layer > 0))
                in_maps = width
            self.add_module(f"stage{s}", stage)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(in_maps, spec.num_classes)
        self._initialize()

    def forward(self, x: Tensor) -> Tensor:
        for s in range(1, len(self.spec.stage_config) + 1):
            x = getattr(self, f"stage{s}")(x if s == 1 else self.pool(x))
        scores: Tensor = self.fc(x.mean((2, 3)))
        return scores

    def _initialize(self) -> None:
        if self.fc.weight.is_meta:
            return
        for module in self.modules():
            if isinstance(module, HighwayLayer):
                nn.init.kaiming_normal_(module.conv.weight, nonlinearity="relu")
                nn.init.zeros_(module.conv.bias)  # type: ignore[arg-type]
                if module.gate is not None:
                    nn.init.constant_(module.gate.bias, self.spec.gate_bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.fc.bias)
