"""The search for a DenseNet among convolutions of unknown names, by what their shapes alone tell.

Inside a block the inputs grow by the growth rate; a bottleneck layer is a 1x1 convolution whose outputs the next one
reads; a transition is a 1x1 that starts a new width; and in the end every convolution must have its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from densenet_core.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]
MOST_STEPS = 50_000  # of the search, a candidate each: a network that takes more fits in too many ways
MOST_CONVS = 1_000
LONGEST_STEM = 3  # convolutions


@dataclass(frozen=True)
class Conv:
    """A convolution's weight: (outputs, inputs, *kernel)."""

    key: str
    outputs: int
    inputs: int  # of one group
    is_pointwise: bool  # 1x1
    place: int  # among the convolutions, in the file's order
    parts: tuple[str, ...]  # of the key

    @property
    def name(self) -> str:
        """The module's."""
        return self.key.removesuffix(".weight")


@dataclass(frozen=True)
class Structure:
    """The places of a network's convolutions; a layer is one convolution, or two with a bottleneck."""

    stem: tuple[Conv, ...]
    blocks: tuple[tuple[tuple[Conv, ...], ...], ...]  # layers of each block
    transitions: tuple[Conv, ...]
    heads: tuple[str, ...]  # linear layers that read the last block
    norms: dict[str, str]  # of a weight's key: the norm before it; of the last stem convolution: the norm behind it
    rest: tuple[str, ...]  # tensors without a place

    def readers(self) -> Iterator[tuple[int, int, str]]:
        """(block, layer, weight) of everything that reads a block's feature maps, both 1-based."""
        for block, layers in enumerate(self.blocks, start=1):
            for layer, convs in enumerate(layers, start=1):
                yield block, layer, convs[0].key
            behind = [t.key for t in self.transitions[block - 1 : block]] or self.heads
            for number, key in enumerate(behind, start=len(layers) + 1):
                yield block, number, key

    def renamed(self) -> dict[str, str]:
        """Our names of the tensors that have a place, by the file's; a norm's without its last part."""
        names = {self.stem[-1].name: "features.conv0"}
        if norm := self.norms.get(self.stem[-1].key):
            names[norm] = "features.norm0"
        for block, layers in enumerate(self.blocks, start=1):
            for layer, convs in enumerate(layers, start=1):
                for number, conv in enumerate(convs, start=1):
                    ours = f"features.denseblock{block}.denselayer{layer}"
                    names |= self._pair(conv.key, f"{ours}.conv{number}", f"{ours}.norm{number}")
        for block, conv in enumerate(self.transitions, start=1):
            names |= self._pair(conv.key, f"features.transition{block}.conv", f"features.transition{block}.norm")
        return names | self._pair(self.heads[0], "classifier", "features.norm5")

    def _pair(self, key: str, ours: str, our_norm: str) -> dict[str, str]:
        norm = {self.norms[key]: our_norm} if key in self.norms else {}
        return {key.removesuffix(".weight"): ours, **norm}


def find_convolutions(shapes: Shapes) -> Structure:
    """The places of a DenseNet's convolutions; of its norms none is placed yet.

    Raises:
        CheckpointError: the convolutions are those of no DenseNet, or can be read in two ways.
    """
    weights = [key for key in shapes if key.endswith("weight") and len(shapes[key]) > 2]
    convs = [_conv(key, shapes[key], place) for place, key in enumerate(weights)]
    heads = {key: shapes[key][1] for key in shapes if key.endswith("weight") and len(shapes[key]) == 2}
    if len(convs) > MOST_CONVS:
        raise CheckpointError(f"it has {len(convs)} convolutions, and no more than {MOST_CONVS} are looked through")
    if not convs or not heads:
        raise CheckpointError("by its shapes it is no DenseNet: convolutions and a linear layer are needed")
    for may_leave in (False, True):
        found = [s for bottleneck in (True, False) if (s := _Search(convs, heads, bottleneck, may_leave).run())]
        if len(found) > 1:
            raise CheckpointError(
                "its shapes fit a DenseNet with bottlenecks and one without: rename it to torchvision's"
            )
        if found:
            return found[0]
    raise CheckpointError("by its shapes it is no DenseNet: no block's inputs grow by what its layers give")


def _conv(key: str, shape: tuple[int, ...], place: int) -> Conv:
    return Conv(key, shape[0], shape[1], all(side == 1 for side in shape[2:]), place, tuple(key.split(".")))


@dataclass(frozen=True)
class _State:
    """How far the search is: the width that the next layer must read, and what is taken."""

    width: int
    last: int  # the furthest place of what was taken last
    taken: int  # a bit a convolution
    layers: tuple[tuple[Conv, ...], ...] = ()  # of the block
    blocks: tuple[tuple[tuple[Conv, ...], ...], ...] = ()
    transitions: tuple[Conv, ...] = ()


class _Search:
    """Depth first: what follows in the file is tried before what stands elsewhere."""

    def __init__(self, convs: Sequence[Conv], heads: Mapping[str, int], bottleneck: bool, may_leave: bool) -> None:
        self.convs, self.heads, self.bottleneck, self.may_leave = convs, heads, bottleneck, may_leave
        self.by_inputs: dict[int, list[Conv]] = {}
        for conv in convs:
            self.by_inputs.setdefault(conv.inputs, []).append(conv)
        self.seconds: dict[str, list[Conv]] = {}
        self.steps = 0

    def run(self) -> Structure | None:
        """The first reading in which every convolution has its place, or is a 1x1 that may be left."""
        for stem in self._stems():
            self.steps = 0
            waiting = [iter([_State(stem[-1].outputs, stem[-1].place, sum(1 << conv.place for conv in stem))])]
            while waiting and self.steps < MOST_STEPS:
                state = next(waiting[-1], None)
                if state is None:
                    waiting.pop()
                elif self._is_whole(state):
                    heads = tuple(key for key, inputs in self.heads.items() if inputs == state.width)
                    return Structure(stem, (*state.blocks, state.layers), state.transitions, heads, {}, ())
                else:
                    waiting.append(self._next(state))
        return None

    def _stems(self) -> Iterator[tuple[Conv, ...]]:
        """The convolution of more than one pixel with the fewest inputs, and up to two that follow it in a chain."""
        first = min(self.convs, key=lambda conv: (conv.is_pointwise, conv.inputs, conv.place))
        stem: tuple[Conv, ...] = (first,)
        while len(stem) <= LONGEST_STEM:
            yield stem
            behind = [c for c in self._following(stem[-1].outputs, stem[-1].place) if not c.is_pointwise]
            if not behind or behind[0] in stem:
                return
            stem = (*stem, behind[0])

    def _is_whole(self, state: _State) -> bool:
        if not state.layers or state.width not in self.heads.values() or len(state.blocks) + len(state.layers) < 2:
            return False
        left = [conv for conv in self.convs if not state.taken >> conv.place & 1]
        return not left or (
            self.may_leave and all(c.is_pointwise or c.inputs == 1 for c in left) and not any(self._next(state))
        )

    def _following(self, inputs: int, place: int) -> list[Conv]:
        """Convolutions with so many inputs, those behind ``place`` first."""
        number = len(self.convs)
        return sorted(self.by_inputs.get(inputs, []), key=lambda conv: (conv.place - place - 1) % number)

    def _next(self, state: _State) -> Iterator[_State]:
        free = [conv for conv in self._following(state.width, state.last) if not state.taken >> conv.place & 1]
        self.steps += 1 + len(free)
        layers = [(conv, layer) for conv in free if (layer := self._layer(state, conv))]
        transitions = [(conv, transition) for conv in free if (transition := self._transition(state, conv))]
        begin = {conv: min(part.place for part in layer.layers[-1]) for conv, layer in layers}
        at_once = {conv for conv, layer in layers if layer.last - begin[conv] < 2}  # its parts stand together
        likely = [layer for conv, layer in layers if conv in at_once and begin[conv] == state.last + 1]
        likely += [transition for conv, transition in transitions if conv not in at_once]
        others = [layer for _, layer in layers] + [transition for _, transition in transitions]
        yield from likely
        yield from (state for state in others if state not in likely)

    def _layer(self, state: _State, conv: Conv) -> _State | None:
        convs: tuple[Conv, ...] = (conv,)
        if self.bottleneck:
            seconds = [c for c in self._seconds(conv) if not state.taken >> c.place & 1]
            if not conv.is_pointwise or not seconds:
                return None
            convs = (conv, seconds[0])
        elif conv.is_pointwise:
            return None
        growth = convs[-1].outputs
        if state.layers and state.layers[0][-1].outputs != growth:
            return None
        taken = state.taken | sum(1 << c.place for c in convs)
        return replace(
            state,
            width=state.width + growth,
            last=max(c.place for c in convs),
            taken=taken,
            layers=(*state.layers, convs),
        )

    def _seconds(self, conv: Conv) -> list[Conv]:
        """What may read a bottleneck's outputs, in groups too: by name, then by order."""
        if conv.key not in self.seconds:
            number = len(self.convs)
            readers = [c for c in self.convs if not c.is_pointwise and c.inputs > 1 and conv.outputs % c.inputs == 0]
            self.seconds[conv.key] = sorted(
                readers,
                key=lambda c: (
                    -num_common(conv.parts, c.parts),
                    c.inputs != conv.outputs,
                    (c.place - conv.place - 1) % number,
                ),
            )
        return self.seconds[conv.key]

    def _transition(self, state: _State, conv: Conv) -> _State | None:
        if not conv.is_pointwise or not state.layers or conv.outputs > state.width:
            return None
        return _State(
            conv.outputs,
            conv.place,
            state.taken | 1 << conv.place,
            (),
            (*state.blocks, state.layers),
            (*state.transitions, conv),
        )


def num_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Parts that two names begin with in common."""
    number = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        number += 1
    return number
