"""Where every input channel of every layer comes from, recorded during one pass through a network.

A tracer (of a live module or an ONNX graph) reports to a ``ChannelWalk`` what each operation does to the channels; the
walk then derives the blocks, sources and targets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from densenet_core.checkpoints.identify.connectivity import ConcatSpec, ConcatTarget, TargetKind
from densenet_core.errors import CheckpointError


class Maps(NamedTuple):
    """A tensor's feature maps: the source of each channel, and the batch norm that was last applied."""

    channels: npt.NDArray[np.int64]
    norm: str | None = None


@dataclass(frozen=True)
class _Reader:
    """A layer with weights."""

    weight: str
    is_linear: bool
    maps: Maps
    output: int  # the number of the source that it makes
    num_outputs: int
    groups: int
    input_axis: int


class ChannelWalk:
    """Records a pass through a network, operation by operation."""

    def __init__(self) -> None:
        self._names: list[str] = []  # name of each source
        self._made_from: list[set[int]] = []  # for each source, the sources that are made from it
        self._readers: list[_Reader] = []
        self._together: list[npt.NDArray[np.int64]] = []  # sources that were concatenated

    def source(self, name: str, num_channels: int, made_of: Iterable[Maps] = ()) -> Maps:
        """Return new feature maps, computed from ``made_of``."""
        number = len(self._names)
        self._names.append(name)
        self._made_from.append(set())
        for maps in made_of:
            for parent in np.unique(maps.channels):
                self._made_from[parent].add(number)
        return Maps(np.full(num_channels, number))

    def name(self, maps: Maps) -> str | None:
        """Return the name of the source of these feature maps, or None if they have several."""
        sources = np.unique(maps.channels)
        return self._names[sources[0]] if len(sources) == 1 else None

    def read(
        self, weight: str, maps: Maps, num_outputs: int, is_linear: bool = False, groups: int = 1, input_axis: int = 1
    ) -> Maps:
        """Return the feature maps of a layer with weights that reads ``maps``; their source is named after it."""
        output = self.source(weight.removesuffix(".weight"), num_outputs, [maps])
        made = int(output.channels[0])
        self._readers.append(_Reader(weight, is_linear, maps, made, num_outputs, groups, input_axis))
        return output

    def concatenate(self, parts: Sequence[Maps]) -> Maps:
        """Return the concatenation of feature maps, each with its own source."""
        channels = np.concatenate([part.channels for part in parts])
        self._together.append(np.unique(channels))
        return Maps(channels)

    def spec(self, in_channels: int, why: str) -> ConcatSpec:
        """Return the blocks, their sources and the layers that read them.

        Raises:
            CheckpointError: no layer reads feature maps that are concatenated.
        """
        block_of = self._blocks()
        readers = [reader for reader in self._readers if int(reader.maps.channels[0]) in block_of]
        if not readers:
            raise CheckpointError("no layer of the network reads concatenated feature maps: there is no reuse to show")
        targets: list[ConcatTarget] = []
        sources = []
        for number, block in enumerate(sorted({block_of[int(r.maps.channels[0])] for r in readers}), start=1):
            members = [source for source in block_of if block_of[source] == block]
            targets += self._targets(number, readers, members)
            sources.append(tuple(self._names[source] for source in members))
        return ConcatSpec(tuple(targets), tuple(sources), in_channels, self._readers[-1].num_outputs, why)

    def _blocks(self) -> dict[int, int]:
        """Return the first source of the block for each source that is concatenated, in order."""
        first = {int(source): int(source) for together in self._together for source in together}
        for together in self._together:
            roots = {_root(first, int(source)) for source in together}
            for root in roots:
                first[root] = min(roots)
        return {source: _root(first, source) for source in sorted(first)}

    def _targets(self, block: int, readers: Sequence[_Reader], members: list[int]) -> Iterable[ConcatTarget]:
        last = 0
        place = {source: layer for layer, source in enumerate(members)}
        for reader in readers:
            if int(reader.maps.channels[0]) not in place:
                continue
            layers = [place[int(source)] for source in reader.maps.channels]
            last = max(last, *layers) + 1
            runs = tuple((source, len(list(run))) for source, run in groupby(layers))
            norm, kind = reader.maps.norm, self._kind(reader, set(members))
            yield ConcatTarget(block, last, kind, reader.weight, norm, runs, reader.groups, reader.input_axis)

    def _kind(self, reader: _Reader, members: set[int]) -> TargetKind:
        """Return what a reader is: its output comes back into the block for a dense layer, and leaves it otherwise."""
        if reader.is_linear:
            return "classifier"
        waiting, seen = [reader.output], set[int]()
        while waiting:
            source = waiting.pop()
            if source in members:
                return "dense_layer"
            if source not in seen:
                seen.add(source)
                waiting += self._made_from[source]
        return "transition"


def _root(first: dict[int, int], source: int) -> int:
    while first[source] != source:
        source = first[source]
    return source
