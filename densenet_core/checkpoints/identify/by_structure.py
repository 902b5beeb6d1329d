"""Turn the places of a network's layers into a network: its weights under our names, and what is assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from densenet_core.arrays import Array
from densenet_core.checkpoints.identify.concat_order import Order
from densenet_core.checkpoints.identify.identified_by import (
    BY_STRUCTURE,
    IdentifiedBy,
    ReadStateDict,
    check_against_spec,
    in_our_order,
)
from densenet_core.checkpoints.identify.infer_spec import infer_densenet_spec, list_assumptions
from densenet_core.checkpoints.identify.layouts import OWN, Layout
from densenet_core.checkpoints.identify.oddities import describe_places, find_obstacle, read_concatenations
from densenet_core.checkpoints.identify.shapes.by_shape import (
    STATISTICS,
)
from densenet_core.checkpoints.identify.shapes.structure import Shapes, Structure
from densenet_core.checkpoints.identify.variants import (
    split_biases,
    with_norm_kind,
    with_operations,
    with_plain_head,
)
from densenet_core.errors import CheckpointError
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.spec import Spec

PLACES = "the places of the norms, as their running statistics agree with no order of concatenation"


class Asked(NamedTuple):
    """Facts about the network from the caller; None where the tensors show them."""

    order: Order | None = None
    norm: str | None = None
    has_graph: bool = False  # which shows poolings, too


def infer_named(
    state_dict: dict[str, Array], layout: Layout, norms: Sequence[str], asked: Asked
) -> tuple[dict[str, Array], Spec, tuple[str, ...]]:
    """Return a state dict in our names with a plain head, its spec, and what is assumed about it.

    Args:
        norms: the names of the norms in the file.
    """
    assumed: tuple[str, ...] = ()
    if layout.infer is infer_densenet_spec:
        state_dict, assumed = with_plain_head(state_dict)
    has_statistics = any(key.endswith(STATISTICS) for key in state_dict)
    spec, norm_kind = with_norm_kind(layout.infer(shapes_of(state_dict)), has_statistics, norms, asked.norm)
    if isinstance(spec, DenseNetSpec) and spec.norm == "group" and asked.order == "new_first":
        raise CheckpointError("it concatenates new feature maps first, and group norms do not allow another order")
    return state_dict, spec, (*list_assumptions(spec), *assumed, *norm_kind)


def read_by_structure(tensors: Mapping[str, Array], structure: Structure, asked: Asked) -> ReadStateDict:
    """Return the network whose layers have these places: a spec that can be built, or else its concatenations."""
    ours = structure.our_names()
    parts = {key: key.rpartition(".") for key in tensors}
    state = {f"{ours[name]}.{part}": tensors[key] for key, (name, _, part) in parts.items() if name in ours}
    try:
        if obstacle := find_obstacle(structure, asked.has_graph):
            raise CheckpointError(obstacle)
        state, spec, assumed = infer_named(state, OWN, [*structure.norms.values()], asked)
        check_against_spec(split_biases(state, spec)[0], spec)
    except CheckpointError as why:
        return read_concatenations(tensors, structure, why, asked.order)
    found = in_our_order(spec, state, BY_STRUCTURE, (), asked.order)
    notes = (*describe_places(structure, None if asked.order else found.order), *found.notes)
    doubt = (PLACES,) if found.order is None and any(state[k].any() for k in state if k.endswith(STATISTICS[0])) else ()
    assumed = with_operations((*assumed, *found.assumed, *doubt), spec)
    return replace(found, identified_by=IdentifiedBy.SHAPES, notes=notes, assumed=assumed)


def shapes_of(tensors: Mapping[str, Array]) -> Shapes:
    """Return the shapes of tensors."""
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}
