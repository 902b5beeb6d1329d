"""Every mapping of tensors in a pickle, at any depth: each may be the network.

A whole module (``torch.save(model)``) counts as one: the parameters and buffers of its inert objects.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ..limits import MAX_DEPTH, MAX_LISTED, MAX_NAME, MAX_TENSORS
from .containers import is_positional, is_tensor, parts
from .objects import NumpyArray, Quantized, Tensor
from .output import Refused
from .unpickle import Global, Inert

_FEW = 5  # mappings of at most this many tensors are parts of a nested one
_MASKS = re.compile(r"(?:.*_)?masks?", re.IGNORECASE)  # a sequence of masks, in the order of the weights
_BUFFERS = {"running_mean", "running_var", "num_batches_tracked"}
MAX_AXES = 3  # of a kernel
_MAX_WORD = 20  # characters of a setting
_SETTINGS = (
    "kernel_size", "stride", "padding", "dilation", "padding_mode", "ceil_mode", "divisor_override", "output_size",
)  # fmt: skip
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_MAX_PACKED = 50  # parts of a quantized layer
_PACKED = "_packed_params"  # the weight and bias of a layer that torch quantized


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
    found, unnamed = Contents(_kind(root)), list[Candidate]()
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
        children = parts(value)
        own = {key: child for key, child in children if is_tensor(child)}
        nested = [(key, child) for key, child in children if key not in own]
        _unpack(own, nested)
        if own:
            is_unnamed = is_positional(own) and not _MASKS.fullmatch(name.rpartition(".")[2])
            (unnamed if is_unnamed else found.candidates).append(Candidate(name, own))
        waiting += [(f"{name}.{key}" if name else key, child, depth + 1) for key, child in reversed(nested)]
        if depth == 0 and isinstance(root, dict):
            others = [key for key, part in root.items() if isinstance(key, str) and part is not None]
            others = [key for key in others if key not in own and f".{_PACKED}" not in key]
            found.others = [_describe(key, root[key]) for key in others[:MAX_LISTED]]
    _join_nested(found)
    _join_buffers(found)
    found.candidates = found.candidates or [own for own in unnamed if len(own.tensors) > _FEW]
    return found


def _unpack(own: dict[str, Any], nested: list[tuple[str, Any]]) -> None:
    """Move the weights of quantized layers, which are stored as (weight, bias), to the tensors."""
    for key, value in [(key, value) for key, value in nested if key.rpartition(".")[2] == _PACKED]:
        if own and isinstance(value, tuple) and (held := _packed(value)):
            nested.remove((key, value))
            own |= {f"{key.removesuffix(_PACKED).removesuffix(_PACKED + '.')}{part}": t for part, t in held.items()}


def _packed(value: Any) -> dict[str, Any]:
    """Return the weight and the bias of a quantized layer, which are nested in tuples and lists."""
    found: dict[str, Any] = {}
    waiting = [value]
    for _ in range(_MAX_PACKED):
        part = waiting.pop() if waiting else None
        if isinstance(part, (list, tuple)) and not is_tensor(part):
            waiting += part[::-1]
        elif isinstance(part, Quantized) or (isinstance(part, Tensor) and len(part.shape) > 1):
            found.setdefault("weight", part)
        elif isinstance(part, Tensor) and part.dtype != "I16":  # which holds strides and paddings
            found.setdefault("bias", part)
    return found


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
            raise Refused("its modules are nested more deeply, or are more, than any network's")
        transient = state.get("_non_persistent_buffers_set") or ()
        transient = {key for key in transient if isinstance(key, str)} if isinstance(transient, list) else set()
        for group in ("_parameters", "_buffers"):
            held = _pairs(state.get(group))
            for key, value in held.items() if isinstance(held, dict) else ():
                if is_tensor(value) and key not in transient:
                    tensors[f"{prefix}{key}"] = value
        if isinstance(packed := state.get(_PACKED), Inert):
            outer = prefix.removesuffix(f"{_PACKED}.")
            tensors |= {f"{outer}{part}": held for part, held in _packed(packed.state).items()}
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
    has_statistics = isinstance(buffers, dict) and is_tensor(buffers.get("running_var"))
    numbers = groups if isinstance(groups, int) else 0, epsilon if isinstance(epsilon, float) else None
    return [class_name[:MAX_NAME], *numbers, has_statistics, _settings(state)]


def _settings(state: dict[str, Any]) -> dict[str, Any]:
    """Return a module's settings, with a list for those along axes; "own" is code that its class does not have."""
    found = {name: _plain(state[name]) for name in _SETTINGS if name in state}
    hooks = [_pairs(state.get(name)) for name in _HOOKS]
    if "forward" in state:
        found["own"] = "a forward function"
    elif any(isinstance(own, dict) and any(map(_is_foreign, own.values())) for own in hooks):
        found["own"] = "hooks"
    return found


def _plain(value: Any) -> list[int] | str | bool | None:
    """Return a setting: numbers as a list of one for each axis, and anything unknown as text."""
    if value is None or isinstance(value, bool):
        return value
    sides = [value] if type(value) is int else value
    if isinstance(sides, (tuple, list)) and len(sides) <= MAX_AXES and all(type(side) is int for side in sides):
        return [*sides]
    return str(value)[:_MAX_WORD] if isinstance(value, (str, float)) else "another"


def _is_foreign(hook: Any) -> bool:
    """Return whether a hook is not one of torch's, which compute weights that are read from their parts."""
    return not (isinstance(hook, (Inert, Global)) and hook.name.startswith("torch.nn.utils."))


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


def _join_buffers(found: Contents) -> None:
    """Join the running statistics of norms to the mapping beside them that holds the weights of the same norms."""
    buffers = [c for c in found.candidates if {key.rpartition(".")[2] for key in c.tensors} <= _BUFFERS]
    for own in buffers:
        norms = {key.rpartition(".")[0] for key in own.tensors}
        beside = [c for c in found.candidates if c.name.rpartition(".")[0] == own.name.rpartition(".")[0]]
        fitting = [c for c in beside if c is not own and norms <= {key.rpartition(".")[0] for key in c.tensors}]
        joined = {c.name: c._replace(tensors={**c.tensors, **own.tensors}) for c in fitting}
        if joined:
            found.candidates = [joined.get(c.name, c) for c in found.candidates if c is not own]
            found.others = [other for other in found.others if other != own.name]


def _describe(key: str, value: Any) -> str:
    return f"{key[:100]} ({value.name[:100]})" if isinstance(value, Inert) else key[:100]


def _kind(value: Any) -> str:
    """Return what to call an object in a sentence."""
    if isinstance(value, Inert):
        return value.name[:200]
    if isinstance(value, NumpyArray):
        return "numpy array"
    return "Tensor" if is_tensor(value) else type(value).__name__
