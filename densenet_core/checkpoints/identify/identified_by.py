"""An identified network, and the kinds of evidence by which its layers were identified."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.identify.concat_order import (
    FoundOrder,
    Order,
    Readings,
    name_order,
    to_old_first,
    uniform_readings,
    visible_readings,
)
from densenet_core.checkpoints.identify.connectivity import ConcatSpec, ConcatTarget
from densenet_core.checkpoints.identify.infer_spec import join_names
from densenet_core.checkpoints.identify.variants import FOLDED_BIASES, split_biases, with_biases
from densenet_core.errors import CheckpointError
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.layers import tensor_shapes
from densenet_core.networks.spec import Spec

OLD_FIRST = "old feature maps are concatenated first"
BY_STRUCTURE = "unknown names, read by shapes"  # in place of a layout's name
_MASK = re.compile(r"(?:^|[._])masks?(?:$|\.)", re.IGNORECASE)  # in a name


class IdentifiedBy(Enum):
    """The evidence for which tensor belongs to which layer."""

    METADATA = "the metadata saved with it"  # in files that ``save_checkpoint`` wrote
    NAMES = "the names of its tensors"
    SHAPES = "shapes alone"
    GRAPH = "the graph of its operations"
    TRACE = "one traced pass"


@dataclass(frozen=True)
class ReadStateDict:
    """A state dict identified as a network.

    The arrays have our names, or those of the file where only the concatenations are known.
    """

    spec: Spec | ConcatSpec
    arrays: dict[str, Array]
    layout: str  # a Layout's name, or BY_STRUCTURE
    ignored: tuple[str, ...] = ()  # tensors of the file that are not used
    order: FoundOrder | None = None  # order in which the network concatenates; None: not visible
    identified_by: IdentifiedBy = IdentifiedBy.NAMES
    notes: tuple[str, ...] = ()  # what was computed or found when the tensors were read
    assumed: tuple[str, ...] = ()  # what its scores depend on and its tensors do not show
    caveats: tuple[str, ...] = ()  # why the network may compute with other weights than these


def describe_folding(number: int) -> tuple[str, ...]:
    """Return that batch norms may be folded into this many convolutions, in words; nothing for none."""
    words = "convolutions have a bias: their weights may hold the scale of a batch norm that was folded into them"
    return (f"{number} {words}",) if number else ()


def describe_unused(ignored: Iterable[str], used: Container[str]) -> tuple[str, ...]:
    """Return which tensors of a file may change weights and are not used, in words; nothing for none.

    These are masks, and tensors in or below a module with a weight that is used.

    >>> describe_unused(["a.scale", "b.scale"], ["a.weight"])
    ("the weights are shown without 'a.scale', which may change them",)
    """
    found = [key for key in ignored if _MASK.search(key) or any(f"{name}.weight" in used for name in _modules(key))]
    return (f"the weights are shown without {join_names(found, most=1)}, which may change them",) if found else ()


def _modules(key: str) -> list[str]:
    """Return the modules that a tensor may be part of."""
    parts = key.split(".")
    return [".".join(parts[:number]) for number in range(1, len(parts))]


def check_read_values(found: ReadStateDict) -> None:
    """Raise CheckpointError if a tensor that the network uses holds NaN or infinite values."""
    if isinstance(spec := found.spec, ConcatSpec):
        check_values({key: found.arrays[key] for target in spec.targets for key in tensors_of(target)})
    else:
        check_values(found.arrays)


def tensors_of(target: ConcatTarget) -> tuple[str, ...]:
    """Return the names of the tensors that the table of a target is computed from."""
    return (target.weight,) if target.norm is None else (target.weight, f"{target.norm}.weight")


def check_values(state_dict: Mapping[str, Array]) -> None:
    """Raise CheckpointError if a tensor is not of floating point, or holds NaN or infinite values."""
    for key, tensor in state_dict.items():
        if key.endswith("num_batches_tracked"):
            continue
        if tensor.dtype.kind != "f":
            raise CheckpointError(f"tensor {key!r} is {tensor.dtype}: floating point is needed")
        if not np.isfinite(tensor).all():
            raise CheckpointError(f"tensor {key!r} holds NaN or infinite values: the training that made it diverged")


def check_against_spec(state_dict: Mapping[str, Array], spec: Spec) -> None:
    """Raise CheckpointError unless the tensors have the names and the shapes of this network's."""
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


def in_our_order(
    spec: Spec, state_dict: Mapping[str, Array], layout: str, ignored: tuple[str, ...], order: Order | None
) -> ReadStateDict:
    """Return a network with its feature maps in our order.

    Args:
        state_dict: weights under our names, concatenated as the network does.
        order: how it concatenates; None: as its running statistics show, else old maps first.

    Raises:
        CheckpointError: a tensor holds NaN or infinite values, or its norms do not allow another order.
    """
    check_values(state_dict)
    if not isinstance(spec, DenseNetSpec):
        return ReadStateDict(spec, dict(state_dict), layout, ignored, order)
    plain, biases = split_biases(state_dict, spec)
    notes = (f"{len(biases)} {FOLDED_BIASES}",) if biases else ()
    has_statistics = spec.norm == "batch"
    if order is not None:
        readings: Readings | None = uniform_readings(spec, order)
    else:
        readings = visible_readings(plain, spec) if has_statistics else None
    ours = plain if readings is None else to_old_first(plain, spec, readings)
    found = ReadStateDict(spec, with_biases(ours, biases, spec), layout, ignored, notes=notes)
    if readings is None:
        return replace(found, assumed=() if has_statistics else (OLD_FIRST,))
    return replace(found, order=name_order(readings.values()))
