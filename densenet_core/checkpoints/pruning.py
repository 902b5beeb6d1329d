"""Cut connections from a network, whose targets then read fewer feature maps, and restore the whole network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.checkpoint import Checkpoint
from densenet_core.networks.densenet_spec import DenseNetSpec

Cut = tuple[int, int, int]  # block, source layer, target layer
_NORM_TENSORS = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}  # and what cut channels get back


def without_connections(checkpoint: Checkpoint, cuts: Iterable[Cut]) -> Checkpoint:
    """Return the network with these connections cut, in addition to those that are already cut.

    Each target's norm and first convolution lose the channels that it no longer reads; the outputs equal those of the
    whole network with zeros in place of these channels.

    Raises:
        ValueError: a connection does not exist, or a target would have no source left.
    """
    whole = with_all_connections(checkpoint)
    assert isinstance(whole.spec, DenseNetSpec) and isinstance(checkpoint.spec, DenseNetSpec)
    spec = replace(whole.spec, cuts=tuple({*checkpoint.spec.cuts, *cuts}))
    state = dict(whole.arrays)
    for target, weight, norm in _cut_targets(spec):
        kept = _kept_channels(spec, *target)
        state[weight] = state[weight][:, kept]
        for key, _ in _norm_tensors(state, norm):
            state[key] = state[key][kept]
    return replace(checkpoint, spec=spec, weights=state)


def with_all_connections(checkpoint: Checkpoint) -> Checkpoint:
    """Return an equivalent network without cuts, with weights of 0 in place of cut connections.

    The norms of cut channels, which no longer matter, become identities.
    """
    spec = checkpoint.spec
    if not isinstance(spec, DenseNetSpec) or not spec.cuts:
        return checkpoint
    state = dict(checkpoint.arrays)
    for target, weight, norm in _cut_targets(spec):
        kept = _kept_channels(spec, *target)
        width = sum(spec.source_channels(target[0])[: target[1]])
        state[weight] = np.ascontiguousarray(_spread(state[weight].swapaxes(0, 1), kept, width, 0.0).swapaxes(0, 1))
        for key, neutral in _norm_tensors(state, norm):
            state[key] = _spread(state[key], kept, width, neutral)
    return replace(checkpoint, spec=replace(spec, cuts=()), weights=state)


def _norm_tensors(state: Mapping[str, Array], norm: str) -> list[tuple[str, float]]:
    """Return the names of a norm's tensors and what cut channels get back; some norms have no running statistics."""
    keys = ((f"{norm}.{name}", neutral) for name, neutral in _NORM_TENSORS.items())
    return [(key, neutral) for key, neutral in keys if key in state]


def _cut_targets(spec: DenseNetSpec) -> Iterator[tuple[tuple[int, int], str, str]]:
    """Yield (block, layer) of each target that lost a source, and the names of its weight and norm."""
    for place in sorted({(block, target) for block, _, target in spec.cuts}):
        yield place, *spec.target_names(*place)


def _kept_channels(spec: DenseNetSpec, block: int, layer: int) -> Array:
    return np.concatenate([np.arange(first, end) for first, end in spec.channel_ranges(block, layer)])


def _spread(tensor: Array, kept: Array, width: int, neutral: float) -> Array:
    """Return ``width`` rows: those of ``tensor`` at the indices ``kept``, ``neutral`` elsewhere."""
    whole = np.full((width, *tensor.shape[1:]), neutral, dtype=tensor.dtype)
    whole[kept] = tensor
    return whole
