"""The origin of every input channel of every layer, recorded during one pass through a network.

An interpreter (of a live module's operations or of an ONNX graph) reports to a ``ChannelWalk`` what each operation
does to the channels; the walk then derives the blocks, sources and targets. What the operations mean for feature maps
is said here once: interpreters only translate the arguments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from densenet_core.checkpoints.identify.connectivity import ConcatSpec, ConcatTarget, TargetKind
from densenet_core.errors import CheckpointError
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.layers import Layer, unchecked_layers

COMPUTED = "the weights of its convolutions from others"  # a function of a network


class Maps(NamedTuple):
    """A tensor's feature maps: the source of each channel, and the batch norm that was last applied."""

    channels: npt.NDArray[np.int64]
    norm: str | None = None

    def sliced(self, *bounds: int | None) -> Maps:
        """Return a slice of the channels, whose norm is known only if it is all of them."""
        part = self.channels[slice(*bounds)]
        return Maps(part, self.norm if len(part) == len(self.channels) else None)

    def split(self, widths: Sequence[int]) -> list[Maps]:
        """Return successive parts of the channels."""
        ends = np.cumsum([0, *widths])
        return [self.sliced(int(first), int(end)) for first, end in pairwise(ends)]

    def flattened(self, num_inputs: int) -> Maps | None:
        """Return the inputs of a linear layer that reads every pixel; None if their number does not fit."""
        pixels, rest = divmod(num_inputs, len(self.channels))
        return Maps(np.repeat(self.channels, pixels), self.norm) if pixels and not rest else None


class Step(NamedTuple):
    """A convolution or a pooling; each side of the kernel, the stride and the padding, as far as they are known."""

    kind: str  # conv, max_pool or avg_pool
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    is_special: bool = False  # dilated, rounding sizes up, ...

    def __str__(self) -> str:
        sides, special = "x".join(map(str, self.kernel)), " dilated or rounding up" if self.is_special else ""
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
        if not readers and self.functions[COMPUTED]:
            raise CheckpointError(
                f"it computes {COMPUTED}, as quantized networks do: save it with weights of floating point"
            )
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


def find_difference(walk: ChannelWalk, spec: DenseNetSpec) -> str:
    """Return in what a network computes something else than a DenseNet with this spec, or an empty text.

    Compared are its convolutions in order, its poolings, and its functions on single values. Behind the last
    convolution, average pooling may be the global one, and a convolution of one pixel the classifier.
    """
    if others := walk.functions.keys() - {"relu"}:
        return f"it computes {', '.join(sorted(others))}"
    layers = unchecked_layers(spec, input_size=1)
    if spec.blur_pool:
        return ""
    expected = [_step(layer, spec.spatial_dims) for layer in layers if layer.kind in _STEPS]
    convs, own_convs = ([step for step in steps if step.kind == "conv"] for steps in (expected, walk.steps))
    pools, own_pools = (Counter(step for step in steps if step.kind != "conv") for steps in (expected, walk.steps))
    extra = [*(own_pools - pools).elements(), *own_convs[len(convs) :]]
    if own_convs[: len(convs)] != convs or pools - own_pools or not _is_head(extra):
        wrong = [own for own, conv in zip(own_convs, convs, strict=False) if own != conv] or extra
        return f"it has {wrong[0]}" if wrong else f"it has no {next((pools - own_pools).elements(), convs[-1])}"
    num_relus = sum(layer.kind == "relu" for layer in layers)
    if walk.functions["relu"] != num_relus:
        return f"it has {walk.functions['relu']} ReLUs, and a DenseNet of its size {num_relus}"
    return ""


_STEPS = ("conv", "max_pool", "avg_pool")


def _step(layer: Layer, dims: int) -> Step:
    padding = 0 if layer.kernel % 2 == 0 else layer.kernel // 2
    return Step(layer.kind, (layer.kernel,) * dims, (layer.stride,) * dims, (padding,) * dims)


def _is_head(steps: Sequence[Step]) -> bool:
    """Return whether these may follow the last block: global average pooling and a classifier of one pixel."""
    kinds = Counter(step.kind for step in steps)
    is_pixelwise = all(set(step.kernel) == {1} for step in steps if step.kind == "conv")
    return is_pixelwise and kinds["conv"] <= 1 and kinds["avg_pool"] <= 1 and not kinds["max_pool"]


def _root(first: dict[int, int], source: int) -> int:
    while first[source] != source:
        source = first[source]
    return source
