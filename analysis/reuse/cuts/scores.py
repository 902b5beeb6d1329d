"""The scores of a network with each of its connections cut, without a pass of the whole network for each.

Everything before the target is computed once, and the parts of the target's other sources are kept as a sum. Later
layers read again only what changed, and many cut variants run together as a batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from analysis.reuse.dissection import Dissection, Reader
from analysis.reuse.effects import parts
from densenet_core import DenseNetSpec
from densenet_core.networks.layers import network_layers

MAX_POSITIONS = 2**16  # variants x images x height x width in one batch; fewer are slower, more no faster
MAX_IMAGE_POSITIONS = 2**13  # images x height x width; more images take as long each, and longer until they are kept
MAX_IMAGES = 50


def fitting_batch(spec: DenseNetSpec, image_size: int) -> int:
    """Return the number of images to measure together, from 1 to ``MAX_IMAGES``.

    >>> from densenet_core import DenseNetSpec
    >>> fitting_batch(DenseNetSpec.imagenet("121"), image_size=224)
    2
    """
    side = next(layer.out_size for layer in network_layers(spec, image_size) if layer.stage == "block1")
    return min(max(MAX_IMAGE_POSITIONS // side**2, 1), MAX_IMAGES)


def cut_scores(dissection: Dissection, images: Tensor, means: list[Tensor] | None = None) -> Iterator[Tensor]:
    """Yield the scores with each connection cut, in the table's order, then the whole network's: (N, classes).

    Args:
        dissection: from ``dissect`` with ``fold=True``.
        means: each target's mean activation by input channel, which replaces what is cut; None: zeros.
    """
    maps = dissection.stem(images)
    left_means = iter(means or [])
    for b, readers in enumerate(dissection.blocks):
        # For each target of the block, its bias and the sum of the parts of the sources that exist so far.
        sums = [reader.with_bias(reader.read(reader.activation(maps, 0, 1), 0, 1)) for reader in readers]
        for reader in readers:
            mean = next(left_means) if means is not None else None
            for cut in _cut_variants(reader, maps, sums[reader.target.layer - 1], mean):
                yield from _continue_pass(dissection, b, reader, cut, sums).split(len(images))
            maps = _add_source(reader, readers, maps, sums)
    yield maps  # after the last target the maps are the scores


def _cut_variants(reader: Reader, maps: Tensor, whole: Tensor, mean: Tensor | None) -> Iterator[Tensor]:
    """Yield the target's pre-activation without each of its sources in turn, in batches of variants."""
    together = max(1, MAX_POSITIONS // (len(maps) * maps[0, 0].numel()))
    own_parts = _removed_parts(reader, reader.activation(maps), mean)
    for first in range(0, reader.target.layer, together):
        group = range(first, min(first + together, reader.target.layer))
        yield torch.cat([whole - next(own_parts) for _ in group])


def _removed_parts(reader: Reader, active: Tensor, mean: Tensor | None) -> Iterator[Tensor]:
    """Yield what a cut takes from the target's pre-activation: the source's part, or how it differs from its mean's."""
    if mean is None:
        for source, part in enumerate(parts(reader, active)):
            yield part + reader.constant(source)
    else:
        everywhere = mean.view(-1, *(1,) * (active.dim() - 2)).expand(1, *active.shape[1:])
        for part, of_mean in zip(parts(reader, active), parts(reader, everywhere), strict=True):
            yield part - of_mean


def _continue_pass(dissection: Dissection, b: int, reader: Reader, cut: Tensor, sums: list[Tensor]) -> Tensor:
    """Return the scores of a target's cut pre-activations, (variants x N, ...); ``sums`` as they are at this target."""
    layer, readers = reader.target.layer, dissection.blocks[b]
    out = reader.finish(cut)
    if layer == len(readers):
        return dissection.scores_from(b + 1, out)
    changed = _Changed(out, len(readers) - layer)
    for later in readers[layer:]:
        end = later.target.layer
        part = later.read(later.activation(changed.maps, layer, end), layer, end)
        shared = sums[end - 1]
        out = later.finish(part.unflatten(0, (-1, len(shared))).add_(shared).flatten(0, 1))
        if end < len(readers):
            changed.append(out)
    return dissection.scores_from(b + 1, out)


class _Changed:
    """The maps of a block that a cut changes, one layer's after the other in one buffer."""

    def __init__(self, first: Tensor, num_layers: int) -> None:
        memory_format = torch.channels_last if first.dim() == 4 else torch.contiguous_format
        shape = (len(first), num_layers * first.shape[1], *first.shape[2:])
        self._buffer = torch.empty(shape, dtype=first.dtype, device=first.device, memory_format=memory_format)
        self._end = 0
        self.append(first)

    def append(self, maps: Tensor) -> None:
        """Add the maps of the next layer."""
        begin, self._end = self._end, self._end + maps.shape[1]
        self._buffer[:, begin : self._end] = maps

    @property
    def maps(self) -> Tensor:
        """All so far: (N, c, H, W)."""
        return self._buffer[:, : self._end]


def _add_source(reader: Reader, readers: tuple[Reader, ...], maps: Tensor, sums: list[Tensor]) -> Tensor:
    """Return the block's maps and this target's, whose parts are added to ``sums``; after the block, the next input."""
    layer = reader.target.layer
    out = reader.finish(sums[layer - 1])
    if reader.target.kind != "dense_layer":
        return out
    for later in readers[layer:]:
        sums[later.target.layer - 1] += later.read(later.activation(out, layer, layer + 1), layer, layer + 1)
    return torch.cat((maps, out), dim=1)
