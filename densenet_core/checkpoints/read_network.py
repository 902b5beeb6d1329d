"""Read the network of an opened file: choose its weights, identify them, and compare with what else the file says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypedDict

from densenet_core.checkpoints.formats.content import Candidate, Entry, FileContent
from densenet_core.checkpoints.formats.keras_file import (
    APPLICATIONS_NORM,
    KERAS_EPSILON,
    KerasLayout,
    find_other_functions,
    keras_state_dict,
)
from densenet_core.checkpoints.formats.onnx.graph import walk_onnx
from densenet_core.checkpoints.formats.weights import choose
from densenet_core.checkpoints.identify.concat_order import Order
from densenet_core.checkpoints.identify.connectivity import ConcatSpec, as_concatenations
from densenet_core.checkpoints.identify.graphs.read_graph import read_graph
from densenet_core.checkpoints.identify.identified_by import ReadStateDict, check_read_values, describe_unused
from densenet_core.checkpoints.identify.plain_names import PADDED
from densenet_core.checkpoints.identify.state_dict import read_state_dict
from densenet_core.checkpoints.identify.variants import USUAL_EPSILON, without
from densenet_core.checkpoints.masks import find_masks, with_masks
from densenet_core.checkpoints.module_facts import kind_of, norm_facts, with_our_epsilon
from densenet_core.checkpoints.module_parts import examine_parts
from densenet_core.errors import CheckpointError
from densenet_core.networks.densenet_spec import DenseNetSpec

_EPSILON = f"an epsilon of {KERAS_EPSILON} in the batch norms, which is Keras's usual one"
_KERAS_NORMS = "group or layer normalizations of Keras"


class About(TypedDict):
    """Facts about a network from the caller."""

    order: Order | None
    norm: str | None


@dataclass(frozen=True)
class FileFacts:
    """The content of a checkpoint's file besides the network."""

    format: str  # safetensors, torch, hdf5, onnx or numpy
    weights: str = ""  # the name of the weights that were taken, "" where the file holds nothing else
    other_weights: tuple[str, ...] = ()  # names that `weights` of load_checkpoint takes instead
    others: tuple[str, ...] = ()  # names of what was not read, such as the epoch or the optimizer
    made_by: str = ""  # the class of the module, where the file is a pickle of a whole one


def read_network(
    content: FileContent, weights: str | None, keras_layout: KerasLayout | None, about: About
) -> tuple[ReadStateDict, FileFacts]:
    """Return the network of a file that the suite did not write, and what else the file holds.

    Args:
        weights, keras_layout: as for ``load_checkpoint``.
        about: the caller's ``order`` and ``norm``.

    Raises:
        CheckpointError: no network is found, or several.
    """

    def read(candidate: Candidate) -> ReadStateDict:
        if content.format == "onnx":
            if about["norm"] is not None:
                raise CheckpointError("norm is for files of weights alone: the graph of an ONNX file shows its norms")
            return read_graph(*walk_onnx(content, candidate))
        if content.format == "hdf5":
            return _read_keras(content, candidate, keras_layout, about)
        return _read_tensors(content, candidate, about)

    candidates, masks = with_masks(content.candidates)
    content = replace(content, candidates=candidates)
    found, taken, other_weights = choose(content, weights, read)
    others = _others(content, taken, (*other_weights, *masks))
    unused = [name for name in find_masks((*content.others, *(each.name for each in candidates))) if name not in masks]
    caveats = (*found.caveats, *describe_unused(dict.fromkeys(unused), ()))
    facts = FileFacts(content.format, taken.name, other_weights, others, taken.made_by)
    return replace(found, caveats=caveats), facts


def _read_keras(
    content: FileContent, candidate: Candidate, keras_layout: KerasLayout | None, about: About
) -> ReadStateDict:
    tensors, notes = keras_state_dict(content, candidate, keras_layout)
    if about["norm"] is None and not any(key.endswith(".running_mean") for key in tensors):
        about = {**about, "norm": _KERAS_NORMS}
    found = read_state_dict(tensors, **about)
    found = replace(found, notes=(*found.notes, *notes))
    if not isinstance(found.spec, DenseNetSpec):
        return found
    if others := find_other_functions(content):
        return replace(found, spec=as_concatenations(found.spec, others))
    if f"{APPLICATIONS_NORM}.weight" in tensors or "functions" in content.about:
        return replace(found, assumed=without(found.assumed))
    padded = (PADDED,) if found.spec.stem == "imagenet" else ()
    return replace(found, assumed=(*without(found.assumed, (USUAL_EPSILON,)), _EPSILON, *padded))


def _read_tensors(content: FileContent, candidate: Candidate, about: About) -> ReadStateDict:
    """Identify the network of a candidate. Large tensors are read afterwards, and only if the network uses them."""
    norms = {name: facts for name, own in candidate.modules.items() if (facts := norm_facts(*own[:4]))}
    shown = kind_of(norms)
    if shown is not None:
        if (asked := about["norm"]) not in (None, shown):
            raise CheckpointError(f"norm {asked!r} contradicts the file, whose modules are {shown} norms: leave it out")
        about = {**about, "norm": shown}
    large = candidate.large_tensors()
    held, notes = with_our_epsilon(content.arrays(candidate, hollow=large), norms)
    found = read_state_dict(held, **about)
    found = _as_pickled(found, candidate, notes)
    not_used = large & {*found.ignored}
    used = sorted(large - not_used)
    named = {id(held[name]): name for name in used if held[name].ndim > 1}
    kept = {key: named.get(id(array)) for key, array in found.arrays.items() if key not in not_used}
    if {*used} - {*kept.values()}:  # a value that decides something, or that others are computed from
        whole, _ = with_our_epsilon(content.arrays(candidate), norms)
        return _as_pickled(read_state_dict(whole, **about), candidate, notes)
    real = content.arrays(candidate, used)
    found = replace(found, arrays={key: real[name] if name else found.arrays[key] for key, name in kept.items()})
    check_read_values(found)
    return found


def _as_pickled(found: ReadStateDict, candidate: Candidate, notes: tuple[str, ...]) -> ReadStateDict:
    """Return a network with notes, and with what its module shows if it is a pickled one.

    Only the concatenations are left if the module has layers that compute something else than a DenseNet's.
    """
    found = replace(found, notes=(*found.notes, *notes))
    if isinstance(spec := found.spec, ConcatSpec) or not candidate.modules:
        return found
    shapes = {name: entry.shape for name, entry in candidate.tensors.items() if isinstance(entry, Entry)}
    others, shown = examine_parts(candidate.modules, shapes, found.ignored, spec)
    if others and not isinstance(spec, DenseNetSpec):
        raise CheckpointError(f"{others}: save its state_dict() to see the cost of the {spec.title} without them")
    if others:
        return replace(found, spec=as_concatenations(spec, others))
    return replace(found, assumed=without(found.assumed, shown))


def _others(content: FileContent, taken: Candidate, other_weights: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of what else is in the file, except the sets of weights."""
    weights = {name.split(".", 1)[0] for name in (taken.name, *other_weights)}
    weights |= {own.name for own in content.candidates if own.tensors and _is_part(own, taken)}
    return tuple(other for other in content.others if other.split(" (", 1)[0] not in weights)


def _is_part(own: Candidate, taken: Candidate) -> bool:
    """Return whether a mapping was read together with another: under its own name."""
    return {f"{own.name.rpartition('.')[2]}.{key}" for key in own.tensors} <= taken.tensors.keys()
