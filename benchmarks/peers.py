"""Networks of torchvision that do the same work as ours."""

from __future__ import annotations

from torch import nn
from torchvision.models import DenseNet

from densenet_core import DenseNetSpec


def torchvision_densenet(spec: DenseNetSpec, memory_efficient: bool = False) -> nn.Module:
    """A DenseNet-BC of torchvision's, with the stem for small images; its parameters have our names."""
    model = DenseNet(
        spec.growth_rate,
        spec.block_config,
        spec.num_init_features,
        num_classes=spec.num_classes,
        memory_efficient=memory_efficient,
    )
    for part in ("norm0", "relu0", "pool0"):
        setattr(model.features, part, nn.Identity())
    model.features.conv0 = nn.Conv2d(spec.in_channels, spec.num_init_features, 3, padding=1, bias=False)
    return model
