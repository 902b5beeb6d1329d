"""The search for a DenseNet among convolutions of unknown names, by their shapes alone.

Inside a block the inputs grow by what each layer adds; a bottleneck layer is a 1x1 convolution whose outputs the next
one reads; a transition is a 1x1 that starts a new width; and in the end every convolution must have its place. What
real files hold beyond that is allowed level by level (``LEVELS``): the first level that fits is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from densenet_core.checkpoints.identify.shapes.levels import LEVELS, Allowed
from densenet_core.checkpoints.identify.shapes.neighbors import SecondConvolutions, depthwise_before
from densenet_core.checkpoints.identify.shapes.structure import MAX_HEADS, Conv, Shapes, Structure, find_weights
from densenet_core.errors import CheckpointError

MAX_STEPS = 2_000  # candidates of one search; DenseNets take a few, and what takes more fits in too many ways
MAX_ALL_STEPS = 20_000  # of all levels together
TAKEN_A_STEP = 100  # convolutions with a place that are passed over in the time of one candidate
MAX_STEM = 3  # convolutions
MAX_COPIES = 4  # of the feature maps, where several poolings of them are concatenated
MIN_LAYERS = 3  # of a network that is recognized without a linear classifier


def find_convolutions(shapes: Shapes) -> Structure:
    """Find the places of a DenseNet's convolutions; no norm is placed yet.

    Raises:
        CheckpointError: the convolutions are not a DenseNet's, or can be read in two ways.
    """
    convs, heads = find_weights(shapes)
    steps, seconds = 0, SecondConvolutions(convs)
    for allowed in LEVELS.values():
        found, taken = find_at_level(convs, heads, allowed, seconds)
        steps += taken
        if found and len(found.heads) > MAX_HEADS:
            raise CheckpointError(f"{len(found.heads)} layers read its last block: at most {MAX_HEADS} are read")
        if found:
            return found
        if steps > MAX_ALL_STEPS:
            break
    raise CheckpointError("its shapes are not a DenseNet's: in no block do the inputs grow by what the layers add")


def find_at_level(
    convs: Sequence[Conv], heads: Mapping[str, int], allowed: Allowed, seconds: SecondConvolutions
) -> tuple[Structure | None, int]:
    """Return the structure that fits with what is allowed, and the number of candidates that were tried.

    Args:
        seconds: what may read each bottleneck's outputs, the same at every level.

    Raises:
        CheckpointError: it can be read with bottlenecks and without.
    """
    if not heads and not allowed.any_head:
        return None, 0
    if allowed.separable and all(conv.inputs > 1 for conv in convs):
        return None, 0
    kinds: tuple[bool | None, ...] = (True,) if allowed.depthwise else (None,) if allowed.mixed else (True, False)
    searches = [_Search(convs, heads, bottleneck, allowed, seconds) for bottleneck in kinds]
    found = [structure for search in searches if (structure := search.run())]
    if len(found) > 1:
        raise CheckpointError("its shapes fit a DenseNet with bottlenecks and one without: rename it to torchvision's")
    return (found[0] if found else None), sum(search.all_steps for search in searches)


@dataclass(frozen=True)
class _State:
    """The progress of a search: the width that the next layer must read, and the convolutions already placed."""

    width: int
    last: int  # largest position of the convolutions placed last
    taken: int  # a bit for each convolution that has a place
    inputs: tuple[int, ...]  # feature maps that enter each block
    layers: tuple[tuple[Conv, ...], ...] = ()  # of the block
    blocks: tuple[tuple[tuple[Conv, ...], ...], ...] = ()
    transitions: tuple[Conv, ...] = ()
    skips: tuple[int, ...] = ()  # widths that are concatenated behind a transition up

    @property
    def num_layers(self) -> int:
        return sum(map(len, self.blocks)) + len(self.layers)

    def taking(self, *convs: Conv) -> int:
        return self.taken | sum(1 << conv.place for conv in convs)


class _Search:
    """A depth-first search that tries what follows in the file before what is elsewhere."""

    def __init__(
        self,
        convs: Sequence[Conv],
        heads: Mapping[str, int],
        bottleneck: bool | None,
        allowed: Allowed,
        seconds: SecondConvolutions,
    ) -> None:
        """``bottleneck`` is None if only some layers have one."""
        self.convs, self.bottleneck, self.allowed, self.seconds = convs, bottleneck, allowed, seconds
        self.heads: dict[int, list[str]] = {}  # by the feature maps that they read
        for key, inputs in heads.items():
            self.heads.setdefault(inputs, []).append(key)
        self.by_inputs: dict[int, list[Conv]] = {}
        self.by_module: dict[tuple[str, ...], list[Conv]] = {}
        for conv in convs:
            self.by_inputs.setdefault(conv.inputs, []).append(conv)
            self.by_module.setdefault(conv.parts[:-2], []).append(conv)
        self.depthwise = depthwise_before(convs) if allowed.separable else {}
        self.in_layers = self._in_depthwise_layers() if allowed.depthwise else frozenset(self.depthwise)
        if allowed.separable:
            self.seconds = SecondConvolutions(convs, [conv for conv in convs if conv.place in self.depthwise])
        self.copies = range(1, MAX_COPIES + 1) if allowed.copies else range(1, 2)
        self.steps = self.all_steps = 0

    def run(self) -> Structure | None:
        """Return the first structure in which every convolution has a place or may be left over."""
        for stem, width in self._stems():
            self.all_steps, self.steps = self.all_steps + self.steps, 0
            last = stem[-1].place if stem else -1
            waiting = [iter([_State(width, last, sum(1 << conv.place for conv in stem), (width,))])]
            while waiting and self.steps < MAX_STEPS:
                state = next(waiting[-1], None)
                if state is None:
                    waiting.pop()
                elif (heads := self._heads(state)) is not None:
                    return Structure(stem, state.inputs, (*state.blocks, state.layers), state.transitions, heads)
                else:
                    waiting.append(self._next(state))
        self.all_steps += self.steps
        return None

    def _stems(self) -> Iterator[tuple[tuple[Conv, ...], int]]:
        """Yield possible stems and their widths: the convolution larger than 1x1 with the fewest inputs, or the first
        one, for images of many bands; and up to two that follow it in a chain."""
        small = self.allowed.small_stem
        firsts = [min(self.convs, key=lambda conv: (conv.is_pointwise and not small, conv.inputs, conv.place))]
        if (self.allowed.depthwise or self.allowed.separable) and (
            mixing := [c for c in self.convs if c.inputs > 1 and not c.is_pointwise]
        ):
            firsts.append(min(mixing, key=lambda conv: (conv.inputs, conv.place)))
        firsts += [conv for conv in self.convs[:1] if not conv.is_pointwise]
        for first in dict.fromkeys(firsts):
            stem: tuple[Conv, ...] = (first,)
            while len(stem) <= MAX_STEM:
                yield stem, stem[-1].outputs
                behind = self.convs[stem[-1].place + 1 : stem[-1].place + 2]
                if not behind or behind[0].is_pointwise or behind[0].inputs != stem[-1].outputs:
                    break
                stem = (*stem, behind[0])
        if self.allowed.no_stem:
            yield (), min(conv.inputs for conv in self.convs)

    def _heads(self, state: _State) -> tuple[str, ...] | None:
        """Return the heads of a state in which every convolution has a place; None otherwise."""
        if not state.layers or len(state.blocks) + len(state.layers) < 2:
            return None
        if self.allowed.widening and max(map(len, (*state.blocks, state.layers))) < 2:
            return None
        widths, taken = [copies * state.width for copies in self.copies], state.taken
        heads = linear = tuple(key for width in widths for key in self.heads.get(width, ()))
        if not linear:
            if not self.allowed.any_head or state.num_layers < MIN_LAYERS:
                return None
            if self.allowed.leftovers and self.heads:  # a linear layer reads something else: the network goes on
                return None
            readers = [conv for conv in self.by_inputs.get(state.width, []) if conv.is_pointwise]
            readers = [conv for conv in readers if not state.taken >> conv.place & 1]
            taken = state.taking(*readers)
            heads = tuple(conv.key for conv in readers)
        is_whole = taken.bit_count() == len(self.convs)
        return heads if is_whole or self._may_leave(state, taken, is_linear=bool(linear)) else None

    def _may_leave(self, state: _State, taken: int, is_linear: bool) -> bool:
        """Return whether the convolutions without a place may be gates, and the network does not continue with them."""
        if not self.allowed.leftovers:
            return False
        left = (conv for conv in self.convs if not taken >> conv.place & 1)
        if not all(conv.is_pointwise or conv.inputs == 1 for conv in left):
            return False
        return not any(is_linear or behind.layers for behind in self._next(state))

    def _following(self, inputs: int, place: int) -> list[Conv]:
        """Return the convolutions with this number of inputs, those after ``place`` first."""
        number = len(self.convs)
        return sorted(self.by_inputs.get(inputs, []), key=lambda conv: (conv.place - place - 1) % number)

    def _free(self, state: _State, inputs: int) -> list[Conv]:
        free = [conv for conv in self._following(inputs, state.last) if not state.taken >> conv.place & 1]
        self.steps += 1 + len(free)
        return free

    def _first_free(self, state: _State, convs: Sequence[Conv]) -> Conv | None:
        for number, conv in enumerate(convs):
            if not state.taken >> conv.place & 1:
                self.steps += number // TAKEN_A_STEP
                return conv
        self.steps += len(convs) // TAKEN_A_STEP
        return None

    def _next(self, state: _State) -> Iterator[_State]:
        free = self._free(state, state.width)
        layers = [(conv, layer) for conv in free if (layer := self._layer(state, conv))]
        transitions = [(conv, transition) for conv in free if (transition := self._transition(state, conv))]
        begin = {conv: min(part.place for part in layer.layers[-1]) for conv, layer in layers}
        at_once = {conv for conv, layer in layers if layer.last - begin[conv] < 2}  # its parts are next to each other
        likely = [layer for conv, layer in layers if conv in at_once and begin[conv] == state.last + 1]
        likely += [transition for conv, transition in transitions if conv not in at_once]
        others = [layer for _, layer in layers] + [transition for _, transition in transitions]
        yield from likely
        yield from (state for state in others if state not in likely)
        for copies in self.copies[1:]:
            found = [self._transition(state, conv) for conv in self._free(state, copies * state.width)]
            yield from (transition for transition in found if transition)
        if self.allowed.up:
            yield from self._ups(state)

    def _layer(self, state: _State, conv: Conv) -> _State | None:
        convs: tuple[Conv, ...] = (conv,)
        if self.bottleneck or (self.bottleneck is None and conv.is_pointwise):
            second = self._first_free(state, self._seconds(conv)) if conv.is_pointwise else None
            if not second:
                return None
            convs = (conv, second)
        elif conv.is_pointwise and not self.allowed.separable:
            return None
        if (before := self._depthwise(state, convs)) is None:
            return None
        growth = convs[-1].outputs
        if state.layers and not self.allowed.growth and state.layers[0][-1].outputs != growth:
            return None
        return replace(
            state,
            width=state.width + growth,
            last=max(c.place for c in convs),
            taken=state.taking(*before, *convs),
            layers=(*state.layers, convs),
        )

    def _seconds(self, conv: Conv) -> list[Conv]:
        """Return the convolutions that may read a bottleneck's outputs, ordered by name and then by place."""
        if self.allowed.depthwise:
            readers = self.by_module[conv.parts[:-2]]
            return [c for c in readers if c.is_pointwise and c is not conv and c.inputs == conv.outputs]
        return self.seconds.behind(conv)

    def _depthwise(self, state: _State, convs: Sequence[Conv]) -> tuple[Conv, ...] | None:
        """Return the depthwise convolution of a layer, if its kind has one; None if this layer lacks it."""
        own: list[Conv] = []
        if self.allowed.separable:
            own = [self.depthwise[convs[-1].place]] if convs[-1].place in self.depthwise else []
        elif self.allowed.depthwise:  # of the same module, and it reads the same feature maps as the first convolution
            module = self.by_module[convs[0].parts[:-2]]
            own = [c for c in module if c.inputs == 1 and c.outputs == convs[0].inputs]
        else:
            return ()
        found = self._first_free(state, own)
        return (found,) if found else None

    def _in_depthwise_layers(self) -> frozenset[int]:
        """Return the places of the convolutions in modules that mix what a depthwise convolution of theirs returns."""
        depthwise = {(c.parts[:-2], c.outputs) for c in self.convs if c.inputs == 1}
        layers = {c.parts[:-2] for c in self.convs if c.is_pointwise and (c.parts[:-2], c.inputs) in depthwise} - {()}
        inside = (c for c in self.convs if any(c.parts[:end] in layers for end in range(1, len(c.parts))))
        return frozenset(conv.place for conv in inside)

    def _transition(self, state: _State, conv: Conv) -> _State | None:
        if not (conv.is_pointwise or self.allowed.depthwise) or not state.layers or conv.place in self.in_layers:
            return None
        if conv.outputs > state.width and not self.allowed.widening:
            return None
        skips = (*state.skips, state.width) if self.allowed.up else ()
        return self._behind(state, conv, conv.outputs, skips)

    def _ups(self, state: _State) -> Iterator[_State]:
        """Yield transposed convolutions, (in, out, *kernel), that read the block's new maps; their output joins
        the last skip connection."""
        new = state.width - state.inputs[-1]
        if not state.skips or not state.layers:
            return
        for conv in self.convs:
            if conv.outputs == new and not conv.is_pointwise and not state.taken >> conv.place & 1:
                up = replace(conv, outputs=conv.inputs, inputs=conv.outputs, is_up=True)
                yield self._behind(state, up, up.outputs + state.skips[-1], state.skips[:-1])

    def _behind(self, state: _State, conv: Conv, width: int, skips: tuple[int, ...]) -> _State:
        """Return the state after a transition, at the beginning of the next block."""
        return _State(
            width,
            conv.place,
            state.taking(conv),
            (*state.inputs, width),
            (),
            (*state.blocks, state.layers),
            (*state.transitions, conv),
            skips,
        )
