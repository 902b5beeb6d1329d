"""Find a DenseNet in a state dict with unknown names: its convolutions and then its norms by their shapes.

A norm is assigned to the convolution that reads its output: by width, then by the common prefix of their names, then by
order. If the two norms of a layer have the same width, the running statistics show which comes first. Each norm is
placed by itself: if one is missing, the others keep their places.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.identify.concat_order import ORDERS, Order, infer_order, num_agreeing
from densenet_core.checkpoints.identify.connectivity import ConcatSpec, ConcatTarget
from densenet_core.checkpoints.identify.shapes.neighbors import num_common
from densenet_core.checkpoints.identify.shapes.shape_search import find_convolutions
from densenet_core.checkpoints.identify.shapes.structure import Reader, Shapes, Structure

MAX_HEAD_LAYERS = 8
MAX_PAIRS = 250_000  # of norms and the weights that they may belong to
STATISTICS = ("running_mean", "running_var")
_PARTS = ("weight", "bias", *STATISTICS, "num_batches_tracked")  # of convolutions, norms and linear layers


def find_structure(shapes: Shapes, is_in_order: bool = False) -> Structure:
    """Find the places of a DenseNet's layers.

    Args:
        is_in_order: the tensors are in the order in which they are used, so names need not match.

    Raises:
        CheckpointError: the convolutions are not a DenseNet's, or can be read in two ways.
    """
    keys = list(shapes)
    is_sorted = not is_in_order and keys == sorted(keys)
    if is_sorted:  # numbers count as numbers
        keys.sort(key=lambda key: [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in _parts(key)])
        shapes = {key: shapes[key] for key in keys}
    return _with_norms(find_convolutions(shapes), shapes, is_in_order, is_sorted)


def norm_names(shapes: Shapes) -> list[str]:
    """Return the modules that scale and shift every feature map by itself, with running statistics or without."""
    norms = [
        key.removesuffix(".weight") for key, shape in shapes.items() if key.endswith(".weight") and len(shape) == 1
    ]
    return [norm for norm in norms if shapes.get(f"{norm}.bias") == shapes[f"{norm}.weight"]]


def _parts(key: str) -> list[str]:
    return re.findall(r"\d{1,9}|[^\d._/]+", key)


def _components(name: str) -> list[str]:
    """Return the components of a module's name, which Keras does not separate by dots."""
    return name.split(".") if "." in name else _parts(name)


def _with_norms(found: Structure, shapes: Shapes, is_in_order: bool, is_sorted: bool) -> Structure:
    """Place each norm before its reader; the norms of a stem behind its convolutions."""
    places = {key: place for place, key in enumerate(shapes)}
    all_norms = _by_width((norm, shapes[f"{norm}.weight"][0]) for norm in norm_names(shapes))
    all_wanting = _by_width(_weights_behind_norms(found, shapes))
    all_stems = _by_width((conv.key, conv.outputs) for conv in found.stem)
    matched: dict[str, str] = {}
    for width in sorted({*all_wanting, *all_stems}):
        of_width, wanting, stems = (each.get(width, []) for each in (all_norms, all_wanting, all_stems))
        spare = min(len(stems), max(0, len(of_width) - len(wanting)))
        pairs = _match([*stems[len(stems) - spare :], *wanting], of_width, places, is_in_order)
        if len(of_width) > len(wanting) + spare and not is_sorted:  # one too many: only norms before their reader
            pairs = {k: norm for k, norm in pairs.items() if k in stems or places[f"{norm}.weight"] < places[k]}
        matched |= pairs
    found = replace(found, heads=_heads_of_block(found.heads, shapes))
    for head in found.heads[1:]:  # all heads read the same maps
        if shapes[head][1] == shapes[found.heads[0]][1] and found.heads[0] in matched:
            matched[head] = matched[found.heads[0]]
    found = replace(found, norms=matched, hidden=_hidden_layers(found.heads, shapes))
    placed = {f"{name}.{part}" for name in found.our_names() for part in _PARTS}
    return replace(found, rest=tuple(key for key in shapes if key not in placed))


def _by_width(names: Iterable[tuple[str, int]]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for name, width in names:
        found.setdefault(width, []).append(name)
    return found


def _heads_of_block(heads: tuple[str, ...], shapes: Shapes) -> tuple[str, ...]:
    """Return the heads that read the last block: one as wide as what it reads is the first layer of an MLP."""
    square = [head for head in heads if shapes[head][0] == shapes[head][1]]
    return tuple(square[:1]) if square else heads


def _hidden_layers(heads: Sequence[str], shapes: Shapes) -> tuple[str, ...]:
    """Return the linear layers that follow a single head, each of which reads what the one before it returns."""
    chain, linear = list(heads), [key for key in shapes if key.endswith("weight") and len(shapes[key]) == 2]
    while len(heads) == 1 and len(chain) < MAX_HEAD_LAYERS:
        behind = [key for key in linear if key not in chain and shapes[key][1] == shapes[chain[-1]][0]]
        if len(behind) != 1:
            break
        chain += behind
    return tuple(chain[1:])


def _weights_behind_norms(found: Structure, shapes: Shapes) -> Iterator[tuple[str, int]]:
    """Yield the weights that a norm may precede, and its width."""
    for block, layers in enumerate(found.blocks):
        for convs in layers:
            yield convs[0].key, convs[0].inputs
            seconds = ((first, second) for first, second in pairwise(convs) if not second.is_pointwise)  # as in RDNet
            yield from ((second.key, first.outputs) for first, second in seconds)
        yield from ((conv.key, conv.inputs) for conv in found.transitions[block : block + 1])
    yield from ((head, shapes[head][1]) for head in found.heads[:1])


def _match(keys: Sequence[str], norms: Sequence[str], places: Mapping[str, int], is_in_order: bool) -> dict[str, str]:
    """Assign norms of one width to the weights that may have one: by the beginning of their names, then by order."""
    from scipy.optimize import linear_sum_assignment

    if len(norms) * len(keys) > MAX_PAIRS or not norms:
        return {}
    is_full = len(norms) >= len(keys)
    ranks = {key: rank for rank, key in enumerate(sorted(keys, key=places.__getitem__))}
    key_places = [ranks[key] if is_full else places[key] for key in keys]
    norm_places = range(len(norms)) if is_full else [places[f"{norm}.weight"] for norm in norms]
    far = 0 if is_in_order else len(places) + 1
    key_parts, norm_parts = [_components(key.removesuffix(".weight")) for key in keys], [*map(_components, norms)]
    common = num_common(key_parts, norm_parts)
    shared = common.min()  # what all names begin with decides nothing
    cost = np.abs(np.subtract.outer(key_places, norm_places)) - far * (common - shared)
    return {keys[i]: norms[j] for i, j in zip(*linear_sum_assignment(cost), strict=True)}


def with_settled_norms(structure: Structure, tensors: Mapping[str, Array]) -> Structure:
    """Exchange a layer's two norms where that agrees better with the statistics of the readers beside the layer."""
    norms = dict(structure.norms)

    def agreeing(narrow: str, wide: str) -> int:
        pair = norms.get(narrow), norms.get(wide)
        if None in pair or not all(f"{norm}.{part}" in tensors for norm in pair for part in STATISTICS):
            return 0
        return max(num_agreeing(tensors, str(pair[0]), str(pair[1]), order) for order in ORDERS)

    for first, second, before, behind in _doubtful(structure):
        if first not in norms or second not in norms:
            continue
        shares = [agreeing(before, key) + agreeing(key, behind) for key in (first, second)]
        if shares[1] > shares[0]:
            norms[first], norms[second] = norms[second], norms[first]
    return replace(structure, norms=norms)


def _doubtful(structure: Structure) -> Iterator[tuple[str, str, str, str]]:
    """Yield both weights of a layer whose norms have the same width, and those of the readers before and behind it."""
    readers = {(reader.block, reader.layer): reader.key for reader in structure.readers() if not reader.first_source}
    for block, layers in enumerate(structure.blocks, start=1):
        for layer, convs in enumerate(layers, start=1):
            if len(convs) == 2 and convs[0].inputs == convs[0].outputs:
                before, behind = (readers.get((block, layer + step), "") for step in (-1, 1))
                yield convs[0].key, convs[1].key, before, behind


def concat_spec(tensors: Mapping[str, Array], structure: Structure, order: Order | None, why: str) -> ConcatSpec:
    """Return who reads whose feature maps; old feature maps come first unless ``order`` is "new_first"."""
    sources = {block: structure.sources(block) for block in _blocks(structure)}
    widths = {block: [width for _, width in own] for block, own in sources.items()}
    targets = tuple(_target(tensors, structure, reader, widths[reader.block], order) for reader in structure.readers())
    names = tuple(tuple(name for name, _ in own) for own in sources.values())
    in_channels = structure.stem[0].inputs if structure.stem else structure.inputs[0]
    heads = [*structure.heads[:1], *structure.hidden]
    num_classes = tensors[heads[-1]].shape[0] if heads else 0
    return ConcatSpec(targets, names, in_channels, num_classes, why)


def visible_order(tensors: Mapping[str, Array], structure: Structure) -> Order | None:
    """Return the order of concatenation that running statistics show, of the norms that have some.

    A layer whose own statistics contradict it leaves the order open.
    """
    blocks: dict[int, list[str]] = {block: [] for block in _blocks(structure)}
    widths = {block: [width for _, width in structure.sources(block)] for block in blocks}
    for reader in structure.readers():
        norm = structure.norms.get(reader.key)
        if norm is None or not all(f"{norm}.{part}" in tensors for part in STATISTICS):
            continue
        if len(tensors[f"{norm}.running_mean"]) == sum(widths[reader.block][: reader.layer]):
            blocks[reader.block].append(norm)
    order = infer_order(tensors, blocks.values())
    pairs = [pair for norms in blocks.values() for pair in pairwise(norms)]
    if order is None or any(2 * num_agreeing(tensors, *pair, order) < _width(tensors, pair[0]) for pair in pairs):
        return None
    return order


def _width(tensors: Mapping[str, Array], norm: str) -> int:
    return len(tensors[f"{norm}.running_mean"])


def _blocks(structure: Structure) -> range:
    return range(1, len(structure.blocks) + 1)


def _target(
    tensors: Mapping[str, Array], structure: Structure, reader: Reader, widths: Sequence[int], order: Order | None
) -> ConcatTarget:
    numbers = range(reader.first_source, min(reader.layer, len(widths)))
    runs = tuple((number, widths[number]) for number in numbers)
    runs = runs[::-1] if order == "new_first" else runs
    copies = tensors[reader.key].shape[reader.input_axis] // sum(width for _, width in runs)
    norm = structure.norms.get(reader.key)
    return ConcatTarget(
        reader.block, reader.layer, reader.kind, reader.key, norm, runs * copies, input_axis=reader.input_axis
    )
