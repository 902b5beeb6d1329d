"""Masks that a file holds in a mapping of their own, as of lottery tickets: put beside the weights they belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from densenet_core.checkpoints.formats.content import Candidate, Entry

_MASKS = re.compile(r"(?:.*[._])?masks?", re.IGNORECASE)  # the name of a mapping of masks
_WRAPPER = "module."  # of DataParallel
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def with_masks(candidates: tuple[Candidate, ...]) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
    """Return the candidates with each mask in the mapping of its weight, and the names of the mappings of masks.

    ``{"state_dict": ..., "masks": {"conv.weight": mask}}`` becomes one mapping, in which ``conv.weight_mask`` is beside
    ``conv.weight``. Masks may be named as their weights or as the modules of these, or be a sequence in the order of
    all parameters, of all weights of layers, or of all kernels. They must have the shape of a weight each; otherwise
    they stay where they are.
    """
    masks = [each for each in candidates if _MASKS.fullmatch(each.name)]
    networks = [each for each in candidates if each not in masks]
    used: list[str] = []
    for number, network in enumerate(networks):
        for each in masks:
            if beside := _place(each.tensors, network.tensors):
                networks[number] = replace(network, tensors={**network.tensors, **beside})
                used.append(each.name)
    return (*networks, *(each for each in masks if each.name not in used)), tuple(dict.fromkeys(used))


def find_masks(names: tuple[str, ...]) -> list[str]:
    """Return the names that are those of masks."""
    return [name for name in names if _MASKS.fullmatch(name)]


def _place(masks: Mapping[str, Entry | str], weights: Mapping[str, Entry | str]) -> dict[str, Entry | str]:
    """Return the masks under names beside their weights; none if one of them has no weight of its shape."""
    if all(key.isdecimal() for key in masks):
        return _place_in_order(list(masks.values()), weights)
    found: dict[str, Entry | str] = {}
    for key, mask in masks.items():
        plain = key.removeprefix(_WRAPPER)
        names = (f"{prefix}{plain}{part}" for prefix in ("", _WRAPPER) for part in ("", ".weight"))
        weight = next((name for name in names if _shape(weights.get(name)) == _shape(mask) is not None), None)
        if weight is None:
            return {}
        found[f"{weight}_mask"] = mask
    return found


def _place_in_order(masks: list[Entry | str], weights: Mapping[str, Entry | str]) -> dict[str, Entry | str]:
    """Return a sequence of masks under names beside the parameters that have their shapes in the same order."""
    shapes = {name: shape for name, entry in weights.items() if (shape := _shape(entry)) is not None}
    parameters = {name: shape for name, shape in shapes.items() if not name.endswith(_BUFFERS)}
    for min_dims in (0, 2, 3):
        chosen = {name: shape for name, shape in parameters.items() if len(shape) >= min_dims}
        if [*chosen.values()] == [_shape(mask) for mask in masks]:
            return {f"{name}_mask": mask for name, mask in zip(chosen, masks, strict=True)}
    return {}


def _shape(entry: Entry | str | None) -> tuple[int, ...] | None:
    return entry.shape if isinstance(entry, Entry) else None
