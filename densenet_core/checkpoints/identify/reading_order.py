"""The order in which each layer of a DenseNet reads its sources, as the running statistics of its norms show.

Every norm of a block saw the same feature maps in the same batches, so a source is found in each of them by its means
and variances, whatever the order in which the layers concatenate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.identify.concat_order import (
    MIN_SHARE,
    SAME,
    Order,
    Readings,
    block_norms,
    infer_order,
    name_order,
    to_old_first,
    uniform_readings,
)
from densenet_core.checkpoints.identify.identified_by import ReadStateDict, check_values
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.spec import Spec

MAX_PLACES = 64  # where a source may be, by a few of its channels: beyond, statistics show nothing
OLD_FIRST = "old feature maps are concatenated first"


def in_our_order(
    spec: Spec, state_dict: Mapping[str, Array], layout: str, ignored: tuple[str, ...], order: Order | None
) -> ReadStateDict:
    """Return a network with its feature maps in our order.

    Args:
        state_dict: weights under our names, concatenated as the network does.
        order: how it concatenates; None: as its running statistics show, else old maps first.

    Raises:
        CheckpointError: a tensor holds NaN or infinite values, or its norms do not allow another order.
    """
    state_dict = dict(state_dict)
    check_values(state_dict)
    if not isinstance(spec, DenseNetSpec):
        return ReadStateDict(spec, state_dict, layout, ignored, order)
    has_statistics = spec.norm == "batch"
    if order is not None:
        readings: Readings | None = uniform_readings(spec, order)
    else:
        readings = visible_readings(state_dict, spec) if has_statistics else None
    if readings is None:
        return ReadStateDict(spec, state_dict, layout, ignored, assumed=() if has_statistics else (OLD_FIRST,))
    ours = to_old_first(state_dict, spec, readings)
    return ReadStateDict(spec, ours, layout, ignored, name_order(readings.values()))


def visible_readings(state_dict: Mapping[str, Array], spec: DenseNetSpec) -> Readings | None:
    """Return how each layer reads its sources, or None where the statistics do not show it (untrained networks).

    Layers follow the network's order, except where their own statistics show another one.
    """
    norms = list(block_norms(spec))
    order = infer_order(state_dict, norms)
    usual = None if order is None else uniform_readings(spec, order)
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
    return (np.abs(one - other) <= SAME * (np.abs(one) + np.abs(other)) / 2 + 1e-12).all(axis=0)


def _statistics(state_dict: Mapping[str, Array], norm: str) -> Array:
    parts = (state_dict[f"{norm}.{name}"].astype(np.float32) for name in ("running_mean", "running_var"))
    return np.stack(list(parts))
