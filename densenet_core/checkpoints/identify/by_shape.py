"""A DenseNet found in a state dict of unknown names: its convolutions by their shapes, its batch norms by theirs.

A norm goes to the convolution that it stands before: by width, then by the beginning of their names, then by their
order. Where a layer's two norms have the same width, the running statistics know which stands first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from densenet_core.arrays import Array
from densenet_core.checkpoints.identify.concat_order import ORDERS, num_agreeing
from densenet_core.checkpoints.identify.shape_search import Shapes, Structure, find_convolutions, num_common

MOST_PAIRS = 250_000  # of norms and the weights that they may belong to
_NORM = ("weight", "bias", "running_mean", "running_var")


def find_structure(shapes: Shapes, is_in_order: bool = False) -> Structure:
    """The places of a DenseNet's layers.

    Args:
        is_in_order: the tensors stand in the order in which they are used: their names need not tell.

    Raises:
        CheckpointError: the convolutions are those of no DenseNet, or can be read in two ways.
    """
    if not is_in_order:
        shapes = {key: shapes[key] for key in _in_order(list(shapes))}
    return _with_norms(find_convolutions(shapes), shapes, is_in_order)


def _in_order(keys: list[str]) -> list[str]:
    """The file's order; where the file sorts its names, numbers count as numbers."""
    if keys != sorted(keys):
        return keys
    return sorted(
        keys, key=lambda key: [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in _parts(key)]
    )


def _parts(key: str) -> list[str]:
    return re.findall(r"\d{1,9}|[^\d._/]+", key)


def _with_norms(found: Structure, shapes: Shapes, is_in_order: bool) -> Structure:
    """The same with the batch norms at their places: all of them, or none where they do not stand before readers."""
    demands = list(_normalised(found, shapes))
    norms = [key.removesuffix(".running_mean") for key in shapes if key.endswith(".running_mean")]
    norms = [norm for norm in norms if all(f"{norm}.{part}" in shapes for part in _NORM)]
    matched: dict[str, str] = {}
    stem = found.stem[-1]
    for width in {width for _, width in demands}:
        of_width = [norm for norm in norms if shapes[f"{norm}.weight"] == (width,)]
        wanting = [key for key, w in demands if w == width]
        has_stem = width == stem.outputs and len(of_width) > len(wanting)
        matched |= _match([stem.key] * has_stem + wanting, of_width, is_in_order)
    matched |= dict.fromkeys(found.heads, matched.get(found.heads[0], ""))  # all heads read the same
    found = replace(found, norms=matched if all(matched.get(key) for key, _ in demands) else {})
    placed = set(found.renamed())
    return replace(found, rest=tuple(key for key in shapes if key.rsplit(".", 1)[0] not in placed))


def _normalised(found: Structure, shapes: Shapes) -> Iterator[tuple[str, int]]:
    """The weights that a norm stands before, and its width."""
    for block, layers in enumerate(found.blocks):
        for convs in layers:
            yield convs[0].key, convs[0].inputs
            yield from ((second.key, first.outputs) for first, second in pairwise(convs))
        yield from ((conv.key, conv.inputs) for conv in found.transitions[block : block + 1])
    yield found.heads[0], shapes[found.heads[0]][1]


def _match(keys: Sequence[str], norms: Sequence[str], is_in_order: bool) -> dict[str, str]:
    """Norms of one width to the weights that need one: by the beginning of their names, then by their order."""
    from scipy.optimize import linear_sum_assignment

    if len(norms) < len(keys) or len(norms) * len(keys) > MOST_PAIRS:
        return {}
    far = 0 if is_in_order else len(norms) + 1
    key_parts, norm_parts = [key.split(".") for key in keys], [norm.split(".") for norm in norms]
    cost = [[abs(i - j) - far * num_common(a, b) for j, b in enumerate(norm_parts)] for i, a in enumerate(key_parts)]
    return {keys[i]: norms[j] for i, j in zip(*linear_sum_assignment(cost), strict=True)}


def with_settled_norms(structure: Structure, tensors: Mapping[str, Array]) -> Structure:
    """The same with such norms in each other's places where that agrees better with the next layer's statistics."""
    norms = dict(structure.norms)
    for first, second, behind in _doubtful(structure):
        agreeing = [
            max(num_agreeing(tensors, norms[key], norms[behind], order) for order in ORDERS) for key in (first, second)
        ]
        if agreeing[1] > agreeing[0]:
            norms[first], norms[second] = norms[second], norms[first]
    return replace(structure, norms=norms)


def _doubtful(structure: Structure) -> Iterator[tuple[str, str, str]]:
    """Both weights of a layer whose norms are as wide as each other, and the weight of the block's next reader."""
    if not structure.norms:
        return
    readers = {(block, layer): key for block, layer, key in structure.readers()}
    for block, layers in enumerate(structure.blocks, start=1):
        for layer, convs in enumerate(layers, start=1):
            if len(convs) == 2 and convs[0].inputs == convs[0].outputs:
                yield convs[0].key, convs[1].key, readers[block, layer + 1]
