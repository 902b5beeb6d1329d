"""Networks of which only the concatenations are known: which layer reads which feature maps, with which weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from densenet_core.checkpoints.identify.concat_order import FoundOrder, Readings, name_order
from densenet_core.errors import CheckpointError
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.spec import Spec

TargetKind = Literal["dense_layer", "transition", "classifier"]


@dataclass(frozen=True)
class ConcatTarget:
    """A convolution or linear layer that reads feature maps of a block.

    ``runs`` lists its input channels in order, as pairs (source layer, number of channels).
    """

    block: int  # 1-based
    layer: int  # greater than the numbers of its sources and of the previous target
    kind: TargetKind  # dense_layer: its output is a source of the block; transition: it leaves the block
    weight: str  # name of the tensor
    norm: str | None  # name of the batch norm right before it, if any
    runs: tuple[tuple[int, int], ...]
    groups: int = 1  # groups of the convolution
    input_axis: int = 1  # axis of the weight's input channels: 0 in a transposed convolution


@dataclass(frozen=True)
class ConcatSpec:
    """The concatenations of a network of any architecture; a block is a set of feature maps that are concatenated.

    In a DenseNet the blocks are its dense blocks, and sources and targets are numbered as in the feature-reuse table.
    There is no module for it: only measures of the weights can be computed.
    """

    targets: tuple[ConcatTarget, ...]
    sources: tuple[tuple[str, ...], ...]  # names of the sources of each block
    in_channels: int
    num_classes: int
    why: str  # reason why it can't be built here
    is_norm_open: bool = False  # the reason is the kind of its norms: ``norm`` of ``load_checkpoint``

    @property
    def num_connections(self) -> int:
        """Return the number of pairs of a source and a target that reads it."""
        return sum(len({source for source, _ in target.runs}) for target in self.targets)

    @property
    def order(self) -> FoundOrder:
        """Return the order in which its layers read their sources."""
        return name_order([source for source, _ in target.runs] for target in self.targets)

    @property
    def title(self) -> str:
        """Return a short name for it."""
        return "concatenating network"


def targets(spec: DenseNetSpec | ConcatSpec) -> Iterator[ConcatTarget]:
    """Yield every layer that reads feature maps of a block, block by block."""
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


def observed_readings(found: ConcatSpec, spec: DenseNetSpec) -> Readings:
    """Return the order in which each target of a DenseNet reads its sources, as observed.

    Raises:
        CheckpointError: the targets read other feature maps than those of the DenseNet.
    """
    expected = {(target.block, target.layer): target.runs for target in targets(spec)}
    observed = {(target.block, target.layer): target.runs for target in found.targets}
    if {place: tuple(sorted(runs)) for place, runs in observed.items()} != expected:
        raise CheckpointError("its layers read other feature maps than those of a DenseNet of this shape")
    return {place: tuple(source for source, _ in runs) for place, runs in observed.items()}


def as_concatenations(spec: Spec | ConcatSpec, why: str) -> Spec | ConcatSpec:
    """Return the concatenations of a network that computes something else than its spec, for the reason ``why``.

    Networks of other families than DenseNets stay as they are.
    """
    if isinstance(spec, ConcatSpec):
        return replace(spec, why=f"{why}; {spec.why}")
    if not isinstance(spec, DenseNetSpec):
        return spec
    convs = "conv2" if spec.bottleneck else "conv1"
    sources = []
    for block, num_layers in enumerate(spec.block_config, start=1):
        entry = f"features.transition{block - 1}.conv" if block > 1 else f"features.conv{len(spec.stem_widths)}"
        layers = (f"features.denseblock{block}.denselayer{layer}.{convs}" for layer in range(1, num_layers + 1))
        sources.append((entry, *layers))
    return ConcatSpec(tuple(targets(spec)), tuple(sources), spec.in_channels, spec.num_classes, why)
