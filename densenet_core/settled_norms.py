"""Which of a layer's two batch norms stands first, where they have the same width: the running statistics know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import Tensor

from densenet_core.concat_order import ORDERS, num_agreeing
from densenet_core.structure import Structure


def with_settled_norms(structure: Structure, tensors: Mapping[str, Tensor]) -> Structure:
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
