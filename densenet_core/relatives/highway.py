"""Highway Networks for images: gates that let a layer's input pass beside it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core.spec import Stem, check_counts

# Layers and feature maps of each stage. The authors print about 2.3M parameters for 19 layers, which have the widths of
# FitNet 4 (32 and 48, 80, 128) and a hidden fully connected layer, and 1.25M for 32 layers, of unknown widths.
_PUBLISHED: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    19: ((6, 6, 6), (32, 80, 128)),
    32: ((11, 10, 10), (24, 40, 72)),
}
_STAGES = 3


@dataclass(frozen=True)
class HighwaySpec:
    """The architecture of one convolutional Highway Network (Srivastava, Greff, Schmidhuber 2015).

    ``HighwaySpec.published`` gives networks as deep as the authors', ``HighwaySpec.small`` those of any width.
    """

    stage_config: tuple[int, ...]  # layers in each stage; the first of them has no gate, for it changes the width
    stage_widths: tuple[int, ...]  # feature maps of each stage
    num_classes: int = 10
    in_channels: int = 3
    gate_bias: float = -2.0  # where the gates' biases start: below 0, so that a layer first carries its input on

    def __post_init__(self) -> None:
        check_counts(self, "stage_config", ("num_classes", "in_channels"))
        check_counts(self, "stage_widths", ())
        if len(self.stage_config) != len(self.stage_widths):
            raise ValueError(f"stage_widths {self.stage_widths} needs a number for each of stage_config's")
        if not self.gate_bias < 0:
            raise ValueError(f"gate_bias {self.gate_bias} must be below 0: the layers are to start as carriers")

    @classmethod
    def published(cls, depth: int, num_classes: int = 10, in_channels: int = 3) -> HighwaySpec:
        """The network of 19 or 32 layers, fully convolutional, with one width a stage: 2.3M and 1.2M parameters.

        Raises:
            ValueError: ``depth`` is neither.
        """
        if depth not in _PUBLISHED:
            raise ValueError(f"depth {depth} is none of 19, 32: others are named with a width, as highway-10-8")
        return cls(*_PUBLISHED[depth], num_classes=num_classes, in_channels=in_channels)

    @classmethod
    def small(cls, depth: int, width: int, num_classes: int = 10, in_channels: int = 3) -> HighwaySpec:
        """Three equal stages of ``width``, twice and four times as many feature maps.

        Raises:
            ValueError: ``depth`` is not 3n+1; the nearest that are, are named.
        """
        layers, rest = divmod(depth - 1, _STAGES)
        if rest or layers < 1:
            nearest = " and ".join(str(_STAGES * n + 1) for n in sorted({max(layers, 1), max(layers + 1, 1)}))
            raise ValueError(f"depth {depth} is not 3*n+1: the nearest are {nearest}")
        return cls((layers,) * _STAGES, (width, 2 * width, 4 * width), num_classes, in_channels)

    @property
    def spatial_dims(self) -> int:
        """Dimensions of the images: 2."""
        return 2

    @property
    def depth(self) -> int:
        """Layers with weights; a layer's gate stands beside it and is not counted."""
        return sum(self.stage_config) + 1

    @property
    def stem(self) -> Stem:
        """cifar: there is no stem that reduces the image."""
        return "cifar"

    @property
    def family(self) -> str:
        return "Highway Network"

    @property
    def title(self) -> str:
        """Such as "Highway Network-19 (32-80-128)": depth and widths."""
        return f"Highway Network-{self.depth} ({'-'.join(map(str, self.stage_widths))})"


class HighwayLayer(nn.Module):
    """y = H(x) T(x) + x (1 - T(x)), H and T being 3x3 convolutions, with ReLU and sigmoid behind them (their eq. 3).

    Without a gate, where the width changes, y = H(x). (N, in_maps, H, W) -> (N, out_maps, H, W)
    """

    def __init__(self, in_maps: int, out_maps: int, has_gate: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_maps, out_maps, 3, padding=1)
        self.gate = nn.Conv2d(in_maps, out_maps, 3, padding=1) if has_gate else None

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.conv(x))
        if self.gate is None:
            return h
        return x + torch.sigmoid(self.gate(x)) * (h - x)  # the same with one product less


class Highway(nn.Module):
    """A convolutional Highway Network; a 2x2 max pooling between the stages, no batch norm, as in 2015.

    (N, in_channels, H, W) -> (N, num_classes), unnormalised scores.
    """

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
        self._initialise()

    def forward(self, x: Tensor) -> Tensor:
        for s in range(1, len(self.spec.stage_config) + 1):
            x = getattr(self, f"stage{s}")(x if s == 1 else self.pool(x))
        scores: Tensor = self.fc(x.mean((2, 3)))
        return scores

    def _initialise(self) -> None:
        if self.fc.weight.is_meta:
            return
        for module in self.modules():
            if isinstance(module, HighwayLayer):
                nn.init.kaiming_normal_(module.conv.weight, nonlinearity="relu")
                nn.init.zeros_(module.conv.bias)  # type: ignore[arg-type]
                if module.gate is not None:
                    nn.init.constant_(module.gate.bias, self.spec.gate_bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.fc.bias)
