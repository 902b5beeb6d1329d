"""The places of a network's layers, however they were found, and our names for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from densenet_core.checkpoints.identify.connectivity import TargetKind
from densenet_core.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]
MAX_CONVS = 1_000
MAX_HEADS = 1_000  # linear layers that read the last block


@dataclass(frozen=True, eq=False)
class Conv:
    """A convolution's weight: (outputs, inputs, *kernel); compared by identity, as there is one of each."""

    key: str
    outputs: int
    inputs: int  # of one group
    is_pointwise: bool  # 1x1
    place: int  # among the convolutions, in the file's order
    parts: tuple[str, ...]  # of the key
    is_up: bool = False  # a transposed convolution, (inputs, outputs, *kernel)

    @property
    def name(self) -> str:
        """The module's name."""
        return self.key.removesuffix(".weight")


class Reader(NamedTuple):
    """A weight that reads a block's feature maps."""

    block: int  # 1-based
    layer: int  # 1-based
    key: str
    kind: TargetKind
    first_source: int = 0  # 1: the block's input is not read
    input_axis: int = 1


@dataclass(frozen=True)
class Structure:
    """The places of a network's convolutions; a layer is one convolution, or two with a bottleneck."""

    stem: tuple[Conv, ...]  # empty: the input is the first block's
    inputs: tuple[int, ...]  # feature maps that enter each block
    blocks: tuple[tuple[tuple[Conv, ...], ...], ...]  # layers of each block
    transitions: tuple[Conv, ...]
    heads: tuple[str, ...]  # layers that read the last block
    hidden: tuple[str, ...] = ()  # linear layers that follow a single head one after the other
    norms: dict[str, str] = field(default_factory=dict)  # of a weight's key: the norm before it; of a stem's: behind it
    rest: tuple[str, ...] = ()  # tensors without a place

    def readers(self) -> Iterator[Reader]:
        """Yield everything that reads a block's feature maps."""
        for block, layers in enumerate(self.blocks, start=1):
            for layer, convs in enumerate(layers, start=1):
                yield Reader(block, layer, convs[0].key, "dense_layer")
            behind = len(layers) + 1
            if block == len(self.blocks):
                for number, key in enumerate(self.heads, start=behind):
                    yield Reader(block, number, key, "classifier")
            else:
                conv = self.transitions[block - 1]
                yield Reader(block, behind, conv.key, "transition", int(conv.is_up), 0 if conv.is_up else 1)

    def sources(self, block: int) -> list[tuple[str, int]]:
        """Return the name and the number of feature maps of a block's input and its layers."""
        entry = self.transitions[block - 2].name if block > 1 else self.stem[-1].name if self.stem else "input"
        layers = [(convs[-1].name, convs[-1].outputs) for convs in self.blocks[block - 1]]
        return [(entry, self.inputs[block - 1]), *layers]

    def width_behind(self, block: int) -> int:
        """Return the feature maps that leave a block, counted from 0."""
        return self.inputs[block] + sum(convs[-1].outputs for convs in self.blocks[block])

    def our_names(self) -> dict[str, str]:
        """Return our names of the tensors that have a place, by the file's; a norm's without its last part."""
        names: dict[str, str] = {}
        for number, conv in enumerate(self.stem):
            names[conv.name] = f"features.conv{number}"
            if norm := self.norms.get(conv.key):
                names[norm] = f"features.norm{number}"
        for block, layers in enumerate(self.blocks, start=1):
            for layer, convs in enumerate(layers, start=1):
                for number, conv in enumerate(convs, start=1):
                    ours = f"features.denseblock{block}.denselayer{layer}"
                    names |= self._pair(conv.key, f"{ours}.conv{number}", f"{ours}.norm{number}")
        for block, conv in enumerate(self.transitions, start=1):
            names |= self._pair(conv.key, f"features.transition{block}.conv", f"features.transition{block}.norm")
        for head in self.heads[:1]:
            names |= self._pair(head, "classifier.0" if self.hidden else "classifier", "features.norm5")
        for number, key in enumerate(self.hidden, start=1):
            names[key.removesuffix(".weight")] = f"classifier.{2 * number}"
        return names

    def _pair(self, key: str, ours: str, our_norm: str) -> dict[str, str]:
        norm = {self.norms[key]: our_norm} if key in self.norms else {}
        return {key.removesuffix(".weight"): ours, **norm}


def find_weights(shapes: Shapes) -> tuple[list[Conv], dict[str, int]]:
    """Return the convolutions in the order of the file, and the number of inputs of each linear layer.

    Raises:
        CheckpointError: there are none, or more than are searched.
    """
    weights = [key for key in shapes if key.endswith("weight") and len(shapes[key]) > 2]
    convs = [_conv(key, shapes[key], place) for place, key in enumerate(weights)]
    if len(convs) > MAX_CONVS:
        raise CheckpointError(f"it has {len(convs)} convolutions: at most {MAX_CONVS} are searched")
    if not convs:
        raise CheckpointError("no tensor of three or more dimensions has a name that ends in weight or kernel")
    linear = {key: shapes[key] for key in shapes if key.endswith("weight") and len(shapes[key]) == 2}
    alike, readers = Counter(linear.values()), Counter(shape[1] for shape in linear.values())
    return convs, {key: shape[1] for key, shape in linear.items() if not _is_gate(shape, alike, readers)}


def _is_gate(shape: tuple[int, ...], alike: Mapping[tuple[int, ...], int], readers: Mapping[int, int]) -> bool:
    """Return whether another linear layer leads back to the width that this one reads, beside a third reader.

    Args:
        shape: of the linear layer, (outputs, inputs).
        alike: number of linear layers of each shape.
        readers: number of linear layers that read each width.
    """
    outputs, inputs = shape
    return outputs < inputs and alike[inputs, outputs] > 0 and readers[inputs] > 1


def _conv(key: str, shape: tuple[int, ...], place: int) -> Conv:
    return Conv(key, shape[0], shape[1], all(side == 1 for side in shape[2:]), place, tuple(key.split(".")))
