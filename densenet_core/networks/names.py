"""Architectures by name: the names that people type everywhere in the suite."""

from __future__ import annotations

import difflib
import re

from densenet_core.networks.deeply_supervised_spec import DeeplySupervisedSpec
from densenet_core.networks.densenet_spec import IMAGENET_VARIANTS, DenseNetSpec
from densenet_core.networks.fractalnet_spec import FractalNetSpec
from densenet_core.networks.highway_spec import HighwaySpec
from densenet_core.networks.resnet_spec import IMAGENET_RESNETS, Block, ResNetSpec

Relative = HighwaySpec | FractalNetSpec | DeeplySupervisedSpec
Spec = DenseNetSpec | ResNetSpec | Relative

# The papers' own networks; any numbers that fit may be typed.
MODEL_NAMES = (
    "densenet-40-12",
    "densenet-100-12",
    "densenet-100-24",
    "densenet-bc-100-12",
    "densenet-bc-250-24",
    "densenet-bc-190-40",
    *(f"densenet{variant}" for variant in IMAGENET_VARIANTS),
    *(f"resnet-{depth}" for depth in (20, 32, 44, 56, 110, 1202)),
    "preact-resnet-164",
    "preact-resnet-1001",
    "wrn-16-4",
    "wrn-16-8",
    "wrn-28-10",
    *(f"resnet{depth}" for depth in IMAGENET_RESNETS),
    "plain-20",
    "plain-56",
    "plain-110",
    "resnet-sd-110",
    "resnet-sd-1202",
    "highway-19",
    "highway-32",
    "fractalnet-21",
    "dsn-resnet-56",
    "dsn-densenet-40-12",
)


def spec_from_name(name: str, num_classes: int = 10, in_channels: int = 3, drop_rate: float = 0.0) -> Spec:
    """The spec of a network by its name.

    ``densenet-40-12`` and the like: depth and growth rate; a kind between them, b, c or bc, adds bottlenecks (B)
    and compression by half (C). ``densenet121``, ``resnet50``: the ImageNet networks. ``resnet-110``: for small
    images; ``preact-resnet-164``: with pre-activation, and bottlenecks where the depth is 9n+2; ``wrn-28-10``:
    depth and width factor. ``plain-110``: the ResNet of that depth without shortcuts; ``resnet-sd-110``: with
    stochastic depth. ``highway-19``: a Highway Network, of three stages with ``highway-10-8``: depth and width.
    ``fractalnet-21``: the paper's FractalNet, of other sizes with ``fractalnet-3-3-8``: blocks, columns, first width.
    ``dsn-resnet-56``: any of these with companion classifiers.

    Raises:
        ValueError: the name is not known, or its depth does not fit; the nearest are named.
    """
    if name.startswith("dsn-"):
        base = spec_from_name(name.removeprefix("dsn-"), num_classes, in_channels, drop_rate)
        return DeeplySupervisedSpec(base)  # type: ignore[arg-type]  # it refuses what has companions already
    if match := re.fullmatch(r"densenet-(?:(bc|b|c)-)?(\d{1,4})-(\d{1,4})", name):
        kind = match[1] or ""
        return DenseNetSpec.cifar(
            depth=int(match[2]),
            growth_rate=int(match[3]),
            bottleneck="b" in kind,
            compression=0.5 if "c" in kind else 1.0,
            num_classes=num_classes,
            in_channels=in_channels,
            drop_rate=drop_rate,
        )
    if (match := re.fullmatch(r"densenet(\d+)", name)) and match[1] in IMAGENET_VARIANTS:
        return DenseNetSpec.imagenet(match[1], num_classes, in_channels, drop_rate)
    if match := re.fullmatch(r"wrn-(\d{1,4})-(\d{1,2})", name):
        return ResNetSpec.wide(int(match[1]), int(match[2]), num_classes, in_channels, drop_rate)
    if drop_rate and re.match("(preact-)?(resnet|plain|highway|fractalnet)", name):
        raise ValueError(f"drop_rate {drop_rate} is for DenseNets and Wide ResNets: {name} has no dropout")
    if match := re.fullmatch(r"plain-(\d{1,4})", name):
        return ResNetSpec.plain(int(match[1]), num_classes, in_channels)
    if match := re.fullmatch(r"resnet-sd-(\d{1,4})", name):
        return ResNetSpec.stochastic(int(match[1]), num_classes=num_classes, in_channels=in_channels)
    if match := re.fullmatch(r"(preact-)?resnet-(\d{1,4})", name):
        depth, preactivation = int(match[2]), match[1] is not None
        block: Block = "bottleneck" if preactivation and (depth - 2) % 9 == 0 else "basic"
        return ResNetSpec.cifar(depth, preactivation, block, num_classes, in_channels)
    if (match := re.fullmatch(r"resnet([1-9]\d*)", name)) and int(match[1]) in IMAGENET_RESNETS:
        return ResNetSpec.imagenet(int(match[1]), num_classes, in_channels)
    if match := re.fullmatch(r"highway-(\d{1,4})(?:-(\d{1,4}))?", name):
        if match[2] is None:
            return HighwaySpec.published(int(match[1]), num_classes, in_channels)
        return HighwaySpec.small(int(match[1]), int(match[2]), num_classes, in_channels)
    if match := re.fullmatch(r"fractalnet-(\d{1,3})", name):
        return FractalNetSpec.published(int(match[1]), num_classes, in_channels)
    if match := re.fullmatch(r"fractalnet-(\d)-(\d)-(\d{1,4})", name):
        num_blocks, num_columns, width = map(int, match.groups())
        return FractalNetSpec.small(num_blocks, num_columns, width, num_classes, in_channels)
    nearest = difflib.get_close_matches(name, MODEL_NAMES, n=3, cutoff=0.0)
    raise ValueError(
        f"unknown network {name!r}: the nearest are {', '.join(nearest)} (densenet-DEPTH-GROWTH, "
        "densenet-bc-DEPTH-GROWTH, densenet121, resnet-DEPTH, preact-resnet-DEPTH, wrn-DEPTH-WIDTH, resnet50, "
        "plain-DEPTH, resnet-sd-DEPTH, highway-DEPTH-WIDTH, fractalnet-21, dsn-NETWORK, ...)"
    )


def published_spec(name: str) -> Spec:
    """A network as its authors give it: 1,000 classes for an ImageNet network, else 10; "121" is densenet121.

    Raises:
        ValueError: the name is not known; the nearest are named.
    """
    name = f"densenet{name}" if name in IMAGENET_VARIANTS else name
    is_imagenet = name.removeprefix("dsn-").removeprefix("densenet").removeprefix("resnet").isdigit()
    return spec_from_name(name, num_classes=1000 if is_imagenet else 10)
