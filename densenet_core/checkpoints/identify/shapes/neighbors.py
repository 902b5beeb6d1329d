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


def depthwise_before(convs: Sequence[Conv]) -> dict[int, Conv]:
    """Return the depthwise convolution before each 1x1 convolution that has one, by the place of the latter.

    Each is the nearest to the other, by name and then by place, of those that have as many feature maps.
    """
    depthwise = [conv for conv in convs if conv.inputs == 1 < conv.outputs and not conv.is_pointwise]
    pointwise = [conv for conv in convs if conv.inputs > 1 and conv.is_pointwise]
    if not depthwise or not pointwise:
        return {}
    common = num_common([conv.parts for conv in depthwise], [conv.parts for conv in pointwise])
    places = np.array([conv.place for conv in pointwise])[None] - np.array([conv.place for conv in depthwise])[:, None]
    far = places % len(convs) - len(convs) * common.astype(float)
    widths = np.array([conv.inputs for conv in pointwise]), np.array([conv.outputs for conv in depthwise])
    far[widths[0][None] != widths[1][:, None]] = np.inf
    nearest = far.argmin(0)
    pairs = ((place, int(own)) for place, own in enumerate(far.argmin(1)))
    return {
        pointwise[own].place: depthwise[place]
        for place, own in pairs
        if nearest[own] == place and far[place, own] < np.inf
    }


class SecondConvolutions:
    """The convolutions that may read the outputs of a bottleneck; the same at every level of a search."""

    def __init__(self, convs: Sequence[Conv], readers: Sequence[Conv] | None = None) -> None:
        """By default, what may read a bottleneck are the ``convs`` larger than 1x1 that are not depthwise."""
        self._convs = convs
        larger = (conv for conv in convs if not conv.is_pointwise and conv.inputs > 1)
        self._readers = list(larger if readers is None else readers)
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
            fits = (conv.outputs % self._inputs == 0) & (self._places != conv.place)
            fitting = order[fits[order]]
            self._found[conv.place] = [self._readers[place] for place in fitting]
        return self._found[conv.place]
