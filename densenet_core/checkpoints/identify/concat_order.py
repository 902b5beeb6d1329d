"""The order in which a network concatenates: old feature maps first, as in torchvision, new ones first, or its own.

The running statistics of a trained network show it: successive batch norms saw the same feature map in the same
batches, so their statistics of it agree. The statistics of one norm reappear at the beginning of those of the next
norm (old first) or at their end (new first); for any other order see ``locate_sources``.
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
    same = np.ones(len(state_dict[f"{before}.running_mean"]), dtype=bool)
    for name in ("running_mean", "running_var"):
        old, later = (state_dict[f"{norm}.{name}"].astype(np.float32) for norm in (before, behind))
        later = later[: len(old)] if order == "old_first" else later[-len(old) :]
        same &= np.abs(old - later) <= SAME * (np.abs(old) + np.abs(later)) / 2 + 1e-12
    return int(same.sum())


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


def _block_tensors(spec: DenseNetSpec, block: int) -> Iterator[tuple[str, str]]:
    """Yield the first weight and the norm of every target of a block."""
    for target in range(1, spec.block_config[block - 1] + 2):
        yield spec.target_names(block, target)
