"""The order in which a network concatenates: old feature maps first, as in torchvision, new ones first, or its own.

The running statistics of a trained network show it: successive batch norms saw the same feature map in the same
batches, so their statistics of it agree. The statistics of one norm reappear at the beginning of those of the next
norm (old first) or at their end (new first). In any other order, a source is found in each norm by its own statistics
(``locate_sources``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal, get_args

import numpy as np

from densenet_core.arrays import Array
from densenet_core.errors import CheckpointError
from densenet_core.networks.densenet_spec import DenseNetSpec

Order = Literal["old_first", "new_first"]
FoundOrder = Order | Literal["mixed"]  # mixed: any other, for each layer its own
ORDERS: tuple[Order, ...] = get_args(Order)
Readings = Mapping[tuple[int, int], tuple[int, ...]]  # by block and layer: its sources as they are concatenated
SAME = 1e-3  # relative difference up to which statistics are of the same feature map
MAX_PLACES = 64  # where a source may be, by a few of its channels: beyond, statistics show nothing
MIN_SHARE = 0.9  # share of the feature maps that must agree for an order to be visible


def infer_order(state_dict: Mapping[str, Array], blocks: Iterable[Sequence[str]]) -> Order | None:
    """Return the order that the running statistics show, or None if they fit neither or both (untrained networks).

    Args:
        blocks: names of the batch norms that read the feature maps of each block, in the order of the layers.
    """
    blocks = list(blocks)
    shares = {order: _share_that_agrees(state_dict, blocks, order) for order in ORDERS}
    old, new = shares["old_first"], shares["new_first"]
    if max(old, new) < MIN_SHARE or min(old, new) >= MIN_SHARE:
        return None
    return "old_first" if old > new else "new_first"


def block_norms(spec: DenseNetSpec) -> Iterator[list[str]]:
    """Yield the names of the batch norms that read the feature maps of each block."""
    for block in range(1, len(spec.block_config) + 1):
        yield [norm for _, norm in _block_tensors(spec, block)]


def _share_that_agrees(state_dict: Mapping[str, Array], blocks: Iterable[Sequence[str]], order: Order) -> float:
    """Return the share of feature maps with equal statistics in two successive norms of a block."""
    pairs = [pair for norms in blocks for pair in pairwise(norms)]
    total = sum(len(state_dict[f"{before}.running_mean"]) for before, _ in pairs)
    return sum(num_agreeing(state_dict, *pair, order) for pair in pairs) / total if total else 0.0


def num_agreeing(state_dict: Mapping[str, Array], before: str, behind: str, order: Order) -> int:
    """Return the number of feature maps with equal statistics in two batch norms; ``behind`` reads more of them."""
    old, later = (_statistics(state_dict, norm) for norm in (before, behind))
    width = old.shape[1]
    return int(_same(old, later[:, :width] if order == "old_first" else later[:, -width:]).sum())


def uniform_readings(spec: DenseNetSpec, order: Order) -> Readings:
    """Return the order in which every target reads its sources if all follow ``order``.

    >>> uniform_readings(DenseNetSpec((2,)), "new_first")
    {(1, 1): (0,), (1, 2): (1, 0), (1, 3): (2, 1, 0)}
    """
    step = 1 if order == "old_first" else -1
    return {
        (block, layer): tuple(range(layer))[::step]
        for block, num_layers in enumerate(spec.block_config, start=1)
        for layer in range(1, num_layers + 2)
    }


def name_order(readings: Iterable[Sequence[int]]) -> FoundOrder:
    """Return the name of the order in which targets read their sources.

    >>> name_order([(0,), (0, 1), (0, 1, 2)]), name_order([(0,), (1, 0)]), name_order([(1, 0), (1, 2, 0)])
    ('old_first', 'new_first', 'mixed')
    """
    readings = [list(reading) for reading in readings]
    if all(reading == sorted(reading) for reading in readings):
        return "old_first"
    return "new_first" if all(reading == sorted(reading, reverse=True) for reading in readings) else "mixed"


def to_old_first(state_dict: Mapping[str, Array], spec: DenseNetSpec, readings: Readings) -> dict[str, Array]:
    """Convert weights of a network that concatenates in another order to old maps first, which computes the same.

    Raises:
        CheckpointError: group norms do not allow another order.
    """
    if spec.norm == "group" and name_order(readings.values()) != "old_first":
        raise CheckpointError("it does not concatenate old maps first, and group norms do not allow another order")
    state = dict(state_dict)
    for block in range(1, len(spec.block_config) + 1):
        for layer, (weight, norm) in enumerate(_block_tensors(spec, block), start=1):
            reading = readings[block, layer]
            if list(reading) == sorted(reading):
                continue
            place = _places(spec.source_channels(block), reading)
            state[weight] = state[weight][:, place]
            for key in (f"{norm}.{name}" for name in ("weight", "bias", "running_mean", "running_var")):
                if key in state:  # norms of other kinds have no running statistics
                    state[key] = state[key][place]
    return state


def _places(channels: Sequence[int], reading: Sequence[int]) -> Array:
    """Return where the channels of the sources are, old sources first, if they are concatenated as in ``reading``."""
    ends = dict(zip(reading, np.cumsum([channels[source] for source in reading]), strict=True))
    return np.concatenate([np.arange(ends[source] - channels[source], ends[source]) for source in sorted(reading)])


def visible_readings(state_dict: Mapping[str, Array], spec: DenseNetSpec) -> Readings | None:
    """Return how each layer reads its sources, or None where the statistics do not show it (untrained networks).

    Layers follow the network's order, except where their own statistics show another one.
    """
    norms = list(block_norms(spec))
    order = infer_order(state_dict, norms)
    usual: Readings | None = None
    if order is not None:
        usual = uniform_readings(spec, order)
        pairs = [pair for names in norms for pair in pairwise(names)]
        if all(_share_that_agrees(state_dict, [pair], order) >= MIN_SHARE for pair in pairs):
            return usual
    found: dict[tuple[int, int], tuple[int, ...]] = {}
    for block, names in enumerate(norms, start=1):
        statistics = [_statistics(state_dict, norm) for norm in names]
        found |= {(block, layer): reading for layer, reading in _block(statistics, spec.source_channels(block), order)}
    if usual is not None:
        return {**usual, **found}
    return found if len(found) == sum(map(len, norms)) else None


def _block(
    statistics: Sequence[Array], widths: Sequence[int], order: Order | None
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the layers of a block whose statistics show in which order they read, and this order.

    Args:
        statistics: means and variances of each norm, arrays of shape (2, channels).
        widths: channels of the block's sources.
    """
    known = {0: statistics[0]}
    yield 1, (0,)
    for layer, own in enumerate(statistics[1:], start=2):
        usual = tuple(range(layer))[:: 1 if order != "new_first" else -1]
        reading: tuple[int, ...] | None = usual
        if order is None or not _agrees(own, usual, widths, known):
            reading = locate_sources(own, widths[:layer], known)
            if reading is not None:
                yield layer, reading
            elif order is None:
                return
        for source, part in _split(own, reading or usual, widths):
            known.setdefault(source, part)


def locate_sources(statistics: Array, widths: Sequence[int], known: Mapping[int, Array]) -> tuple[int, ...] | None:
    """Return the order of a norm's sources, or None where it is not clear.

    Args:
        statistics: means and variances of the norm's channels, of shape (2, channels).
        widths: channels of its sources.
        known: statistics of all its sources but the newest, which is in the gap that the others leave.

    >>> norm = np.array([[5.0, 1.0, 2.0, 3.0, 9.0], np.ones(5)])
    >>> locate_sources(norm, (2, 1, 2), {0: norm[:, 1:3], 1: norm[:, :1]})
    (1, 0, 2)
    """
    starts: dict[int, int] = {}
    newest = len(widths) - 1
    for source in range(newest):
        places = _places_of(statistics, known[source])
        if len(places) != 1:
            return None
        starts[source] = places[0]
    taken = np.zeros(statistics.shape[1], dtype=int)
    for source, start in starts.items():
        taken[start : start + widths[source]] += 1
    gap = np.flatnonzero(taken == 0)
    if taken.max(initial=0) > 1 or len(gap) != widths[newest] or gap[-1] - gap[0] + 1 != len(gap):
        return None
    starts[newest] = int(gap[0])
    return tuple(sorted(starts, key=starts.__getitem__))


def _places_of(statistics: Array, source: Array) -> list[int]:
    """Return where the statistics of a source are found in those of a norm; more than one place shows nothing."""
    width, total = source.shape[1], statistics.shape[1]
    near: set[int] = set()
    for channel in {0, width // 2, width - 1}:
        hits = np.flatnonzero(_same(statistics, source[:, channel : channel + 1])) - channel
        near.update(hits[(hits >= 0) & (hits <= total - width)].tolist())
    if len(near) > MAX_PLACES:
        return []
    return [start for start in near if _same(statistics[:, start : start + width], source).mean() >= MIN_SHARE]


def _agrees(statistics: Array, reading: Sequence[int], widths: Sequence[int], known: Mapping[int, Array]) -> bool:
    parts = [(part, known[source]) for source, part in _split(statistics, reading, widths) if source in known]
    same = sum(_same(part, expected).sum() for part, expected in parts)
    return bool(same >= MIN_SHARE * sum(part.shape[1] for part, _ in parts))


def _split(statistics: Array, reading: Sequence[int], widths: Sequence[int]) -> Iterator[tuple[int, Array]]:
    ends = np.cumsum([widths[source] for source in reading])
    yield from zip(reading, np.split(statistics, ends[:-1], axis=1), strict=True)


def _same(one: Array, other: Array) -> Array:
    """Return for each channel whether mean and variance are those of the same feature map."""
    near = np.abs(one - other) <= SAME * (np.abs(one) + np.abs(other)) / 2 + 1e-12
    return np.asarray(near.all(axis=0))


def _statistics(state_dict: Mapping[str, Array], norm: str) -> Array:
    parts = (state_dict[f"{norm}.{name}"].astype(np.float32) for name in ("running_mean", "running_var"))
    return np.stack(list(parts))


def _block_tensors(spec: DenseNetSpec, block: int) -> Iterator[tuple[str, str]]:
    """Yield the first weight and the norm of every target of a block."""
    for target in range(1, spec.block_config[block - 1] + 2):
        yield spec.target_names(block, target)
