"""The DenseNet of the paper, with torchvision's parameter names."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core.networks.densenet_layers import stem_convs
from densenet_core.networks.densenet_spec import ChannelRanges, DenseNetSpec
from densenet_core.networks.network import Network
from densenet_core.networks.shared_memory import (
    Unit,
    can_share_memory,
    has_hooks,
    is_plain_avg_pool,
    run_dense_block,
    run_transition,
)

_CONV: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_BATCH_NORM: dict[int, type[nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_INSTANCE_NORM: dict[int, type[nn.Module]] = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
_MAX_POOL: dict[int, type[nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVG_POOL: dict[int, type[nn.Module]] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


def _conv(spec: DenseNetSpec, in_maps: int, out_maps: int, kernel: int, stride: int = 1) -> nn.Module:
    return _CONV[spec.spatial_dims](in_maps, out_maps, kernel, stride, padding=kernel // 2, bias=False)


def _norm(spec: DenseNetSpec, num_maps: int) -> nn.Module:
    match spec.norm:
        case "group":
            return nn.GroupNorm(min(spec.norm_groups, num_maps), num_maps)
        case "layer":
            return ChannelNorm(num_maps)
        case "instance":
            return _INSTANCE_NORM[spec.spatial_dims](num_maps, affine=True)
    return _BATCH_NORM[spec.spatial_dims](num_maps, track_running_stats=spec.norm == "batch")


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the feature maps at each position: (N, C, *pixels) -> the same."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x.movedim(1, -1)).movedim(-1, 1)
        return out


class BlurPool(nn.Module):
    """The binomial filter 1-2-1 in both directions with stride 2 (Zhang 2019, "Making Convolutional Networks
    Shift-Invariant Again"), padded by reflection as in timm.

    Shape: (N, C, H, W) -> (N, C, ceil(H/2), ceil(W/2)), H and W at least 2
    """

    def forward(self, x: Tensor) -> Tensor:
        row = x.new_tensor((0.25, 0.5, 0.25))
        weight = (row[:, None] * row).expand(x.shape[1], 1, 3, 3)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight, stride=2, groups=x.shape[1])


def select_channels(x: Tensor, ranges: ChannelRanges) -> Tensor:
    """Return the feature maps in these ranges of channels, which is ``x`` itself unless connections are cut."""
    if ranges == ((0, x.shape[1]),):
        return x
    return torch.cat([x[:, first:end] for first, end in ranges], dim=1)


def apply_norm_relu(norm: nn.Module, x: Tensor) -> Tensor:
    """Apply the norm and a ReLU, in place where possible: the norm's backward pass needs only its input.

    The ReLU is not in place if a hook sees the norm's output, or if ``norm`` returns its input like ``nn.Identity``.
    """
    y = norm(x)
    return F.relu(y) if y is x or norm._forward_hooks else F.relu_(y)


class SelectChannels(nn.Module):
    """Selects the feature maps that the classifier reads. Present only if connections are cut."""

    def __init__(self, ranges: ChannelRanges) -> None:
        super().__init__()
        self.ranges = ranges

    def forward(self, x: Tensor) -> Tensor:
        return select_channels(x, self.ranges)


class DenseLayer(nn.Module):
    """The composite function H: BN-ReLU-Conv(3x3), preceded by BN-ReLU-Conv(1x1) in a DenseNet-B (section 3).

    Shape: (N, c0 + s*k, H, W) -> (N, k, H, W)
    """

    def __init__(self, spec: DenseNetSpec, block: int, layer: int) -> None:
        super().__init__()
        self.ranges = spec.channel_ranges(block, layer)
        in_maps = spec.input_maps(block, layer)
        self.bottleneck = spec.bottleneck
        self.drop_rate = spec.drop_rate
        self.width = width = spec.bn_size * spec.growth_rate  # feature maps of the bottleneck
        self.norm1 = _norm(spec, in_maps)
        if spec.bottleneck:
            self.conv1 = _conv(spec, in_maps, width, kernel=1)
            self.norm2 = _norm(spec, width)
            self.conv2 = _conv(spec, width, spec.growth_rate, kernel=3)
        else:
            self.conv1 = _conv(spec, in_maps, spec.growth_rate, kernel=3)

    def forward(self, x: Tensor) -> Tensor:
        x = self._drop(self.conv1(apply_norm_relu(self.norm1, select_channels(x, self.ranges))))
        if self.bottleneck:
            x = self._drop(self.conv2(apply_norm_relu(self.norm2, x)))
        return x

    def units(self) -> list[Unit]:
        """Return the layer as one or two units for ``run_dense_block``."""
        drop_rate = self.drop_rate if self.training else 0.0
        units = [Unit(self.ranges, self.norm1, self.conv1, drop_rate)]
        if self.bottleneck:
            units.append(Unit(((0, self.width),), self.norm2, self.conv2, drop_rate))
        return units

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.drop_rate, self.training) if self.drop_rate else x


class DenseBlock(nn.Module):
    """Dense layers, each of which reads the block's input and the outputs of all layers before it.

    Shape: (N, c0, H, W) -> (N, c0 + n*k, H, W)
    """

    def __init__(self, spec: DenseNetSpec, block: int, memory_efficient: bool = False) -> None:
        super().__init__()
        self.memory_efficient = memory_efficient
        for layer in range(1, spec.block_config[block - 1] + 1):
            self.add_module(f"denselayer{layer}", DenseLayer(spec, block, layer))

    def forward(self, x: Tensor) -> Tensor:
        if self.memory_efficient and (layers := self._units(x)):
            return run_dense_block(x, layers)
        for layer in self.children():
            x = torch.cat((x, layer(x)), dim=1)  # (N, c0 + s*k, H, W): old feature maps first
        return x

    def _units(self, x: Tensor) -> list[list[Unit]]:
        """Return the units of each layer, or an empty list if the block must run with concatenations."""
        layers = [layer for layer in self.children() if type(layer) is DenseLayer and not has_hooks(layer)]
        units = [layer.units() for layer in layers]
        can_share = len(layers) == len(self._modules) and can_share_memory(x, [unit for own in units for unit in own])
        return units if can_share else []


class Transition(nn.Module):
    """BN-ReLU-Conv(1x1)-AvgPool(2) between two dense blocks (section 3).

    Shape: (N, m, H, W) -> (N, floor(theta*m), H/2, W/2)
    """

    def __init__(self, spec: DenseNetSpec, block: int, memory_efficient: bool = False) -> None:
        super().__init__()
        self.memory_efficient = memory_efficient
        target = spec.block_config[block - 1] + 1
        self.ranges, in_maps = spec.channel_ranges(block, target), spec.input_maps(block, target)
        self.drop_rate = spec.drop_rate
        self.norm = _norm(spec, in_maps)
        self.conv = _conv(spec, in_maps, spec.block_inputs[block], kernel=1)
        self.pool = BlurPool() if spec.blur_pool else _AVG_POOL[spec.spatial_dims](kernel_size=2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        if self.memory_efficient and not self.drop_rate and is_plain_avg_pool(self.pool):
            unit = Unit(self.ranges, self.norm, self.conv, pool=2)
            if can_share_memory(x, [unit]):
                return run_transition(x, unit)
        x = self.conv(apply_norm_relu(self.norm, select_channels(x, self.ranges)))
        if self.drop_rate:
            x = F.dropout(x, self.drop_rate, self.training)
        out: Tensor = self.pool(x)
        return out


class DenseNet(Network):
    """A Densely Connected Convolutional Network (Huang, Liu, van der Maaten, Weinberger, CVPR 2017).

    Shape: (N, in_channels, H, W) -> (N, num_classes), unnormalized scores.

    Parameters have torchvision's names, so state dicts of its DenseNets load unchanged. Convolutions are initialized
    from He's normal distribution with the fan out, as in the authors' code.

    >>> import torch
    >>> model = DenseNet(DenseNetSpec.cifar(depth=40, growth_rate=12))
    >>> model(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])

    Args:
        spec: The architecture.
        memory_efficient: Train in memory linear in depth: without concatenations, and with norms and ReLUs recomputed
            in the backward pass (Pleiss et al. 2017). Results are the same up to rounding. Second derivatives are not
            supported.
    """

    spec: DenseNetSpec

    def __init__(self, spec: DenseNetSpec, memory_efficient: bool = False) -> None:
        super().__init__()
        self.spec = spec
        self.features = _stem(spec)
        num_blocks = len(spec.block_config)
        for block in range(1, num_blocks + 1):
            self.features.add_module(f"denseblock{block}", DenseBlock(spec, block, memory_efficient))
            if block < num_blocks:
                self.features.add_module(f"transition{block}", Transition(spec, block, memory_efficient))
        target = spec.block_config[-1] + 1
        self.ranges, out_maps = spec.channel_ranges(num_blocks, target), spec.input_maps(num_blocks, target)
        if spec.cuts:
            self.features.add_module("select", SelectChannels(self.ranges))
        self.features.add_module("norm5", _norm(spec, out_maps))  # torchvision's name, whatever the number of blocks
        self.classifier = _classifier(out_maps, spec)
        self._initialize()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.features(x))
        scores: Tensor = self.classifier(x.flatten(2).mean(2))  # global average pool
        return scores

    def _initialize(self) -> None:
        if next(self.parameters()).is_meta:
            return  # no values to set, and random numbers on the meta device import much of torch's compiler
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)


def _stem(spec: DenseNetSpec) -> nn.Sequential:
    stem, in_maps = nn.Sequential(), spec.in_channels
    for number, conv in enumerate(stem_convs(spec)):
        stem.add_module(f"conv{number}", _conv(spec, in_maps, conv.maps, conv.kernel, conv.stride))
        if conv.has_norm:
            stem.add_module(f"norm{number}", _norm(spec, conv.maps))
            stem.add_module(f"relu{number}", nn.ReLU(inplace=True))
        in_maps = conv.maps
    if spec.stem == "imagenet":
        max_pool = _MAX_POOL[spec.spatial_dims](kernel_size=3, stride=1 if spec.blur_pool else 2, padding=1)
        stem.add_module("pool0", nn.Sequential(max_pool, BlurPool()) if spec.blur_pool else max_pool)
    return stem


def _classifier(in_maps: int, spec: DenseNetSpec) -> nn.Module:
    """Return a linear layer, or a sequence of them with ReLUs between: (N, in_maps) -> (N, num_classes)."""
    if not spec.head_widths:
        return nn.Linear(in_maps, spec.num_classes)
    widths = (in_maps, *spec.head_widths, spec.num_classes)
    layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])
