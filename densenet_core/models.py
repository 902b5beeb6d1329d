"""Networks by name: the names that people type everywhere in the suite."""

from __future__ import annotations

import difflib
import re

from densenet_core.densenet import DenseNet
from densenet_core.spec import IMAGENET_VARIANTS, DenseNetSpec

# The paper's own networks; any depth-growth rate that fits three blocks may be typed.
MODEL_NAMES = (
    "densenet-40-12",
    "densenet-100-12",
    "densenet-100-24",
    "densenet-bc-100-12",
    "densenet-bc-250-24",
    "densenet-bc-190-40",
    *(f"densenet{variant}" for variant in IMAGENET_VARIANTS),
)


def spec_from_name(name: str, num_classes: int = 10, in_channels: int = 3, drop_rate: float = 0.0) -> DenseNetSpec:
    """The spec of a network by its name, such as "densenet-bc-100-12" (depth 100, growth rate 12).

    Raises:
        ValueError: the name is not known, or its depth does not fit; the nearest are named.
    """
    if match := re.fullmatch(r"densenet-(bc-)?(\d{1,4})-(\d{1,4})", name):
        is_bc = match[1] is not None
        return DenseNetSpec.cifar(
            depth=int(match[2]),
            growth_rate=int(match[3]),
            bottleneck=is_bc,
            compression=0.5 if is_bc else 1.0,
            num_classes=num_classes,
            in_channels=in_channels,
            drop_rate=drop_rate,
        )
    if (match := re.fullmatch(r"densenet(\d+)", name)) and match[1] in IMAGENET_VARIANTS:
        return DenseNetSpec.imagenet(match[1], num_classes, in_channels, drop_rate)
    nearest = difflib.get_close_matches(name, MODEL_NAMES, n=3, cutoff=0.0)
    raise ValueError(
        f"unknown network {name!r}: the nearest are {', '.join(nearest)} "
        "(densenet-DEPTH-GROWTH, densenet-bc-DEPTH-GROWTH, densenet121 ... densenet264)"
    )


def create_model(name: str, num_classes: int = 10, in_channels: int = 3, drop_rate: float = 0.0) -> DenseNet:
    """A freshly initialised network by its name.

    >>> create_model("densenet-bc-100-12").spec.title
    'DenseNet-BC (L=100, k=12)'

    Raises:
        ValueError: the name is not known, or its depth does not fit; the nearest are named.
    """
    return DenseNet(spec_from_name(name, num_classes, in_channels, drop_rate))
