"""The named parts of a container in a pickle: of mappings, objects, and lists of names and tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .objects import NumpyArray, Quantized, Tensor, Unreadable
from .unpickle import Inert, Key

Parts = list[tuple[str, Any]]
_HOLDERS = (dict, list, tuple, Inert, NumpyArray, Tensor, Quantized, Unreadable)
_OPTIMIZER = "param_groups"  # a mapping with this key is the state of an optimizer


def is_tensor(value: Any) -> bool:
    """Return whether a value is a tensor; numpy's arrays of objects are containers."""
    is_array = isinstance(value, NumpyArray) and not isinstance(value.content, list)
    return is_array or isinstance(value, (Tensor, Quantized, Unreadable))


def parts(value: Any) -> Parts:
    """Return the tensors and containers that a container holds, by name; parts of a sequence are named by number."""
    return [(name, part) for name, part in _named_by_lists(_all_parts(value)) if _is_part(part)]


def is_positional(names: Iterable[str]) -> bool:
    """Return whether all names are numbers: the places of tensors in a sequence."""
    return all(name.isdecimal() for name in names)


def _is_sequence(value: Any) -> bool:
    """Return whether a value is a list or tuple, and none of the tuples that stand for tensors."""
    return isinstance(value, (list, tuple)) and not is_tensor(value)


def _is_part(value: Any) -> bool:
    if _is_sequence(value):  # others than those that only hold numbers or names, which may be many
        return any(isinstance(part, _HOLDERS) for part in value)
    return isinstance(value, _HOLDERS)


def _all_parts(value: Any) -> Parts:
    if isinstance(value, dict):
        return [] if _OPTIMIZER in value else [*_of_mapping(value)]
    if _is_sequence(value):
        return _of_sequence(value)
    if isinstance(value, NumpyArray):
        return _of_object_array(value)
    return _of_object(value) if isinstance(value, Inert) else []


def _of_mapping(mapping: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        path = key.value if isinstance(key, Key) and isinstance(key.value, tuple) else ()
        if type(key) in (str, int):
            yield str(key), _unwrap(value)
        elif path and all(isinstance(part, str) for part in path):
            yield ".".join(path), _unwrap(value)


def _unwrap(value: Any) -> Any:
    """Unwrap Paddle's tensors, which are stored as (name, array)."""
    is_pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)
    return value[1] if is_pair and isinstance(value[1], NumpyArray) else value


def _of_sequence(values: list[Any] | tuple[Any, ...]) -> Parts:
    """Return what the parts of a sequence name themselves: each is a name and a tensor, or they have numbers."""
    named = [pair for value in values if (pair := _pair(value))]
    if len(named) == len(values) == len({name for name, _ in named}):
        return named
    return [(str(number), value) for number, value in enumerate(values) if isinstance(value, _HOLDERS)]


def _pair(value: Any) -> tuple[str, Any] | None:
    """Return the only name and the only tensor of a sequence or mapping, such as (name, tensor); or (name, mapping)."""
    held = value.values() if isinstance(value, dict) else value if _is_sequence(value) else ()
    if not 2 <= len(held) <= 8:
        return None
    names, tensors = [part for part in held if isinstance(part, str)], [part for part in held if is_tensor(part)]
    if len(held) == 2 and not tensors and not isinstance(value, dict):
        tensors = [part for part in held if isinstance(part, (dict, Inert))]
    return (names[0], tensors[0]) if len(names) == len(tensors) == 1 else None


def _of_object_array(array: NumpyArray) -> Parts:
    if not isinstance(array.content, list):
        return []
    if array.shape == () and len(array.content) == 1:
        return _all_parts(array.content[0])
    if len(array.shape) == 2 and array.shape[1] > 1:
        rows = range(0, len(array.content), array.shape[1])
        return _of_sequence([array.content[row : row + array.shape[1]] for row in rows])
    return _of_sequence(array.content)


def _of_object(value: Inert) -> Parts:
    """Return the items, entries, attributes and arguments of an object."""
    states = value.state if isinstance(value.state, tuple) and len(value.state) == 2 else (value.state,)
    found = [part for held in (value.items, *states) if isinstance(held, dict) for part in _all_parts(held)]
    attributes = value.state if isinstance(value.state, list) else ()  # of a frozen dataclass with slots
    for label, sequence in (("entries", value.entries), ("args", value.args), ("state", attributes)):
        if isinstance(sequence, (list, tuple)) and (own := _of_sequence(sequence)):
            used = {name for name, _ in found}
            found += [(f"{label}.{name}" if name in used else name, part) for name, part in own]
    return found


def _named_by_lists(found: Parts) -> Parts:
    """Replace a sequence of tensors by a mapping if one sequence beside it has as many names."""
    lists = [(key, value) for key, value in found if _is_sequence(value) and len(value) > 1]
    names = [(key, value) for key, value in lists if all(isinstance(part, str) for part in value)]
    if not names:
        return found
    by_length: dict[int, list[list[str]]] = {}
    for _, own in names:
        by_length.setdefault(len(own), []).append(own)
    joined = dict(found)
    for key, value in lists:
        fitting = by_length.get(len(value), [])
        if len(fitting) == 1 and all(is_tensor(part) for part in value) and len({*fitting[0]}) == len(value):
            joined[key] = dict(zip(fitting[0], value, strict=True))
    return list(joined.items())
