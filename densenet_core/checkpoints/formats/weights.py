"""Choose which of a file's mappings of tensors is the network."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TypeVar

from densenet_core.checkpoints.formats.content import Candidate, Entry, FileContent, ModuleFacts
from densenet_core.errors import CheckpointError, SeveralNetworksError, reworded

T = TypeVar("T")
USUAL_NAMES = ("", "state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module")
_AVERAGED = {"ema", "swa", "averaged", "average", "avg", "shadow", "polyak"}
_NO_NETWORK = {"optimizer", "optim", "scheduler", "scaler", "grads", "gradients"}
_MAX_HEAD = 20  # tensors of a head
MAX_TRIED, MAX_TRIED_TENSORS = 25, 8_000  # mappings that are tried where none is named, and their tensors
_LISTED = 6


def choose(
    content: FileContent, weights: str | None, read: Callable[[Candidate], T]
) -> tuple[T, Candidate, tuple[str, ...]]:
    """Return the network of a file as ``read`` returns it, its mapping, and the names of the other mappings.

    The mapping that is a network is chosen. Averaged weights (EMA, SWA) are chosen only if there are no plain ones, or
    if ``weights`` names them.

    Args:
        weights: the name of the mapping, or the first part of its tensors' names; by default as above.

    Raises:
        SeveralNetworksError: several mappings are networks.
        CheckpointError: no mapping is a network, or none has the name ``weights``.
    """
    candidates = _separate_averages([candidate for candidate in content.candidates if candidate.tensors])
    if weights is not None:
        taken = _find(candidates, weights)
        return read(taken), taken, _names(candidates, taken)
    if not candidates:
        return (
            read(replace(content.candidates[0])),
            content.candidates[0],
            (),
        )  # raises an error that names what is missing
    plain = [candidate for candidate in candidates if not is_averaged(candidate.name)]
    found: list[tuple[T, Candidate]] = []
    problems: list[CheckpointError] = []
    tried = _largest(_likely(plain or candidates))
    for candidate in tried:
        try:
            found.append(_read_whole(candidate, candidates, read))
        except CheckpointError as error:
            problems.append(error)
    if not found:
        raise _of_the_largest(problems[0], tried)
    result, taken = _only(found)
    return result, taken, _names(candidates, taken)


def _read_whole(
    body: Candidate, candidates: Sequence[Candidate], read: Callable[[Candidate], T]
) -> tuple[T, Candidate]:
    """Read a mapping together with the linear layers of the mapping beside it, if it has none of its own."""
    whole = _with_head(body, candidates)
    if whole is not None:
        try:
            return read(whole), whole
        except CheckpointError:  # they do not belong together
            pass
    return read(body), body


def _with_head(body: Candidate, candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the only body beside the only head, such as "backbone" and "head", as one mapping."""
    beside = [c for c in candidates if c.name.rpartition(".")[0] == body.name.rpartition(".")[0]]
    heads = [c for c in beside if 2 in c.dims and max(c.dims) == 2 and len(c.tensors) <= _MAX_HEAD]
    bodies = [c for c in beside if max(c.dims, default=0) > 2]
    if len(bodies) != 1 or bodies[0] is not body or len(heads) != 1 or 2 in body.dims:
        return None
    tensors: dict[str, Entry | str] = {}
    modules = dict[str, ModuleFacts]()
    for part in (body, *heads):
        prefix = part.name.rpartition(".")[2] + "." if part.name else ""
        tensors |= {f"{prefix}{key}": entry for key, entry in part.tensors.items()}
        modules |= {f"{prefix}{name}".removesuffix("."): facts for name, facts in part.modules.items()}
    return replace(body, tensors=tensors, modules=modules)


def is_averaged(name: str) -> bool:
    """Return whether a mapping's name says that its weights are averages over training."""
    return bool(_AVERAGED & set(re.split(r"[._\d-]+", name.lower())))


def _likely(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the mappings that may be networks: with kernels, not an optimizer's state, nor much smaller than the
    largest."""
    kept = [c for c in candidates if not _NO_NETWORK & set(re.split(r"[._]+", c.name.lower()))] or list(candidates)
    kept = [c for c in kept if max(c.dims, default=2) > 1] or kept
    most = max(len(candidate.tensors) for candidate in kept)
    return [candidate for candidate in kept if 4 * len(candidate.tensors) >= most]


def _largest(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the largest mappings, and of many only those that are tried in a few seconds."""
    ordered = sorted(candidates, key=lambda candidate: -len(candidate.tensors))
    together = accumulate(len(candidate.tensors) for candidate in ordered)
    within = [c for c, number in zip(ordered, together, strict=True) if number <= MAX_TRIED_TENSORS]
    return within[:MAX_TRIED] or ordered[:1]


def _separate_averages(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Split averaged weights that are mixed with plain ones (Lightning's ``ema_model.``) into their own mapping."""
    found = []
    for candidate in candidates:
        averaged: dict[str, list[str]] = {}
        for key in candidate.tensors:
            first = key.split(".", 1)[0]
            if first != key and is_averaged(first):
                averaged.setdefault(first, []).append(key)
        hidden = {key for keys in averaged.values() for key in keys}
        plain = {key: entry for key, entry in candidate.tensors.items() if key not in hidden}
        if not hidden or len(plain) < len(hidden) / 2:
            found.append(candidate)
            continue
        found.append(replace(candidate, tensors=plain))
        for first, keys in averaged.items():
            name = f"{candidate.name}.{first}" if candidate.name else first
            found.append(Candidate(name, {key: candidate.tensors[key] for key in keys}))
    return found


def _find(candidates: Sequence[Candidate], weights: str) -> Candidate:
    """Return the mapping with this name, or a name that begins or ends with it, or the tensors named so."""
    same = [c for c in candidates if c.name == weights] or [
        c for c in candidates if c.name.endswith(f".{weights}") or c.name.startswith(f"{weights}.")
    ]
    if len(same) == 1:
        return same[0]
    prefix = weights.rstrip(".") + "."
    parts = [
        Candidate(weights, {key: entry for key, entry in c.tensors.items() if key.startswith(prefix)})
        for c in candidates
    ]
    parts = [part for part in parts if part.tensors]
    if len(parts) == 1 and not same:
        return parts[0]
    names = [c.name for c in candidates if c.name]
    beginnings = sorted({key.split(".", 1)[0] for c in candidates for key in c.tensors if "." in key})
    raise CheckpointError(
        f"the file holds {'several' if same or parts else 'no'} weights named {weights!r}: it holds "
        f"{_join_names(names or beginnings) or 'one network without a name'}"
    )


def _only(found: list[tuple[T, Candidate]]) -> tuple[T, Candidate]:
    """Return the only network; of copies (the same tensor names), the one with a usual name."""
    if len(found) > 1:
        usual = [pair for pair in found if pair[1].name.rpartition(".")[2] in USUAL_NAMES]
        are_copies = all(pair[1].tensors.keys() == found[0][1].tensors.keys() for pair in found)
        found = usual if len(usual) == 1 and are_copies else found
    if len(found) > 1:
        raise SeveralNetworksError([candidate.name for _, candidate in found])
    return found[0]


def _of_the_largest(problem: CheckpointError, tried: Sequence[Candidate]) -> CheckpointError:
    if len(tried) == 1 or isinstance(problem, SeveralNetworksError):
        return problem
    return reworded(
        problem, f"none of its sets of weights ({_join_names([c.name for c in tried])}) is a network: {problem}"
    )


def _names(candidates: Sequence[Candidate], taken: Candidate) -> tuple[str, ...]:
    """Return the names of the other mappings that may be networks."""
    return tuple(
        c.name for c in _likely(candidates) if c.name != taken.name and not taken.name.startswith(f"{c.name}.")
    )


def _join_names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:100]) for name in names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"
