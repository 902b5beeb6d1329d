"""Identify the network of a state dict by the names of its tensors, or else by their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from densenet_core.arrays import Array
from densenet_core.checkpoints.formats.content import check_number
from densenet_core.checkpoints.identify.by_structure import Asked, infer_named, read_by_structure, shapes_of
from densenet_core.checkpoints.identify.concat_order import Order
from densenet_core.checkpoints.identify.connectivity import ConcatSpec, as_concatenations
from densenet_core.checkpoints.identify.dequantizing import DEQUANTIZED
from densenet_core.checkpoints.identify.derived import compose_weights
from densenet_core.checkpoints.identify.identified_by import (
    ReadStateDict,
    check_against_spec,
    describe_unused,
    in_our_order,
)
from densenet_core.checkpoints.identify.infer_spec import join_names
from densenet_core.checkpoints.identify.layouts import LAYOUTS, OWN, Layout, find_layout
from densenet_core.checkpoints.identify.oddities import find_damage
from densenet_core.checkpoints.identify.plain_names import (
    EPSILON,
    PADDED,
    check_whole,
    input_normalization,
    is_counter,
    plain_names,
    split_parts,
)
from densenet_core.checkpoints.identify.positional import UNNAMED, with_names
from densenet_core.checkpoints.identify.shapes.by_shape import (
    STATISTICS,
    find_structure,
    norm_names,
    with_settled_norms,
)
from densenet_core.checkpoints.identify.shapes.structure import Structure
from densenet_core.checkpoints.identify.variants import (
    USUAL_EPSILON,
    split_biases,
    without,
)
from densenet_core.errors import CheckpointError, SeveralNetworksError, reworded
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.spec import Spec

MAX_PARTS = 4  # of a network that are tried, the largest first
NOT_ROUNDED = "the inputs of its quantized layers are not rounded to 8 bits, as the network itself may round them"
_NORM_WEIGHTS = tuple(f"{name}.weight" for name in ("norm0", "norm1", "norm2", "norm3", "norm5", "norm"))


def read_state_dict(
    tensors: Mapping[str, Array],
    spec: Spec | None = None,
    order: Order | None = None,
    norm: str | None = None,
) -> ReadStateDict:
    """Rename a network's state dict to torchvision's names, infer its spec, and put its feature maps in our order.

    Derived weights are composed first (``compose_weights``). Names that no layout has, and networks that are no plain
    DenseNet, are read by their shapes (``find_structure``).

    Args:
        tensors: the state dict, in any layout of ``LAYOUTS``, with any prefix in front, or in unknown names.
        spec: the network's architecture where the suite itself wrote it; the tensors must fit it.
        order: order in which the network concatenates; None: as its running statistics show, else old maps first.
        norm: kind of norms without running statistics, such as "layer" or "group-16"; None: see ``with_norm_kind``.

    Raises:
        CheckpointError: no DenseNet or ResNet is found, or a tensor is missing, unexpected, of the wrong shape or type,
            or holds NaN or infinite values; the message names the tensor.
    """
    check_number(len(tensors))
    if spec is not None:
        found = find_layout(tensors) if spec.HAS_PUBLIC_NAMES else None
        layout, prefix = found or (OWN, "")
        state_dict = layout.rename_all(_strip_prefix(tensors, layout, prefix))
        check_against_spec(split_biases(state_dict, spec)[0], spec)
        return in_our_order(spec, state_dict, layout.name, (), "old_first")
    if norm is not None and (held := [key for key in tensors if key.endswith(STATISTICS)]):
        raise CheckpointError(f"norm {norm!r} is for norms without running statistics, and the file holds {held[0]!r}")
    asked = Asked(order, norm)
    unnamed = with_names(tensors)
    named, renamed = plain_names(unnamed or tensors)
    check_whole(named)
    pictures = input_normalization(named)
    counters = (*(key for key, tensor in named.items() if is_counter(key, tensor)), *pictures)
    used, done = compose_weights({key: tensor for key, tensor in named.items() if key not in counters})
    known = find_layout(used)
    read = _read_known(used, *known, asked) if known else _read_unknown(used, asked)
    if renamed and isinstance(read.spec, DenseNetSpec):  # of Flax or TensorFlow
        padded = (PADDED,) if read.spec.stem == "imagenet" else ()
        read = replace(read, assumed=(*without(read.assumed, (USUAL_EPSILON,)), EPSILON, *padded))
    if pictures and not isinstance(read.spec, ConcatSpec):
        words = f"images that are normalized beforehand, as {join_names([*pictures])} say"
        read = replace(read, assumed=(*read.assumed, words))
    if any(DEQUANTIZED in what for what in done):
        read = replace(read, assumed=(*read.assumed, NOT_ROUNDED))
    done = (*done, UNNAMED) if unnamed else done
    caveats = (*read.caveats, *describe_unused(read.ignored, read.arrays.keys() - {*read.ignored}))
    return replace(read, ignored=(*read.ignored, *counters), notes=(*read.notes, *renamed, *done), caveats=caveats)


def read_by_layout(tensors: Mapping[str, Array], layout: Layout, prefix: str) -> ReadStateDict:
    """Read a network under the names of one layout alone.

    Raises:
        CheckpointError: no network with these tensors can be built.
    """
    state_dict, spec, assumed = _infer(_strip_prefix(tensors, layout, prefix), layout, Asked())
    found = in_our_order(spec, state_dict, layout.name, (), None)
    return replace(found, assumed=(*assumed, *found.assumed))


def _strip_prefix(tensors: Mapping[str, Array], layout: Layout, prefix: str) -> dict[str, Array]:
    """Return the network's tensors without their prefix."""
    own = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    return {key: tensor for key, tensor in own.items() if key not in layout.not_used}


def _read_known(tensors: Mapping[str, Array], layout: Layout, prefix: str, asked: Asked) -> ReadStateDict:
    own = _strip_prefix(tensors, layout, prefix)
    ignored = tuple(key for key in tensors if key.removeprefix(prefix) not in own or not key.startswith(prefix))
    floats = [key for key in ignored if not key.startswith(prefix) and tensors[key].dtype.kind == "f"]
    alone = (f"the network under {prefix!r} alone, without {join_names(floats, most=1)}",) if floats else ()
    try:
        state_dict, spec, assumed = _infer(own, layout, asked)
    except CheckpointError as odd:
        if problem := find_damage(shapes_of(own)):
            raise reworded(odd, f"{odd}{problem}") from odd
        beside = {key: tensors[key] for key in ignored if not key.endswith("num_batches_tracked")}
        return _read_odd({f"{prefix}{key}": t for key, t in own.items()}, beside, odd, asked)
    found = in_our_order(spec, state_dict, layout.name, ignored, asked.order)
    return replace(found, assumed=(*assumed, *found.assumed, *alone))


def _infer(
    tensors: Mapping[str, Array], layout: Layout, asked: Asked
) -> tuple[dict[str, Array], Spec, tuple[str, ...]]:
    """Return a state dict in our names, its spec, and what is assumed about it.

    Raises:
        CheckpointError: no network of these shapes can be built.
    """
    norms = [key.removesuffix(".weight") for key in tensors if layout.rename(key).endswith(_NORM_WEIGHTS)]
    state_dict, spec, assumed = infer_named(layout.rename_all(tensors), layout, norms, asked)
    check_against_spec(split_biases(state_dict, spec)[0], spec)
    return state_dict, spec, assumed


def _read_unknown(tensors: Mapping[str, Array], asked: Asked) -> ReadStateDict:
    try:
        structure = _structure(tensors)
    except CheckpointError as error:
        if (part := _read_part(tensors, asked)) is not None:
            return part
        raise CheckpointError(
            f"no DenseNet or ResNet in a known layout ({', '.join(known.name for known in LAYOUTS)}): "
            f"the tensors are named {join_names(list(tensors))}, and {error}"
        ) from error
    return read_by_structure(tensors, structure, asked)


def _read_part(tensors: Mapping[str, Array], asked: Asked) -> ReadStateDict | None:
    """Return the table of the only part of a network that is a DenseNet, such as the encoder of a segmentation network.

    Raises:
        SeveralNetworksError: several parts are.
    """
    parts = split_parts(tensors)
    found: dict[str, Structure] = {}
    for name in sorted(parts, key=lambda name: -len(parts[name]))[:MAX_PARTS] if len(parts) > 1 else ():
        try:
            structure = _structure(parts[name])
        except CheckpointError:
            continue
        if structure.stem:
            found[name] = structure
    if len(found) > 1:
        raise SeveralNetworksError(sorted(found))
    for name, structure in found.items():
        read = read_by_structure(parts[name], structure, asked)
        others = tuple(key for key in tensors if key not in parts[name])
        why = f"{name!r} is part of a network that goes on with {join_names([n for n in parts if n != name])}"
        return replace(read, spec=as_concatenations(read.spec, why), ignored=(*read.ignored, *others))
    return None


def _read_odd(
    tensors: Mapping[str, Array], beside: Mapping[str, Array], odd: CheckpointError, asked: Asked
) -> ReadStateDict:
    """Read a network of known names and unknown shape by its shapes, where they are clear, or raise the error.

    Args:
        beside: tensors outside the network's prefix. Linear layers may read its feature maps, unless convolutions do.
    """
    beyond = [key for key, tensor in beside.items() if key.endswith(".weight") and tensor.ndim > 2]
    heads = {} if beyond else {key: tensor for key, tensor in beside.items() if tensor.ndim <= 2}
    for candidates in ({**tensors, **heads}, tensors):
        try:
            structure = _structure(candidates)
        except CheckpointError:
            continue
        if structure.norms or not norm_names(shapes_of(tensors)):
            read = read_by_structure(candidates, structure, asked)
            why = f"the network continues with {join_names(beyond, most=1)}"
            spec = as_concatenations(read.spec, why) if beyond else read.spec
            return replace(read, spec=spec, ignored=(*read.ignored, *(key for key in beside if key not in candidates)))
    raise odd


def _structure(tensors: Mapping[str, Array]) -> Structure:
    return with_settled_norms(find_structure(shapes_of(tensors)), tensors)
