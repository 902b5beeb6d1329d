"""Other people's state dicts, renamed to ours (torchvision's names)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from densenet_core.concat_order import Order, seen_order, to_old_first
from densenet_core.errors import CheckpointError
from densenet_core.infer_spec import Shapes, infer_densenet_spec, infer_resnet_spec, listed
from densenet_core.models import Relative, Spec, build_model
from densenet_core.spec import DenseNetSpec

Rules = tuple[tuple[str, str], ...]  # (pattern of a whole key, replacement)


@dataclass(frozen=True)
class Layout:
    """One way of naming a network's tensors.

    ``anchor`` matches a key that only this layout has; what stands in front of it is a prefix
    (``module.``, ``model.``, ``module.densenet121.``) that is taken off every key.
    """

    name: str
    anchor: str
    rules: Rules = ()
    infer: Callable[[Shapes], Spec] = infer_densenet_spec


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
    Layout(
        "CIFAR style (dense1.0)",  # kuangliu's, which concatenates new maps first, and bamos's, which does not
        r"dense1\.0\.bn1\.weight",
        (
            (r"conv1\.weight", r"features.conv0.weight"),
            (rf"dense(\d+)\.(\d+)\.bn([12])\.{_TENSOR}", r"features.denseblock\1.denselayer{\2}.norm\3.\4"),
            (r"dense(\d+)\.(\d+)\.conv([12])\.weight", r"features.denseblock\1.denselayer{\2}.conv\3.weight"),
            (rf"trans(\d+)\.bn1?\.{_TENSOR}", r"features.transition\1.norm.\2"),
            (r"trans(\d+)\.conv1?\.weight", r"features.transition\1.conv.weight"),
            (rf"bn1?\.{_TENSOR}", r"features.norm5.\1"),
            (r"(?:fc|linear)\.(weight|bias)", r"classifier.\1"),
        ),
    ),
    Layout(
        "ResNet",  # torchvision's, and the CIFAR repositories' with `linear` and `shortcut`
        r"layer1\.0\.conv1\.weight",
        (
            (r"linear\.(weight|bias)", r"fc.\1"),
            (rf"(layer\d+\.\d+)\.shortcut\.([01])\.{_TENSOR}", r"\1.downsample.\2.\3"),
        ),
        infer_resnet_spec,
    ),
)

OWN = Layout("DenseNet Lens", "")  # of networks that only the suite's own files hold


@dataclass(frozen=True)
class ReadStateDict:
    """A state dict in our names, with the spec that its shapes tell and what was found on the way."""

    spec: Spec
    state_dict: dict[str, Tensor]
    layout: str  # a Layout's name
    ignored: tuple[str, ...]  # tensors of the file that are no part of the network
    order: Order | None = None  # in which the file's network concatenates, where its statistics show it


def read_state_dict(
    tensors: Mapping[str, Tensor], spec: Spec | None = None, order: Order | None = None
) -> ReadStateDict:
    """Renames a network's state dict to torchvision's names, infers its spec, and puts its feature maps in our order.

    Args:
        tensors: the state dict, in any layout of ``LAYOUTS``, with any prefix in front.
        spec: the network's architecture where the suite itself wrote it; the tensors must fit it.
        order: in which the network concatenates; None: as its running statistics show, else old maps first.

    Raises:
        CheckpointError: no layout fits, or a tensor is missing, too much, of a wrong shape or type,
            or holds NaN or infinite values; the tensor is named.
    """
    layout, prefix = (OWN, "") if isinstance(spec, Relative) else _find_layout(tensors)
    _check_storage(tensors)
    own = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
    ignored = tuple(key for key in tensors if not key.startswith(prefix))
    state_dict = _rename(own, layout)
    is_ours = spec is not None
    spec = spec or layout.infer({key: tuple(t.shape) for key, t in state_dict.items()})
    _check_against_spec(state_dict, spec)
    _check_values(state_dict)
    if isinstance(spec, DenseNetSpec):
        order = "old_first" if is_ours else order or seen_order(state_dict, spec)
        if order == "new_first":
            state_dict = to_old_first(state_dict, spec)
    return ReadStateDict(spec, state_dict, layout.name, ignored, order)


def _check_storage(tensors: Mapping[str, Tensor]) -> None:
    """Refuses tensors whose shape promises more numbers than the file holds."""
    for key, tensor in tensors.items():
        if tensor.is_meta:
            raise CheckpointError(f"tensor {key!r} is on the meta device, which holds no numbers: save a real one")
        if (
            tensor.layout == torch.strided
            and tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
        ):
            raise CheckpointError(f"tensor {key!r} claims shape {tuple(tensor.shape)}, and holds fewer numbers")


def _find_layout(tensors: Iterable[str]) -> tuple[Layout, str]:
    keys = list(tensors)
    for layout in LAYOUTS:
        matches = (re.fullmatch(rf"(?P<prefix>(?:.*\.)?){layout.anchor}", key) for key in keys)
        prefixes = sorted({match["prefix"] for match in matches if match})
        if len(prefixes) > 1:
            raise CheckpointError(
                f"the file holds {len(prefixes)} networks, under {listed(prefixes)}: save one of them by itself"
            )
        if prefixes:
            return layout, prefixes[0]
    raise CheckpointError(
        f"no DenseNet or ResNet in a layout known here ({', '.join(known.name for known in LAYOUTS)}): "
        f"the tensors are named {listed(keys)}"
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


def _check_against_spec(state_dict: Mapping[str, Tensor], spec: Spec) -> None:
    try:
        expected = _expected_shapes(spec)
    except (RuntimeError, OverflowError, TypeError) as error:  # of sizes that no memory could hold
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"no network can be built of these sizes ({reason[:100]})") from None
    required = {key for key in expected if not key.endswith("num_batches_tracked")}  # newer than many files
    for problem, keys in (("missing", required - state_dict.keys()), ("too much", state_dict.keys() - expected.keys())):
        if keys:
            raise CheckpointError(f"tensor {min(keys)!r} is {problem} for a {spec.title} ({len(keys)} such)")
    for key, tensor in state_dict.items():
        if tuple(tensor.shape) != expected[key]:
            raise CheckpointError(
                f"tensor {key!r} has shape {tuple(tensor.shape)}: a {spec.title} needs {expected[key]}"
            )


def _expected_shapes(spec: Spec) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(t.shape) for key, t in build_model(spec).state_dict().items()}


def _check_values(state_dict: Mapping[str, Tensor]) -> None:
    for key, tensor in state_dict.items():
        if key.endswith("num_batches_tracked"):
            continue
        if tensor.layout != torch.strided or not tensor.is_floating_point():
            raise CheckpointError(f"tensor {key!r} is {tensor.dtype}, {tensor.layout}: dense floating point is needed")
        if not np.isfinite(tensor.detach().float().cpu().numpy()).all():
            raise CheckpointError(f"tensor {key!r} holds NaN or infinite values: the training that made it diverged")
