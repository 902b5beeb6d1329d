"""Which tensors belong together by their names and places: the work grows with the tensors, not with their pairs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.identify.shapes.structure import Conv


def num_common(ones: Sequence[Sequence[str]], others: Sequence[Sequence[str]]) -> Array:
    """Return how many parts each two names begin with in common, an array of shape (ones, others).

    >>> num_common([["a", "b", "c"], ["d"]], [["a", "b"], ["a"], []]).tolist()
    [[2, 1, 0], [0, 0, 0]]
    """
    numbers: dict[tuple[int, str], int] = {}  # of each beginning of a name, by the beginning without its last part

    def beginnings(parts: Sequence[str]) -> list[int]:
        found, last = list[int](), 0
        for part in parts:
            last = numbers.setdefault((last, part), len(numbers) + 1)
            found.append(last)
        return found

    rows, columns = (_rectangle([beginnings(parts) for parts in names]) for names in (ones, others))
    common = np.zeros((len(ones), len(others)), np.int32)
    for row, column in zip(rows.T, columns.T, strict=False):
        same = (row[:, None] == column[None, :]) & (row != 0)[:, None]
        if not same.any():
            break
        common += same
    return common


def _rectangle(rows: Sequence[Sequence[int]]) -> Array:
    """Return rows of different lengths as an array, with zeros behind them."""
    found = np.zeros((len(rows), max(map(len, rows), default=0)), np.int64)
    for number, row in enumerate(rows):
        found[number, : len(row)] = row
    return found


class SecondConvolutions:
    """The convolutions that may read the outputs of a bottleneck; the same at every level of a search."""

    def __init__(self, convs: Sequence[Conv]) -> None:
        self._convs = convs
        self._readers = [conv for conv in convs if not conv.is_pointwise and conv.inputs > 1]
        self._inputs = np.array([conv.inputs for conv in self._readers], dtype=int)
        self._places = np.array([conv.place for conv in self._readers], dtype=int)
        self._found: dict[int, list[Conv]] = {}

    @cached_property
    def _common(self) -> Array:
        return num_common([conv.parts for conv in self._convs], [conv.parts for conv in self._readers])

    def behind(self, conv: Conv) -> list[Conv]:
        """Return what may read a bottleneck, ordered by name, and then by place."""
        if conv.place not in self._found:
            distance = (self._places - conv.place - 1) % len(self._convs)
            order = np.lexsort((distance, self._inputs != conv.outputs, -self._common[conv.place]))
            fitting = order[conv.outputs % self._inputs[order] == 0]
            self._found[conv.place] = [self._readers[place] for place in fitting]
        return self._found[conv.place]
