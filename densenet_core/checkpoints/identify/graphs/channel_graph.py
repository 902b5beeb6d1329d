"""The origin of every input channel of every layer, recorded during one pass through a network.

An interpreter (of a live module's operations or of an ONNX graph) reports to a ``ChannelWalk`` what each operation
does to the channels; the walk then derives the blocks, sources and targets. What the operations mean for feature maps
is said here once: interpreters only translate the arguments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from densenet_core.checkpoints.identify.connectivity import ConcatSpec, ConcatTarget, TargetKind
from densenet_core.checkpoints.identify.layouts import OUR_EPSILON
from densenet_core.errors import CheckpointError

COMPUTED = "the weights of its convolutions from others"  # a function of a network


class Maps(NamedTuple):
    """A tensor's feature maps: the source of each channel, and the batch norm that was last applied."""

    channels: npt.NDArray[np.int64]
    norm: str | None = None

    def select(self, places: npt.NDArray[np.int64]) -> Maps:
        """Return some of the channels, whose norm is known only if they are all in their order."""
        is_whole = np.array_equal(places, np.arange(len(self.channels)))
        return Maps(self.channels[places], self.norm if is_whole else None)

    def slice_maps(self, *bounds: int | None) -> Maps:
        """Return a slice of the channels."""
        return self.select(np.arange(len(self.channels))[slice(*bounds)])

    def split(self, widths: Sequence[int]) -> list[Maps]:
        """Return successive parts of the channels."""
        ends = np.cumsum([0, *widths])
        return [self.slice_maps(int(first), int(end)) for first, end in pairwise(ends)]

    def flatten(self, num_inputs: int) -> Maps | None:
        """Return the inputs of a linear layer that reads every pixel; None if their number does not fit."""
        pixels, rest = divmod(num_inputs, len(self.channels))
        return Maps(np.repeat(self.channels, pixels), self.norm) if pixels and not rest else None


class Step(NamedTuple):
    """An operation; of a convolution or pooling each side of the kernel, stride and padding, as far as known."""

    kind: str  # conv, max_pool, avg_pool, other_pool, global_pool, linear, norm or relu
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    is_special: bool = False  # dilated, rounding sizes up, ...

    def __str__(self) -> str:
        sides = "x".join(map(str, self.kernel))
        special = " (dilated, padded unevenly or rounding up)" if self.is_special else ""
        return f"{self.kind} {sides} of stride {max(self.stride)} and padding {max(self.padding)}{special}"


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
        self.steps: list[Step] = []  # in the order in which they run
        self.functions = Counter[str]()  # that act on each value by itself, by name
        self.norms: dict[str, tuple[str, float]] = {}  # the kind of each norm, such as "group-8", and its epsilon
        self.is_for_training = False  # its batch norms use the statistics of the batch, beside running ones

    def source(self, name: str, num_channels: int, made_of: Iterable[Maps] = ()) -> Maps:
        """Return new feature maps, computed from ``made_of``."""
        number = len(self._names)
        self._names.append(name)
        self._made_from.append(set())
        for maps in made_of:
            for parent in np.unique(maps.channels):
                self._made_from[parent].add(number)
        return Maps(np.full(num_channels, number))

    def normalize(self, name: str, kind: str, epsilon: float = OUR_EPSILON) -> None:
        """Record a norm; the epsilon of a batch norm is part of its running variance."""
        self.norms[name] = kind, epsilon
        self.steps.append(Step("norm"))

    @property
    def norm_kind(self) -> str | None:
        """Return the kind of the norms, such as "group-8"; None if some have running statistics, or there are none."""
        kinds = dict.fromkeys(kind for kind, _ in self.norms.values())
        return None if "batch" in kinds or not kinds else " and ".join(kinds)

    def describe_epsilons(self) -> tuple[str, ...]:
        """Return which norms without running statistics have another epsilon than ours, in words."""
        others = {f"{epsilon:.3g}" for _, epsilon in self.norms.values() if abs(epsilon / OUR_EPSILON - 1) > 1e-3}
        return tuple(f"the norms' epsilon is {epsilon}, and 1e-05 is computed with" for epsilon in sorted(others))

    def apply(self, function: str) -> None:
        """Record a function that acts on each value by itself."""
        self.functions[function] += 1
        if function == "relu":
            self.steps.append(Step("relu"))

    def name(self, maps: Maps) -> str | None:
        """Return the name of the source of these feature maps, or None if they have several."""
        sources = np.unique(maps.channels)
        return self._names[sources[0]] if len(sources) == 1 else None

    def read(
        self, weight: str, maps: Maps, num_outputs: int, is_linear: bool = False, groups: int = 1, input_axis: int = 1
    ) -> Maps:
        """Return the feature maps of a layer with weights that reads ``maps``; their source is named after it."""
        output = self.source(weight.removesuffix(".weight"), num_outputs, [maps])
        self.steps += [Step("linear")] if is_linear else []
        made = int(output.channels[0])
        self._readers.append(_Reader(weight, is_linear, maps, made, num_outputs, groups, input_axis))
        return output

    def convolve(
        self, weight: str | None, maps: Maps, num_outputs: int, groups: int = 1, is_transposed: bool = False
    ) -> Maps:
        """Return the feature maps of a convolution; a depthwise one keeps its input's.

        Args:
            weight: the name of its weight, or None if this is computed.
        """
        if groups == len(maps.channels) == num_outputs > 1:
            return Maps(maps.channels)
        if weight is None:
            self.functions[COMPUTED] += 1
            return self.source("convolution with computed weights", num_outputs, [maps])
        return self.read(weight, maps, num_outputs, groups=groups, input_axis=0 if is_transposed else 1)

    def gate(self, whole: Sequence[Maps], known: Sequence[Maps]) -> Maps | None:
        """Return the product of feature maps with numbers, weights or a gate (squeeze and excitation).

        A gated source is a new one: the layers of the gate are not targets of the block. Several sources stay apart.

        Args:
            whole: the factors of the product's shape, which have feature maps.
            known: all factors that have feature maps.

        Returns:
            None if the product mixes feature maps.
        """
        if len(whole) > 1 and all(np.array_equal(own.channels, whole[0].channels) for own in whole):
            return whole[0]  # a function of each value, such as x * sigmoid(x)
        if len(whole) != 1:
            return None
        name = self.name(whole[0]) if len(known) > 1 else None
        return whole[0] if name is None else self.source(name, len(whole[0].channels), known)

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
        unfollowed = self._find_unfollowed(block_of)
        if not readers and self.functions[COMPUTED]:
            raise CheckpointError(
                f"it computes {COMPUTED}, as quantized networks do: save it with weights of floating point"
            )
        if not readers:
            missing = unfollowed or "no layer of the network reads concatenated feature maps"
            raise CheckpointError(f"{missing}: there is no reuse to show")
        targets: list[ConcatTarget] = []
        sources = []
        for number, block in enumerate(sorted({block_of[int(r.maps.channels[0])] for r in readers}), start=1):
            members = [source for source in block_of if block_of[source] == block]
            targets += self._targets(number, readers, members)
            sources.append(tuple(self._names[source] for source in members))
        return ConcatSpec(tuple(targets), tuple(sources), in_channels, self._readers[-1].num_outputs, unfollowed or why)

    def _find_unfollowed(self, block_of: Mapping[int, int]) -> str:
        """Return which layer reads a mixture of concatenated feature maps, or an empty text.

        Raises:
            CheckpointError: what it makes is concatenated in turn, so that the table would lack a target.
        """
        layers = {reader.output for reader in self._readers}
        parents: dict[int, set[int]] = {}
        for source, made in enumerate(self._made_from):
            for child in made:
                parents.setdefault(child, set()).add(source)
        for reader in self._readers:
            source = int(reader.maps.channels[0])
            above = set[int]() if source in block_of else _reached([source], parents, layers)
            if len(above & block_of.keys()) < 2:
                continue
            what = f"{reader.weight!r} reads what {self._names[source]!r} makes of concatenated feature maps together"
            if _reached([reader.output], dict(enumerate(self._made_from))) & block_of.keys():
                raise CheckpointError(f"{what}, which can't be followed")
            return what
        return ""

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


def _reached(start: Iterable[int], next_to: Mapping[int, set[int]], ends: Collection[int] = frozenset()) -> set[int]:
    """Return everything that is reached from some sources, going on behind all but the ``ends``."""
    waiting, seen = [*start], set[int]()
    while waiting:
        source = waiting.pop()
        if source not in seen:
            seen.add(source)
            waiting += () if source in ends else next_to.get(source, ())
    return seen


def _root(first: dict[int, int], source: int) -> int:
    while first[source] != source:
        source = first[source]
    return source
