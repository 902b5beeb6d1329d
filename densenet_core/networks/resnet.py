"""Residual networks, with torchvision's parameter names."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core.networks.network import Network
from densenet_core.networks.resnet_layers import EXPANSION
from densenet_core.networks.resnet_spec import ResNetSpec


def _conv(in_maps: int, out_maps: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_maps, out_maps, kernel, stride, padding=kernel // 2, bias=False)


class PaddedIdentity(nn.Module):
    """The shortcut without weights ("option A", He et al. 2016a): every second pixel, and new feature maps of zeros.

    Half of the zeros are placed before the old feature maps and half after them, as in common CIFAR implementations.

    Shape: (N, in_maps, H, W) -> (N, out_maps, H/stride, W/stride)
    """

    def __init__(self, in_maps: int, out_maps: int, stride: int) -> None:
        super().__init__()
        self.before = (out_maps - in_maps) // 2
        self.after = out_maps - in_maps - self.before
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


def _shortcut(spec: ResNetSpec, in_maps: int, out_maps: int, stride: int) -> nn.Module:
    if spec.shortcut == "identity":
        return PaddedIdentity(in_maps, out_maps, stride)
    projection = _conv(in_maps, out_maps, 1, stride)
    return nn.Sequential(projection) if spec.preactivation else nn.Sequential(projection, nn.BatchNorm2d(out_maps))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, or 1x1-3x3-1x1, added to a shortcut. A plain network has no shortcut.

    Shape: (N, in_maps, H, W) -> (N, planes * expansion, H/stride, W/stride)

    Args:
        stride: The stride of the first 3x3 convolution and of the shortcut.
        survival: The probability that a training step keeps the convolutions. It is drawn once a batch; if they are
            dropped, only the shortcut is left.
    """

    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d

    def __init__(self, spec: ResNetSpec, in_maps: int, planes: int, stride: int, survival: float = 1.0) -> None:
        super().__init__()
        self.preactivation, self.drop_rate, self.survival = spec.preactivation, spec.drop_rate, survival
        out_maps = planes * EXPANSION[spec.block]
        if spec.block == "basic":
            convs = [_conv(in_maps, planes, 3, stride), _conv(planes, planes, 3)]
        else:
            convs = [_conv(in_maps, planes, 1), _conv(planes, planes, 3, stride), _conv(planes, out_maps, 1)]
        self.num_convs = len(convs)
        for i, conv in enumerate(convs, start=1):
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", nn.BatchNorm2d(conv.in_channels if spec.preactivation else conv.out_channels))
        self.has_shortcut = spec.shortcut != "none"
        needs_none = not self.has_shortcut or (stride == 1 and in_maps == out_maps)
        self.downsample: nn.Module | None = None if needs_none else _shortcut(spec, in_maps, out_maps, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self._forward_preactivation(x) if self.preactivation else self._forward_postactivation(x)

    def _forward_postactivation(self, x: Tensor) -> Tensor:
        out = x
        for i in range(1, self.num_convs + 1):
            out = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(out))
            if i < self.num_convs:
                out = self._drop(F.relu(out))
        if self.has_shortcut:
            out = self._drop_path(out) + (x if self.downsample is None else self.downsample(x))
        return F.relu(out)

    def _forward_preactivation(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(x))
        if self.downsample is None:
            shortcut = x
        else:  # a projection reads the normalized input, an identity the input itself (He et al. 2016b)
            shortcut = self.downsample(out if isinstance(self.downsample, nn.Sequential) else x)
        out = self.conv1(out)
        for i in range(2, self.num_convs + 1):
            out = getattr(self, f"conv{i}")(self._drop(F.relu(getattr(self, f"bn{i}")(out))))
        total: Tensor = self._drop_path(out) + shortcut if self.has_shortcut else out
        return total

    def _drop_path(self, x: Tensor) -> Tensor:
        """Return b x in training, where b is 0 or 1, and p x in evaluation (Huang et al. 2016, eqs. 2 and 5).

        torchvision's function returns (b/p) x and x: the paper's values divided by p. It isn't used, since torchvision
        takes longer to import than most commands take.
        """
        if self.survival == 1:
            return x
        if not self.training:
            return self.survival * x
        return x * x.new_empty([1] * x.dim()).bernoulli_(self.survival)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.drop_rate, self.training) if self.drop_rate else x


class ResNet(Network):
    """A residual network (He, Zhang, Ren, Sun, CVPR 2016 and ECCV 2016; Zagoruyko and Komodakis, BMVC 2016).

    With ``survival`` below 1, training drops blocks at random (stochastic depth: Huang, Sun, Liu, Sedra, Weinberger,
    ECCV 2016). A dropped block is still computed, so that every weight has a gradient on every rank; unlike in the
    paper, a training step is not faster.

    Shape: (N, in_channels, H, W) -> (N, num_classes), unnormalized scores.

    Parameters have torchvision's names, so state dicts of its ResNets load unchanged. A pre-activation network has no
    norm in its stem and an additional one, ``bn``, before the pooling.

    >>> import torch
    >>> from densenet_core import ResNetSpec
    >>> ResNet(ResNetSpec.cifar(20))(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    spec: ResNetSpec

    def __init__(self, spec: ResNetSpec) -> None:
        super().__init__()
        self.spec = spec
        is_imagenet = spec.stem == "imagenet"
        self.conv1 = _conv(spec.in_channels, spec.num_init_features, *((7, 2) if is_imagenet else (3, 1)))
        if not spec.preactivation:
            self.bn1 = nn.BatchNorm2d(spec.num_init_features)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if is_imagenet else nn.Identity()
        in_maps, survivals = spec.num_init_features, iter(spec.survivals)
        for s, (num_blocks, planes) in enumerate(zip(spec.stage_config, spec.stage_planes, strict=True)):
            stage = nn.Sequential()
            for b in range(num_blocks):
                stride = 2 if s > 0 and b == 0 else 1
                stage.append(ResidualBlock(spec, in_maps, planes, stride, next(survivals)))
                in_maps = planes * EXPANSION[spec.block]
            self.add_module(f"layer{s + 1}", stage)
        if spec.preactivation:
            self.bn = nn.BatchNorm2d(in_maps)
        self.fc = nn.Linear(in_maps, spec.num_classes)
        self._initialize()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        if not self.spec.preactivation:
            x = F.relu(self.bn1(x))
        x = self.maxpool(x)
        for s in range(len(self.spec.stage_config)):
            x = getattr(self, f"layer{s + 1}")(x)
        if self.spec.preactivation:
            x = F.relu(self.bn(x))
        scores: Tensor = self.fc(x.mean((2, 3)))
        return scores

    def _initialize(self) -> None:
        """Initialize convolutions from He's normal distribution with the fan out."""
        if self.fc.weight.is_meta:
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)
