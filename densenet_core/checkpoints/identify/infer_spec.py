"""The spec of a network, read off the names and shapes of its tensors (torchvision's names)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import takewhile
from math import ceil
from typing import Any

from densenet_core.errors import CheckpointError
from densenet_core.networks.densenet_checks import MAX_WIDTHS
from densenet_core.networks.densenet_spec import IMAGENET_VARIANTS, DenseNetSpec, compress
from densenet_core.networks.resnet_spec import ResNetSpec
from densenet_core.networks.spec import Spec

MAX_STEM_CONVS = 4
ROUNDED_AWAY = Fraction(49, 10**8)  # of a feature map, in ``compress``
Shapes = Mapping[str, tuple[int, ...]]


def infer_densenet_spec(shapes: Shapes) -> DenseNetSpec:
    """Return the spec of a DenseNet with these tensor shapes, under torchvision's names.

    The dropout rate is not visible in the shapes and is set to 0.

    Raises:
        CheckpointError: a layer is missing, or no DenseNet has these shapes.
    """
    block_config = _block_config(shapes)
    stem_shape = _shape(shapes, "features.conv0.weight", least_dims=3)
    last_conv, bottleneck = "features.denseblock1.denselayer1.conv1.weight", False
    width = growth_rate = _shape(shapes, last_conv, least_dims=3)[0]
    if "features.denseblock1.denselayer1.conv2.weight" in shapes:
        growth_rate, bottleneck = _shape(shapes, last_conv.replace("conv1", "conv2"), least_dims=3)[0], True
    if growth_rate < 1 or (bottleneck and width % growth_rate):
        raise CheckpointError(
            f"tensor {last_conv!r} has {width} output maps, which is not a multiple of the growth rate {growth_rate}"
        )
    *head_widths, num_classes = _head(shapes)
    try:
        spec = DenseNetSpec(
            block_config=block_config,
            growth_rate=growth_rate,
            bottleneck=bottleneck,
            num_classes=num_classes,
            in_channels=stem_shape[1],
            bn_size=width // growth_rate if bottleneck else 4,
            spatial_dims=len(stem_shape) - 2,
            head_widths=tuple(head_widths),
            **_stem(shapes),
            **_transition_fields(shapes, len(block_config)),
        )
        return replace(spec, blur_pool=_is_densenetblur121d(spec))
    except ValueError as error:
        raise CheckpointError(f"no DenseNet has these shapes: {error}") from error


def _shape(shapes: Shapes, key: str, least_dims: int) -> tuple[int, ...]:
    if key not in shapes:
        raise CheckpointError(f"tensor {key!r} is missing: the file holds {join_names(list(shapes))}")
    if len(shapes[key]) < least_dims:
        raise CheckpointError(f"tensor {key!r} has shape {shapes[key]}: at least {least_dims} dimensions are needed")
    return shapes[key]


def _block_config(shapes: Shapes) -> tuple[int, ...]:
    """Return the number of layers in each block."""
    pattern = r"features\.denseblock(\d{1,4})\.denselayer(\d{1,4})\."
    return _count_numbered(shapes, pattern, first=1, missing="dense layer {inner} of block {outer}")


def _count_numbered(shapes: Shapes, pattern: str, first: int, missing: str) -> tuple[int, ...]:
    """Return the number of inner parts of each outer part, which must be numbered without gaps from ``first``."""
    found: dict[int, set[int]] = {}
    for key in shapes:
        if match := re.match(pattern, key):
            found.setdefault(int(match[1]), set()).add(int(match[2]))
    for outer in range(1, max(found, default=0) + 1):
        inner = found.get(outer, set())
        if gaps := set(range(first, max(inner, default=first) + 1)) - inner:
            raise CheckpointError(
                f"{missing.format(inner=min(gaps), outer=outer)} is missing, but later ones are there"
            )
    return tuple(len(found[outer]) for outer in sorted(found))


def _stem(shapes: Shapes) -> dict[str, Any]:
    """Return the fields of the stem: one convolution of 3x3 or 7x7, or up to three of 3x3 with norms."""
    convs = list(takewhile(shapes.__contains__, (f"features.conv{n}.weight" for n in range(MAX_STEM_CONVS))))
    stem = [_shape(shapes, conv, least_dims=3) for conv in convs]
    norms = {f"features.norm{number}.weight" in shapes for number in range(len(stem))}
    kernels = {shape[2] for shape in stem}
    if len(stem) > 1 and kernels == {3} and norms == {True}:
        widths = tuple(shape[0] for shape in stem)
        return {"stem": "imagenet", "num_init_features": widths[-1], "stem_widths": widths[:-1]}
    if len(stem) > 1:
        raise CheckpointError(
            f"its stem has {len(stem)} convolutions: only deep stems of 3x3 convolutions, each with a norm behind it, "
            "can be built"
        )
    kinds: dict[tuple[int, bool], dict[str, Any]] = {
        (3, False): {"stem": "cifar"},
        (3, True): {"stem": "cifar", "stem_norm": True},
        (7, True): {"stem": "imagenet"},
        **{(kernel, norm): {"stem_kernel": kernel, "stem_norm": norm} for kernel in (1, 5) for norm in (False, True)},
    }
    kernel, has_norm = stem[0][2], True in norms
    if (kernel, has_norm) not in kinds:
        raise CheckpointError(
            f"tensor {convs[0]!r} has shape {stem[0]} {'with' if has_norm else 'without'} a norm behind it: "
            "known stems are 1x1, 3x3 (CIFAR) and 5x5 with or without one, and 7x7 with one (ImageNet)"
        )
    return {"num_init_features": stem[0][0], **kinds[kernel, has_norm]}


def _head(shapes: Shapes) -> list[int]:
    """Return the number of outputs of each linear layer of the classifier."""
    if "classifier.0.weight" not in shapes:
        return [_shape(shapes, "classifier.weight", least_dims=2)[0]]
    keys = takewhile(shapes.__contains__, (f"classifier.{2 * number}.weight" for number in range(MAX_WIDTHS + 1)))
    return [_shape(shapes, key, least_dims=2)[0] for key in keys]


def _transition_fields(shapes: Shapes, num_blocks: int) -> dict[str, Any]:
    """Return the compression, or the width of each transition where one compression does not fit them all."""
    keys = [f"features.transition{block}.conv.weight" for block in range(1, num_blocks)]
    pairs = [_shape(shapes, key, least_dims=3)[:2] for key in keys]
    theta = _compression([(in_maps, out_maps) for out_maps, in_maps in pairs])
    return {"transition_widths": tuple(out for out, _ in pairs)} if theta is None else {"compression": theta}


def _compression(transitions: list[tuple[int, int]]) -> float | None:
    """Return the theta of the fewest digits with floor(theta * m) equal to every transition's output width.

    Returns:
        None if one theta does not fit them all.
    """
    if not transitions:
        return 1.0
    least = max((out_maps - ROUNDED_AWAY) / max(in_maps, 1) for in_maps, out_maps in transitions)
    for theta in (*(ceil(least * 10**digits) / 10**digits for digits in range(1, 7)), float(least)):
        if 0 < theta <= 1 and all(compress(in_maps, theta) == out_maps for in_maps, out_maps in transitions):
            return float(theta)
    return None


def _is_densenetblur121d(spec: DenseNetSpec) -> bool:
    """Return whether a network has the shape of timm's densenetblur121d, the only published one of this shape."""
    shape = (spec.block_config, spec.growth_rate, spec.stem_widths, spec.spatial_dims)
    return shape == (*IMAGENET_VARIANTS["121"], (32, 32), 2)


AVERAGE = "average pooling in the transitions"


def list_assumptions(spec: Spec | None) -> tuple[str, ...]:
    """Return what the scores of a network with an inferred spec depend on, and its tensors do not show, in words.

    >>> list_assumptions(DenseNetSpec((2, 2), 4, 8, head_widths=(16,)))
    ('ReLU between the linear layers of the classifier',)
    """
    if not isinstance(spec, DenseNetSpec):
        return ()
    blur = "blur pooling, as in timm's densenetblur121d, the only published network of this shape"
    found = {
        "ReLU behind the norm of the stem, stride 1, and no pooling before the first block": spec.stem_norm,
        "stride 1 in the stem, and no pooling before the first block": spec.stem_kernel != 3 and not spec.stem_norm,
        "stride 2 in the stem's first convolution, and max pooling behind its last": bool(spec.stem_widths),
        blur: spec.blur_pool,
        AVERAGE: bool(spec.stem_widths) and not spec.blur_pool,
        "ReLU between the linear layers of the classifier": bool(spec.head_widths),
    }
    return tuple(words for words, is_assumed in found.items() if is_assumed)


def infer_resnet_spec(shapes: Shapes) -> ResNetSpec:
    """Return the spec of a ResNet with these tensor shapes, under torchvision's names.

    A pre-activation block normalizes the input of its first convolution, a post-activation block its output.
    Shortcuts without weights are identities padded with zeros. The dropout rate is not visible and is set to 0.

    Raises:
        CheckpointError: a block is missing, or no ResNet has these shapes.
    """
    stage_config = _stage_config(shapes)
    stem_shape = _shape(shapes, "conv1.weight", least_dims=4)
    has_conv3 = "layer1.0.conv3.weight" in shapes
    planes = _shape(shapes, "layer1.0.conv1.weight", least_dims=4)[0]
    if planes % max(stem_shape[0], 1):
        raise CheckpointError(
            f"tensor 'layer1.0.conv1.weight' has {planes} output maps, not a multiple of the stem's {stem_shape[0]}"
        )
    try:
        return ResNetSpec(
            stage_config=stage_config,
            block="bottleneck" if has_conv3 else "basic",
            num_init_features=stem_shape[0],
            width_factor=planes // stem_shape[0],
            preactivation=_is_preactivated(shapes),
            shortcut="projection" if any(".downsample.0." in key for key in shapes) else "identity",
            num_classes=_shape(shapes, "fc.weight", least_dims=2)[0],
            stem="imagenet" if stem_shape[2] == 7 else "cifar",
            in_channels=stem_shape[1],
        )
    except ValueError as error:
        raise CheckpointError(f"no ResNet known here has these shapes: {error}") from error


def _stage_config(shapes: Shapes) -> tuple[int, ...]:
    """Return the number of blocks in each stage."""
    return _count_numbered(shapes, r"layer(\d{1,2})\.(\d{1,4})\.", first=0, missing="block {inner} of layer{outer}")


def _is_preactivated(shapes: Shapes) -> bool:
    for key, shape in shapes.items():
        if re.fullmatch(r"layer\d+\.\d+\.conv1\.weight", key) and len(shape) == 4 and shape[0] != shape[1]:
            return _shape(shapes, key.replace("conv1", "bn1"), least_dims=1)[0] == shape[1]
    return "bn1.weight" not in shapes  # no block shows it: pre-activation networks have no norm in the stem


def join_names(names: list[str], most: int = 3) -> str:
    """Return the first names in one line, for messages."""
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > most else shown or "nothing"
