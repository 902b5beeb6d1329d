"""The order in which a network concatenates: old feature maps first, as in torchvision, or new ones first.

The running statistics of a trained network show it: successive batch norms saw the same feature map in the same
batches, so their statistics of it agree. The statistics of one norm reappear at the beginning of those of the next
norm (old first) or at their end (new first).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal, get_args

import numpy as np

from densenet_core.arrays import Array
from densenet_core.networks.densenet_spec import DenseNetSpec

Order = Literal["old_first", "new_first"]
ORDERS: tuple[Order, ...] = get_args(Order)
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


def to_old_first(state_dict: Mapping[str, Array], spec: DenseNetSpec) -> dict[str, Array]:
    """Convert weights of a network that concatenates new maps first to old maps first, which computes the same."""
    state = dict(state_dict)
    for block in range(1, len(spec.block_config) + 1):
        for layer, (weight, norm) in enumerate(_block_tensors(spec, block), start=1):
            place = _places(spec.source_channels(block)[:layer])
            state[weight] = state[weight][:, place]
            for key in (f"{norm}.{name}" for name in ("weight", "bias", "running_mean", "running_var")):
                if key in state:  # norms of other kinds have no running statistics
                    state[key] = state[key][place]
    return state


def _places(channels: tuple[int, ...]) -> Array:
    """Return the channels of the sources in our order, where the newest come first."""
    ends = np.cumsum(channels[::-1])[::-1]  # of each source, counted from the newest
    return np.concatenate([np.arange(end - width, end) for end, width in zip(ends, channels, strict=True)])


def _block_tensors(spec: DenseNetSpec, block: int) -> Iterator[tuple[str, str]]:
    """Yield the first weight and the norm of every target of a block."""
    for target in range(1, spec.block_config[block - 1] + 2):
        yield spec.target_names(block, target)
