"""The feature reuse of a network that can't be built here: from the places of its layers to a ``ConcatSpec``."""

from __future__ import annotations

from collections.abc import Mapping

from densenet_core.arrays import Array
from densenet_core.checkpoints.identify.by_shape import STATISTICS
from densenet_core.checkpoints.identify.concat_order import Order, infer_order
from densenet_core.checkpoints.identify.connectivity import ConcatSpec, ConcatTarget
from densenet_core.checkpoints.identify.structure import Reader, Structure


def concat_spec(tensors: Mapping[str, Array], structure: Structure, order: Order | None, why: str) -> ConcatSpec:
    """Return who reads whose feature maps; old feature maps come first unless ``order`` is "new_first"."""
    targets = tuple(_target(tensors, structure, reader, order) for reader in structure.readers())
    names = tuple(tuple(name for name, _ in structure.sources(block)) for block in _blocks(structure))
    in_channels = structure.stem[0].inputs if structure.stem else structure.inputs[0]
    heads = [*structure.heads[:1], *structure.hidden]
    num_classes = tensors[heads[-1]].shape[0] if heads else 0
    return ConcatSpec(targets, names, in_channels, num_classes, why)


def visible_order(tensors: Mapping[str, Array], structure: Structure) -> Order | None:
    """Return the order of concatenation that running statistics show, of the norms that have some."""
    blocks: dict[int, list[str]] = {block: [] for block in _blocks(structure)}
    widths = {block: [width for _, width in structure.sources(block)] for block in blocks}
    for reader in structure.readers():
        norm = structure.norms.get(reader.key)
        if norm is None or not all(f"{norm}.{part}" in tensors for part in STATISTICS):
            continue
        if len(tensors[f"{norm}.running_mean"]) == sum(widths[reader.block][: reader.layer]):
            blocks[reader.block].append(norm)
    return infer_order(tensors, blocks.values())


def _blocks(structure: Structure) -> range:
    return range(1, len(structure.blocks) + 1)


def _target(tensors: Mapping[str, Array], structure: Structure, reader: Reader, order: Order | None) -> ConcatTarget:
    widths = [width for _, width in structure.sources(reader.block)]
    numbers = range(reader.first_source, min(reader.layer, len(widths)))
    runs = tuple((number, widths[number]) for number in numbers)
    runs = runs[::-1] if order == "new_first" else runs
    copies = tensors[reader.key].shape[reader.input_axis] // sum(width for _, width in runs)
    norm = structure.norms.get(reader.key)
    return ConcatTarget(
        reader.block, reader.layer, reader.kind, reader.key, norm, runs * copies, input_axis=reader.input_axis
    )
