"""Identify the network of a state dict by the names of its tensors, or else by their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.formats.content import check_number
from densenet_core.checkpoints.formats.onnx_file import FOLDED
from densenet_core.checkpoints.identify.by_shape import find_structure, norm_names, with_settled_norms
from densenet_core.checkpoints.identify.channel_graph import ChannelWalk
from densenet_core.checkpoints.identify.concat_order import Order, block_norms, infer_order, to_old_first
from densenet_core.checkpoints.identify.concatenations import concat_spec, visible_order
from densenet_core.checkpoints.identify.connectivity import ConcatSpec, ConcatTarget
from densenet_core.checkpoints.identify.derived import compose_weights
from densenet_core.checkpoints.identify.heads import with_plain_head
from densenet_core.checkpoints.identify.identified_by import IdentifiedBy
from densenet_core.checkpoints.identify.infer_spec import infer_densenet_spec, join_names, list_assumptions
from densenet_core.checkpoints.identify.layouts import LAYOUTS, OWN, Layout, find_layout
from densenet_core.checkpoints.identify.oddities import find_damage, find_oddities
from densenet_core.checkpoints.identify.structure import Shapes, Structure
from densenet_core.errors import CheckpointError
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.layers import tensor_shapes
from densenet_core.networks.spec import Spec

BY_STRUCTURE = "unknown names, read by shapes"
BOOKKEEPING = ("total_ops", "total_params", "_count", "_stage")  # counters of profilers and CondenseNet's training


@dataclass(frozen=True)
class ReadStateDict:
    """A state dict identified as a network.

    The arrays have our names, or those of the file where only the concatenations are known.
    """

    spec: Spec | ConcatSpec
    arrays: dict[str, Array]
    layout: str  # a Layout's name, or BY_STRUCTURE
    ignored: tuple[str, ...] = ()  # tensors of the file that are not used
    order: Order | None = None  # order in which the network concatenates; None: not visible
    identified_by: IdentifiedBy = IdentifiedBy.NAMES
    notes: tuple[str, ...] = ()  # what was computed or found when the tensors were read
    assumed: tuple[str, ...] = ()  # what its scores depend on and its tensors do not show


class _OddNetwork(CheckpointError):
    """A network that seems complete but does not have a shape that can be built here."""


def read_state_dict(
    tensors: Mapping[str, Array], spec: Spec | None = None, order: Order | None = None
) -> ReadStateDict:
    """Rename a network's state dict to torchvision's names, infer its spec, and put its feature maps in our order.

    Derived weights are composed first (``compose_weights``). Names that no layout has, and networks that are no plain
    DenseNet, are read by their shapes (``find_structure``).

    Args:
        tensors: the state dict, in any layout of ``LAYOUTS``, with any prefix in front, or in unknown names.
        spec: the network's architecture where the suite itself wrote it; the tensors must fit it.
        order: order in which the network concatenates; None: as its running statistics show, else old maps first.

    Raises:
        CheckpointError: no DenseNet or ResNet is found, or a tensor is missing, unexpected, of the wrong shape or type,
            or holds NaN or infinite values; the message names the tensor.
    """
    check_number(len(tensors))
    if spec is not None:
        found = find_layout(tensors) if spec.HAS_PUBLIC_NAMES else None
        layout, prefix = found or (OWN, "")
        return _read_named(_strip_prefix(tensors, layout, prefix), layout, spec, (), order)
    used, done = compose_weights(tensors)
    used = {key: tensor for key, tensor in used.items() if not _is_bookkeeping(key)}
    known = find_layout(used)
    read = _read_known(used, *known, order) if known else _read_unknown(used, order)
    counters = tuple(key for key in tensors if _is_bookkeeping(key))
    return replace(read, ignored=(*read.ignored, *counters), notes=(*read.notes, *done))


def read_by_layout(tensors: Mapping[str, Array], layout: Layout, prefix: str) -> ReadStateDict:
    """Read a network under the names of one layout alone.

    Raises:
        CheckpointError: the tensors are not those of a network that can be built.
    """
    return _read_named(_strip_prefix(tensors, layout, prefix), layout, None, (), None)


def _is_bookkeeping(key: str) -> bool:
    return key.rpartition(".")[2] in BOOKKEEPING


def _strip_prefix(tensors: Mapping[str, Array], layout: Layout, prefix: str) -> dict[str, Array]:
    """Return the network's tensors without their prefix."""
    own = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    return {key: tensor for key, tensor in own.items() if key not in layout.not_used}


def _read_known(tensors: Mapping[str, Array], layout: Layout, prefix: str, order: Order | None) -> ReadStateDict:
    own = _strip_prefix(tensors, layout, prefix)
    ignored = tuple(key for key in tensors if key.removeprefix(prefix) not in own or not key.startswith(prefix))
    try:
        return _read_named(own, layout, None, ignored, order)
    except _OddNetwork as odd:
        if problem := find_damage(_shapes(own)):
            raise CheckpointError(f"{odd}{problem}") from odd
        heads = {key: tensors[key] for key in ignored if tensors[key].ndim <= 2}
        read = _read_odd({f"{prefix}{key}": t for key, t in own.items()}, heads, odd, order)
        outside = (key for key in ignored if key not in read.arrays and not key.endswith("num_batches_tracked"))
        return replace(read, ignored=(*read.ignored, *outside))


def read_graph(walk: ChannelWalk, tensors: Mapping[str, Array], in_channels: int) -> ReadStateDict:
    """Return the network of a graph of operations: a DenseNet if it is one, else its concatenations.

    Args:
        walk: a finished pass through the graph.
        tensors: in the order in which the graph uses them, under the names that the walk uses.

    Raises:
        CheckpointError: the graph concatenates nothing, or a tensor holds NaN or infinite values.
    """
    spec = walk.spec(in_channels, why="it was read from a graph of operations that are not those of a DenseNet")
    order: Order = "old_first" if spec.is_old_first else "new_first"
    _check_values({key: tensors[key] for target in spec.targets for key in _tensors_of(target)})
    folded = sum(key.endswith(f"{FOLDED}.weight") for key in tensors)
    notes = (f"{folded} convolutions have a bias: their weights may hold the scale of a batch norm",) if folded else ()
    found = ReadStateDict(spec, dict(tensors), "graph", (), order, IdentifiedBy.GRAPH, notes)
    try:
        structure = find_structure(_shapes(tensors), is_in_order=True)
        densenet = _read_by_structure(tensors, structure, order)
    except CheckpointError:
        return found
    same = {(t.block, t.layer, t.weight) for t in spec.targets} == {reader[:3] for reader in structure.readers()}
    if isinstance(densenet.spec, ConcatSpec) or not same:
        return found
    return replace(densenet, layout=found.layout, identified_by=found.identified_by, notes=notes)


def _read_named(
    tensors: Mapping[str, Array], layout: Layout, spec: Spec | None, ignored: tuple[str, ...], order: Order | None
) -> ReadStateDict:
    is_ours = spec is not None
    assumed: tuple[str, ...] = ()
    try:
        state_dict = _rename(tensors, layout)
        if spec is None:
            state_dict, spec, assumed = _infer(state_dict, layout)
        _check_against_spec(state_dict, spec)
    except CheckpointError as error:
        raise _OddNetwork(str(error)) from error
    found = _in_our_order(spec, state_dict, layout.name, ignored, "old_first" if is_ours else order)
    return replace(found, assumed=assumed)


def _infer(state_dict: dict[str, Array], layout: Layout) -> tuple[dict[str, Array], Spec, tuple[str, ...]]:
    """Return a state dict in our names with a plain head, its spec, and what is assumed about it."""
    assumed: tuple[str, ...] = ()
    if layout.infer is infer_densenet_spec:
        state_dict, assumed = with_plain_head(state_dict)
    spec = layout.infer(_shapes(state_dict))
    return state_dict, spec, (*list_assumptions(spec), *assumed)


def _in_our_order(
    spec: Spec, state_dict: dict[str, Array], layout: str, ignored: tuple[str, ...], order: Order | None
) -> ReadStateDict:
    _check_values(state_dict)
    if isinstance(spec, DenseNetSpec):
        order = order or infer_order(state_dict, block_norms(spec))
        if order == "new_first":
            state_dict = to_old_first(state_dict, spec)
    return ReadStateDict(spec, state_dict, layout, ignored, order)


def _read_unknown(tensors: Mapping[str, Array], order: Order | None) -> ReadStateDict:
    try:
        return _read_by_structure(tensors, _structure(tensors), order)
    except CheckpointError as error:
        raise CheckpointError(
            f"no DenseNet or ResNet in a known layout ({', '.join(known.name for known in LAYOUTS)}): "
            f"the tensors are named {join_names(list(tensors))}, and {error}"
        ) from error


def _read_odd(
    tensors: Mapping[str, Array], heads: Mapping[str, Array], odd: CheckpointError, order: Order | None
) -> ReadStateDict:
    """Read a network of known names and unknown shape: its table, where its concatenations are clear, or the error.

    Args:
        heads: tensors outside the network's prefix that may read its feature maps.
    """
    for candidates in ({**tensors, **heads}, tensors):
        try:
            structure = _structure(candidates)
        except CheckpointError:
            continue
        if structure.norms or not norm_names(_shapes(tensors)):
            return _concatenations(candidates, structure, str(odd), order)
    raise odd


def _structure(tensors: Mapping[str, Array]) -> Structure:
    return with_settled_norms(find_structure(_shapes(tensors)), tensors)


def _read_by_structure(tensors: Mapping[str, Array], structure: Structure, order: Order | None) -> ReadStateDict:
    ours = structure.our_names()
    parts = {key: key.rpartition(".") for key in tensors}
    state = {f"{ours[name]}.{part}": tensors[key] for key, (name, _, part) in parts.items() if name in ours}
    try:
        if structure.rest:
            raise CheckpointError(f"tensors {join_names(list(structure.rest))} have no place in a DenseNet")
        if len(structure.blocks) == 1:
            raise CheckpointError(
                "all layers form one block, and poolings between them would leave no trace in the file"
            )
        state, spec, assumed = _infer(state, OWN)
        _check_against_spec(state, spec)
    except CheckpointError as why:
        return _concatenations(tensors, structure, str(why), order)
    found = _in_our_order(spec, state, BY_STRUCTURE, (), order)
    notes = _notes(structure, None if order else found.order)
    return replace(found, identified_by=IdentifiedBy.SHAPES, notes=notes, assumed=assumed)


def _notes(structure: Structure, order: Order | None) -> tuple[str, ...]:
    convs = len(structure.stem) + len(structure.transitions) + sum(len(c) for block in structure.blocks for c in block)
    places = f"{convs} convolutions and {len(structure.norms)} norms have one place each"
    return (places, "running statistics of the feature maps agree with it") if order else (places,)


def _concatenations(tensors: Mapping[str, Array], structure: Structure, why: str, order: Order | None) -> ReadStateDict:
    """Return what the table needs of a network that can't be built here."""
    seen = visible_order(tensors, structure)
    reasons = find_oddities(structure, _shapes(tensors)) or [why]
    spec = concat_spec(tensors, structure, order or seen, "; ".join(reasons))
    _check_values({key: tensors[key] for target in spec.targets for key in _tensors_of(target)})
    heads = {head.rpartition(".")[0] for head in structure.heads}
    unused = (key for key in structure.rest if key.rpartition(".")[0] not in heads)
    ignored = tuple(key for key in unused if not key.endswith("num_batches_tracked"))
    about = (order or seen, IdentifiedBy.SHAPES, _notes(structure, seen))
    return ReadStateDict(spec, dict(tensors), BY_STRUCTURE, ignored, *about)


def _tensors_of(target: ConcatTarget) -> tuple[str, ...]:
    return (target.weight,) if target.norm is None else (target.weight, f"{target.norm}.weight")


def _shapes(tensors: Mapping[str, Array]) -> Shapes:
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def _rename(tensors: Mapping[str, Array], layout: Layout) -> dict[str, Array]:
    renamed: dict[str, Array] = {}
    for key, tensor in tensors.items():
        new_key = layout.rename(key)
        if new_key in renamed:
            raise CheckpointError(f"two tensors of the file translate to {new_key!r}: one of them is {key!r}")
        renamed[new_key] = tensor
    return renamed


def _check_against_spec(state_dict: Mapping[str, Array], spec: Spec) -> None:
    expected = tensor_shapes(spec)
    required = {key for key in expected if not key.endswith("num_batches_tracked")}  # newer than many files
    for problem, keys in (
        ("missing", required - state_dict.keys()),
        ("unexpected", state_dict.keys() - expected.keys()),
    ):
        if keys:
            raise CheckpointError(f"tensor {min(keys)!r} is {problem} for a {spec.title} ({len(keys)} in all)")
    for key, tensor in state_dict.items():
        if tuple(tensor.shape) != expected[key]:
            raise CheckpointError(
                f"tensor {key!r} has shape {tuple(tensor.shape)}: a {spec.title} needs {expected[key]}"
            )


def _check_values(state_dict: Mapping[str, Array]) -> None:
    for key, tensor in state_dict.items():
        if key.endswith("num_batches_tracked"):
            continue
        if tensor.dtype.kind != "f":
            raise CheckpointError(f"tensor {key!r} is {tensor.dtype}: floating point is needed")
        if not np.isfinite(tensor).all():
            raise CheckpointError(f"tensor {key!r} holds NaN or infinite values: the training that made it diverged")
