"""In which order a network concatenates: old feature maps first, as torchvision, or the new ones before them.

It can be seen in a trained network: successive batch norms saw the same feature map in the same batches, so their
running statistics of it agree. What one norm holds stands at the beginning of the next one's (old first) or at its end
(new first).
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
SAME = 1e-3  # relative difference of statistics that are of the same feature map
LEAST_SHARE = 0.9  # of the feature maps that must agree for an order to be seen


def seen_order(state_dict: Mapping[str, Array], blocks: Iterable[Sequence[str]]) -> Order | None:
    """The order that the running statistics show; None where they show neither, or both (an untrained network).

    Args:
        blocks: names of the batch norms that read each block's feature maps, in the order of the layers.
    """
    blocks = list(blocks)
    shares = {order: _share_that_agrees(state_dict, blocks, order) for order in ORDERS}
    old, new = shares["old_first"], shares["new_first"]
    if max(old, new) < LEAST_SHARE or min(old, new) >= LEAST_SHARE:
        return None
    return "old_first" if old > new else "new_first"


def block_norms(spec: DenseNetSpec) -> Iterator[list[str]]:
    """The batch norms that read each block's feature maps."""
    for block in range(1, len(spec.block_config) + 1):
        yield [norm for _, norm in _block_tensors(spec, block)]


def _share_that_agrees(state_dict: Mapping[str, Array], blocks: Iterable[Sequence[str]], order: Order) -> float:
    """Of the feature maps that two successive norms of a block read, those with the same statistics in both."""
    pairs = [pair for norms in blocks for pair in pairwise(norms)]
    total = sum(len(state_dict[f"{before}.running_mean"]) for before, _ in pairs)
    return sum(num_agreeing(state_dict, *pair, order) for pair in pairs) / total if total else 0.0


def num_agreeing(state_dict: Mapping[str, Array], before: str, behind: str, order: Order) -> int:
    """Feature maps with the same running statistics in two batch norms, of which ``behind`` reads more."""
    same = np.ones(len(state_dict[f"{before}.running_mean"]), dtype=bool)
    for name in ("running_mean", "running_var"):
        old, later = (state_dict[f"{norm}.{name}"].astype(np.float32) for norm in (before, behind))
        later = later[: len(old)] if order == "old_first" else later[-len(old) :]
        same &= np.abs(old - later) <= SAME * (np.abs(old) + np.abs(later)) / 2 + 1e-12
    return int(same.sum())


def to_old_first(state_dict: Mapping[str, Array], spec: DenseNetSpec) -> dict[str, Array]:
    """Weights of a network that concatenates new maps first, for one that puts them last: the same function."""
    state = dict(state_dict)
    for block in range(1, len(spec.block_config) + 1):
        for layer, (weight, norm) in enumerate(_block_tensors(spec, block), start=1):
            place = _places(spec.source_channels(block)[:layer])
            state[weight] = state[weight][:, place]
            for name in ("weight", "bias", "running_mean", "running_var"):
                state[f"{norm}.{name}"] = state[f"{norm}.{name}"][place]
    return state


def _places(channels: tuple[int, ...]) -> Array:
    """Where the sources' maps stand with the newest first, source by source in our order."""
    ends = np.cumsum(channels[::-1])[::-1]  # of each source, counted from the newest
    return np.concatenate([np.arange(end - width, end) for end, width in zip(ends, channels, strict=True)])


def _block_tensors(spec: DenseNetSpec, block: int) -> Iterator[tuple[str, str]]:
    """The first weight and norm of every target of a block."""
    for target in range(1, spec.block_config[block - 1] + 2):
        yield spec.target_names(block, target)
