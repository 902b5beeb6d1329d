"""Networks of which only the concatenations are known: who reads whose feature maps, and by which weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from densenet_core.networks.densenet_spec import DenseNetSpec

TargetKind = Literal["dense_layer", "transition", "classifier"]


@dataclass(frozen=True)
class ConcatTarget:
    """A convolution or linear layer that reads feature maps of a block, as they lie in its input.

    ``runs`` are the stretches of its input channels in order: (source layer, number of channels).
    """

    block: int  # 1-based
    layer: int  # above all of its sources' numbers, and above the target's before it
    kind: TargetKind  # dense_layer: its output becomes a source of this block; transition: it leads out of it
    weight: str  # the tensor's name
    norm: str | None  # name of the batch norm right before it, where one is
    runs: tuple[tuple[int, int], ...]
    groups: int = 1  # of a grouped convolution
    input_axis: int = 1  # of the weight: 0 where the convolution is transposed


@dataclass(frozen=True)
class ConcatSpec:
    """What a network concatenates, of any architecture; a block is a set of feature maps that are concatenated.

    In a DenseNet the blocks are its dense blocks, and sources and targets are numbered as in the feature-reuse table.
    It has no module: nothing can be computed with such a network but what its weights tell.
    """

    targets: tuple[ConcatTarget, ...]
    sources: tuple[tuple[str, ...], ...]  # their names, block by block
    in_channels: int
    num_classes: int
    why: str  # it can't be built here

    @property
    def num_connections(self) -> int:
        """Pairs of a source and a target that reads it."""
        return sum(len({source for source, _ in target.runs}) for target in self.targets)

    @property
    def is_old_first(self) -> bool:
        """Whether every layer finds its sources in the order in which they are made."""
        return all(list(target.runs) == sorted(target.runs) for target in self.targets)

    @property
    def title(self) -> str:
        """What can be said of it in a few words."""
        return "concatenating network"


def targets(spec: DenseNetSpec | ConcatSpec) -> Iterator[ConcatTarget]:
    """Every layer that reads a block's feature maps, block by block."""
    if isinstance(spec, ConcatSpec):
        yield from spec.targets
        return
    last_block = len(spec.block_config)
    for block, num_layers in enumerate(spec.block_config, start=1):
        behind: TargetKind = "transition" if block < last_block else "classifier"
        for layer in range(1, num_layers + 2):
            kind: TargetKind = "dense_layer" if layer <= num_layers else behind
            runs = tuple(enumerate(spec.source_channels(block)[:layer]))
            yield ConcatTarget(block, layer, kind, *spec.target_names(block, layer), runs)
