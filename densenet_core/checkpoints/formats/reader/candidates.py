"""Every mapping of tensors in a pickle, at any depth: each may be the network.

A whole module (``torch.save(model)``) counts as one: the parameters and buffers of its inert objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..limits import MAX_DEPTH, MAX_LISTED, MAX_NAME, MAX_TENSORS
from .objects import NumpyArray, Tensor, Unreadable
from .output import Refused
from .unpickle import Inert

TENSORS = (Tensor, NumpyArray, Unreadable)
_FEW = 4  # mappings of at most this many tensors are parts of a nested one


class Candidate(NamedTuple):
    """A mapping of tensors: its place in the file, and the class of the module if it is one."""

    name: str  # keys joined by dots; "" for the whole file
    tensors: dict[str, Any]
    made_by: str = ""
    modules: dict[str, list[Any]] = {}  # noqa: RUF012 (never changed)


class Contents:
    """The candidates of a pickle, the names of its other content, and the class of its outermost object."""

    def __init__(self, kind: str) -> None:
        self.candidates: list[Candidate] = []
        self.others: list[str] = []
        self.kind = kind


def contents(root: Any) -> Contents:
    """Search a pickle's outermost object for mappings of tensors."""
    found = Contents(_kind(root))
    seen = set[int]()
    waiting = [("", root, 0)]
    while waiting:
        name, value, depth = waiting.pop()
        if id(value) in seen or depth > MAX_DEPTH:
            continue
        seen.add(id(value))
        if isinstance(value, Inert) and (modules := _module_state(value)) is not None:
            found.candidates.append(Candidate(name, *_flatten(modules, value.name)))
            continue
        children = list(_children(value))
        own = {key: child for key, child in children if isinstance(child, TENSORS)}
        if own:
            found.candidates.append(Candidate(name, own))
        nested = [(f"{name}.{key}" if name else key, child, depth + 1) for key, child in children if key not in own]
        waiting += reversed(nested)
        if depth == 0 and isinstance(root, dict):
            found.others = [_describe(key, child) for key, child in children if key not in own][:MAX_LISTED]
    _join_nested(found)
    return found


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the named parts of a container; numeric keys belong to an optimizer's state, not to a network."""
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
                yield key, _unwrap(child)
    elif isinstance(value, (list, tuple)):
        yield from ((str(place), child) for place, child in enumerate(value) if isinstance(child, (dict, Inert)))


def _unwrap(value: Any) -> Any:
    """Unwrap Paddle's tensors, which are stored as (name, array)."""
    is_pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)
    return value[1] if is_pair and isinstance(value[1], NumpyArray) else value


def _module_state(value: Inert) -> dict[str, Any] | None:
    state = value.state
    return state if isinstance(state, dict) and isinstance(_pairs(state.get("_modules")), dict) else None


def _pairs(value: Any) -> Any:
    """Return a dictionary's items, whatever its class."""
    return value.items if isinstance(value, Inert) and value.items else value


def _flatten(root: dict[str, Any], made_by: str) -> tuple[dict[str, Any], str, dict[str, list[Any]]]:
    """Return a module's state dict (the parameters and persistent buffers of it and its submodules), its class, and
    the facts about every submodule, by name: class, groups, epsilon, whether it has running statistics."""
    tensors: dict[str, Any] = {}
    found: dict[str, list[Any]] = {}
    waiting = [("", root, made_by, 0)]
    while waiting:
        prefix, state, class_name, depth = waiting.pop()
        if depth > MAX_DEPTH or max(len(tensors), len(found)) > MAX_TENSORS or len(prefix) > MAX_NAME:
            raise Refused("its modules are nested more deeply, or are more, than those of any network")
        transient = state.get("_non_persistent_buffers_set") or ()
        transient = {key for key in transient if isinstance(key, str)} if isinstance(transient, list) else set()
        for group in ("_parameters", "_buffers"):
            held = _pairs(state.get(group))
            for key, value in held.items() if isinstance(held, dict) else ():
                if isinstance(value, TENSORS) and key not in transient:
                    tensors[f"{prefix}{key}"] = value
        found[prefix[:-1]] = _facts(class_name, state)
        modules = _pairs(state.get("_modules"))
        children = list(modules.items()) if isinstance(modules, dict) else []
        for key, child in reversed(children):
            inner = child.state if isinstance(child, Inert) else None
            if isinstance(inner, dict):
                waiting.append((f"{prefix}{key}.", inner, child.name, depth + 1))
    return tensors, made_by, found


def _facts(class_name: str, state: dict[str, Any]) -> list[Any]:
    groups, epsilon, buffers = state.get("num_groups"), state.get("eps"), _pairs(state.get("_buffers"))
    has_statistics = isinstance(buffers, dict) and isinstance(buffers.get("running_var"), TENSORS)
    numbers = groups if isinstance(groups, int) else 0, epsilon if isinstance(epsilon, float) else None
    return [class_name[:MAX_NAME], *numbers, has_statistics]


def _join_nested(found: Contents) -> None:
    """Join the mappings into one nested state dict if none of them has more than a few tensors."""
    total = sum(len(candidate.tensors) for candidate in found.candidates)
    if len(found.candidates) < 2 or any(len(c.tensors) > _FEW for c in found.candidates) or total <= _FEW:
        return
    joined = {
        f"{candidate.name}.{key}" if candidate.name else key: value
        for candidate in found.candidates
        for key, value in candidate.tensors.items()
    }
    found.candidates = [Candidate("", joined)]


def _describe(key: str, value: Any) -> str:
    return f"{key[:100]} ({value.name[:100]})" if isinstance(value, Inert) else key[:100]


def _kind(value: Any) -> str:
    """Return what to call an object in a sentence."""
    if isinstance(value, Inert):
        return value.name[:200]
    return {Tensor: "Tensor", Unreadable: "Tensor", NumpyArray: "numpy array"}.get(type(value), type(value).__name__)
