"""Every mapping of tensors that a pickle holds, at any depth: each may be the network.

A whole module (``torch.save(model)``) is one too: the parameters and buffers of its inert objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..limits import MAX_DEPTH, MAX_LISTED, MAX_NAME, MAX_TENSORS
from .objects import NumpyArray, Tensor, Unreadable
from .output import Refused
from .unpickle import Inert

TENSORS = (Tensor, NumpyArray, Unreadable)
_FEW = 4  # a mapping of fewer tensors is part of a nested one, if there are more


class Candidate(NamedTuple):
    """A mapping of tensors: where it lies in the file, and the class of the module that it is."""

    name: str  # keys joined by dots; "" for the whole file
    tensors: dict[str, Any]
    made_by: str = ""


class Contents:
    """The candidates of a pickle, the names of what else it holds, and the class of its outermost object."""

    def __init__(self, kind: str) -> None:
        self.candidates: list[Candidate] = []
        self.others: list[str] = []
        self.kind = kind


def contents(root: Any) -> Contents:
    """Look through a pickle's outermost object."""
    found = Contents(_kind(root))
    seen = set[int]()
    waiting = [("", root, 0)]
    while waiting:
        name, value, depth = waiting.pop()
        if id(value) in seen or depth > MAX_DEPTH:
            continue
        seen.add(id(value))
        if isinstance(value, Inert) and (modules := _module_state(value)) is not None:
            found.candidates.append(Candidate(name, _flattened(modules), value.name))
            continue
        children = list(_children(value))
        own = {key: child for key, child in children if isinstance(child, TENSORS)}
        if own:
            found.candidates.append(Candidate(name, own))
        nested = [(f"{name}.{key}" if name else key, child, depth + 1) for key, child in children if key not in own]
        waiting += reversed(nested)
        if depth == 0 and isinstance(root, dict):
            found.others = [_described(key, child) for key, child in children if key not in own][:MAX_LISTED]
    _join_nested(found)
    return found


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """The named parts of a container; a number as a key names an optimizer's state, not a tensor of the network."""
    if isinstance(value, Inert):
        state = value.state
        if isinstance(state, tuple) and len(state) == 2:  # (state, slots)
            state = state[0]
        yield from _children(value.items)
        yield from _children(state if isinstance(state, dict) else {})
        if isinstance(value.args, tuple):
            yield from ((str(place), arg) for place, arg in enumerate(value.args) if isinstance(arg, (dict, Inert)))
    elif isinstance(value, dict):
        for key, child in value.items():
            if isinstance(key, str):
                yield key, _named(child)
    elif isinstance(value, (list, tuple)):
        yield from ((str(place), child) for place, child in enumerate(value) if isinstance(child, (dict, Inert)))


def _named(value: Any) -> Any:
    """Paddle stores a tensor as (its name, the array)."""
    is_pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)
    return value[1] if is_pair and isinstance(value[1], NumpyArray) else value


def _module_state(value: Inert) -> dict[str, Any] | None:
    state = value.state
    return state if isinstance(state, dict) and isinstance(_pairs(state.get("_modules")), dict) else None


def _pairs(value: Any) -> Any:
    """A dictionary's items, whichever class it was made by."""
    return value.items if isinstance(value, Inert) and value.items else value


def _flattened(root: dict[str, Any]) -> dict[str, Any]:
    """A module's state dict: the parameters and persistent buffers of it and of the modules in it."""
    tensors: dict[str, Any] = {}
    waiting = [("", root, 0)]
    while waiting:
        prefix, state, depth = waiting.pop()
        if depth > MAX_DEPTH or len(tensors) > MAX_TENSORS or len(prefix) > MAX_NAME:
            raise Refused("its modules are nested more deeply, or are more, than those of any network")
        transient = state.get("_non_persistent_buffers_set") or ()
        transient = {key for key in transient if isinstance(key, str)} if isinstance(transient, list) else set()
        for group in ("_parameters", "_buffers"):
            held = _pairs(state.get(group))
            for key, value in held.items() if isinstance(held, dict) else ():
                if isinstance(value, TENSORS) and key not in transient:
                    tensors[f"{prefix}{key}"] = value
        modules = _pairs(state.get("_modules"))
        children = list(modules.items()) if isinstance(modules, dict) else []
        for key, child in reversed(children):
            inner = child.state if isinstance(child, Inert) else None
            if isinstance(inner, dict):
                waiting.append((f"{prefix}{key}.", inner, depth + 1))
    return tensors


def _join_nested(found: Contents) -> None:
    """Where no mapping has more than a few tensors, together they are one nested state dict."""
    total = sum(len(candidate.tensors) for candidate in found.candidates)
    if len(found.candidates) < 2 or any(len(c.tensors) > _FEW for c in found.candidates) or total <= _FEW:
        return
    joined = {
        f"{candidate.name}.{key}" if candidate.name else key: value
        for candidate in found.candidates
        for key, value in candidate.tensors.items()
    }
    found.candidates = [Candidate("", joined)]


def _described(key: str, value: Any) -> str:
    return f"{key[:100]} ({value.name[:100]})" if isinstance(value, Inert) else key[:100]


def _kind(value: Any) -> str:
    """What to call an object in a sentence."""
    if isinstance(value, Inert):
        return value.name[:200]
    return {Tensor: "Tensor", Unreadable: "Tensor", NumpyArray: "numpy array"}.get(type(value), type(value).__name__)
