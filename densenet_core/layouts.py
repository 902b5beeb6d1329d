"""Other people's DenseNet state dicts, renamed to ours (torchvision's names), and the spec read off their shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from densenet_core.densenet import DenseNet
from densenet_core.errors import CheckpointError
from densenet_core.spec import DenseNetSpec, Stem, compressed

Rules = tuple[tuple[str, str], ...]  # (pattern of a whole key, replacement)


@dataclass(frozen=True)
class Layout:
    """One way of naming a DenseNet's tensors.

    ``anchor`` matches a key that only this layout has; what stands in front of it is a prefix
    (``module.``, ``model.``, ``module.densenet121.``) that is taken off every key.
    """

    name: str
    anchor: str
    rules: Rules = ()


_TENSOR = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_SEQUENTIAL_HEAD = (r"classifier\.\d+\.(weight|bias)", r"classifier.\1")  # Sequential(Linear, Sigmoid)

LAYOUTS = (
    Layout("torchvision", r"features\.denseblock1\.denselayer1\.norm1\.weight", (_SEQUENTIAL_HEAD,)),
    Layout(
        "torchvision before 2018",
        r"features\.denseblock1\.denselayer1\.norm\.1\.weight",
        ((r"(features\.denseblock\d+\.denselayer\d+\.(?:norm|conv))\.([12]\..+)", r"\1\2"), _SEQUENTIAL_HEAD),
    ),
    Layout(
        "CIFAR style (block1.layer.0)",
        r"block1\.layer\.0\.bn1\.weight",
        (
            (r"conv1\.weight", r"features.conv0.weight"),
            (rf"block(\d+)\.layer\.(\d+)\.bn([12])\.{_TENSOR}", r"features.denseblock\1.denselayer{\2}.norm\3.\4"),
            (r"block(\d+)\.layer\.(\d+)\.conv([12])\.weight", r"features.denseblock\1.denselayer{\2}.conv\3.weight"),
            (rf"trans(\d+)\.bn1\.{_TENSOR}", r"features.transition\1.norm.\2"),
            (r"trans(\d+)\.conv1\.weight", r"features.transition\1.conv.weight"),
            (rf"bn1\.{_TENSOR}", r"features.norm5.\1"),
            (r"fc\.(weight|bias)", r"classifier.\1"),
        ),
    ),
)


@dataclass(frozen=True)
class ReadStateDict:
    """A state dict in our names, with the spec that its shapes tell and what was found on the way."""

    spec: DenseNetSpec
    state_dict: dict[str, Tensor]
    layout: str  # a Layout's name
    ignored: tuple[str, ...]  # tensors of the file that are no part of the network


def read_state_dict(tensors: Mapping[str, Tensor]) -> ReadStateDict:
    """Renames a DenseNet's state dict to torchvision's names and infers its spec.

    Args:
        tensors: the state dict, in any layout of ``LAYOUTS``, with any prefix in front.

    Raises:
        CheckpointError: no layout fits, or a tensor is missing, too much, of a wrong shape or type,
            or holds NaN or infinite values; the tensor is named.
    """
    layout, prefix = _find_layout(tensors)
    own = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
    ignored = tuple(key for key in tensors if not key.startswith(prefix))
    state_dict = _rename(own, layout)
    spec = infer_spec({key: tuple(t.shape) for key, t in state_dict.items()})
    _check_against_spec(state_dict, spec)
    _check_values(state_dict)
    return ReadStateDict(spec, state_dict, layout.name, ignored)


def _find_layout(tensors: Iterable[str]) -> tuple[Layout, str]:
    keys = list(tensors)
    for layout in LAYOUTS:
        matches = (re.fullmatch(rf"(?P<prefix>(?:.*\.)?){layout.anchor}", key) for key in keys)
        prefixes = sorted({match["prefix"] for match in matches if match})
        if len(prefixes) > 1:
            raise CheckpointError(
                f"the file holds {len(prefixes)} DenseNets, under {_listed(prefixes)}: save one of them by itself"
            )
        if prefixes:
            return layout, prefixes[0]
    raise CheckpointError(
        f"no DenseNet in a layout known here ({', '.join(known.name for known in LAYOUTS)}): "
        f"the tensors are named {_listed(keys)}"
    )


def _rename(tensors: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        new_key = _renamed(key, layout.rules)
        if new_key in renamed:
            raise CheckpointError(f"two tensors of the file stand for {new_key!r}: one of them is {key!r}")
        renamed[new_key] = tensor
    return renamed


def _renamed(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        if match := re.fullmatch(pattern, key):
            # {7} is a layer counted from 0, which ours counts from 1
            return re.sub(r"\{(\d+)\}", lambda m: str(int(m[1]) + 1), match.expand(replacement))
    return key


def infer_spec(shapes: Mapping[str, tuple[int, ...]]) -> DenseNetSpec:
    """The spec of a network from its tensors' shapes, in torchvision's names.

    The dropout rate leaves no trace in the shapes and is 0.

    Raises:
        CheckpointError: a layer is missing, or the shapes are those of no DenseNet.
    """
    block_config = _block_config(shapes)
    stem_shape = _shape(shapes, "features.conv0.weight", least_dims=3)
    last_conv, bottleneck = "features.denseblock1.denselayer1.conv1.weight", False
    width = growth_rate = _shape(shapes, last_conv, least_dims=3)[0]
    if "features.denseblock1.denselayer1.conv2.weight" in shapes:
        growth_rate, bottleneck = _shape(shapes, last_conv.replace("conv1", "conv2"), least_dims=3)[0], True
    if growth_rate < 1 or (bottleneck and width % growth_rate):
        raise CheckpointError(
            f"tensor {last_conv!r} gives {width} feature maps, which is no multiple of the growth rate {growth_rate}"
        )
    compression = _compression(shapes, len(block_config))
    num_classes = _shape(shapes, "classifier.weight", least_dims=2)[0]
    stem = _stem_kind(shapes, stem_shape)
    try:
        return DenseNetSpec(
            block_config=block_config,
            growth_rate=growth_rate,
            num_init_features=stem_shape[0],
            bottleneck=bottleneck,
            compression=compression,
            num_classes=num_classes,
            stem=stem,
            in_channels=stem_shape[1],
            bn_size=width // growth_rate if bottleneck else 4,
            spatial_dims=len(stem_shape) - 2,
        )
    except ValueError as error:
        raise CheckpointError(f"the shapes are those of no DenseNet: {error}") from None


def _shape(shapes: Mapping[str, tuple[int, ...]], key: str, least_dims: int) -> tuple[int, ...]:
    if key not in shapes:
        raise CheckpointError(f"tensor {key!r} is missing: the file holds {_listed(list(shapes))}")
    if len(shapes[key]) < least_dims:
        raise CheckpointError(f"tensor {key!r} has shape {shapes[key]}: at least {least_dims} dimensions are needed")
    return shapes[key]


def _block_config(shapes: Iterable[str]) -> tuple[int, ...]:
    """Layers in each block, which must be numbered 1, 2, 3, ... without a gap."""
    found: dict[int, set[int]] = {}
    for key in shapes:
        if match := re.match(r"features\.denseblock(\d{1,4})\.denselayer(\d{1,4})\.", key):
            found.setdefault(int(match[1]), set()).add(int(match[2]))
    for block in range(1, max(found, default=0) + 1):
        layers = found.get(block, set())
        missing = set(range(1, max(layers, default=1) + 1)) - layers
        if missing:
            raise CheckpointError(f"dense layer {min(missing)} of block {block} is missing, but later ones are there")
    return tuple(len(found[block]) for block in sorted(found))


def _stem_kind(shapes: Mapping[str, tuple[int, ...]], stem_shape: tuple[int, ...]) -> Stem:
    kernel, has_norm = stem_shape[2], "features.norm0.weight" in shapes
    kinds = {(3, False): "cifar", (7, True): "imagenet"}
    if (kernel, has_norm) not in kinds:
        raise CheckpointError(
            f"tensor 'features.conv0.weight' has shape {stem_shape} {'with' if has_norm else 'without'} a norm0: "
            "known stems are 3x3 without (CIFAR) and 7x7 with one (ImageNet)"
        )
    return cast(Stem, kinds[kernel, has_norm])


def _compression(shapes: Mapping[str, tuple[int, ...]], num_blocks: int) -> float:
    """The roundest theta with floor(theta * m) equal to every transition's output width."""
    transitions = []
    for block in range(1, num_blocks):
        out_maps, in_maps = _shape(shapes, f"features.transition{block}.conv.weight", least_dims=3)[:2]
        transitions.append((in_maps, out_maps))
    if not transitions:
        return 1.0
    largest_ratio = max(out_maps / max(in_maps, 1) for in_maps, out_maps in transitions)
    for digits in range(1, 7):
        for theta in (round(largest_ratio, digits), round(largest_ratio + 10**-digits, digits)):
            if all(compressed(in_maps, theta) == out_maps for in_maps, out_maps in transitions):
                return theta
    kept = _listed([f"{out_maps} of {in_maps}" for in_maps, out_maps in transitions])
    raise CheckpointError(f"the transitions keep uneven shares of their feature maps ({kept}): one for all is needed")


def _check_against_spec(state_dict: Mapping[str, Tensor], spec: DenseNetSpec) -> None:
    with torch.device("meta"):
        expected = {key: tuple(t.shape) for key, t in DenseNet(spec).state_dict().items()}
    required = {key for key in expected if not key.endswith("num_batches_tracked")}  # newer than many files
    for problem, keys in (("missing", required - state_dict.keys()), ("too much", state_dict.keys() - expected.keys())):
        if keys:
            raise CheckpointError(f"tensor {min(keys)!r} is {problem} for a {spec.title} ({len(keys)} such)")
    for key, tensor in state_dict.items():
        if tuple(tensor.shape) != expected[key]:
            raise CheckpointError(
                f"tensor {key!r} has shape {tuple(tensor.shape)}: a {spec.title} needs {expected[key]}"
            )


def _check_values(state_dict: Mapping[str, Tensor]) -> None:
    for key, tensor in state_dict.items():
        if key.endswith("num_batches_tracked"):
            continue
        if tensor.layout != torch.strided or not tensor.is_floating_point():
            raise CheckpointError(f"tensor {key!r} is {tensor.dtype}, {tensor.layout}: dense floating point is needed")
        if not np.isfinite(tensor.detach().float().cpu().numpy()).all():
            raise CheckpointError(f"tensor {key!r} holds NaN or infinite values: the training that made it diverged")


def _listed(names: list[str], most: int = 3) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > most else shown or "nothing"
