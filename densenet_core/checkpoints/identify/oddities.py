"""Why a network that concatenates is no DenseNet that can be built here, in words its user would recognize."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from densenet_core.arrays import Array
from densenet_core.checkpoints.identify.concat_order import FoundOrder, Order
from densenet_core.checkpoints.identify.identified_by import (
    BY_STRUCTURE,
    IdentifiedBy,
    ReadStateDict,
    check_values,
    describe_folding,
    tensors_of,
)
from densenet_core.checkpoints.identify.infer_spec import join_names
from densenet_core.checkpoints.identify.shapes.by_shape import STATISTICS, concat_spec, norm_names, visible_order
from densenet_core.checkpoints.identify.shapes.structure import Shapes, Structure
from densenet_core.errors import CheckpointError, OpenNormsError


def find_oddities(structure: Structure, shapes: Shapes) -> list[str]:
    """Return everything in which a network differs from the DenseNets that can be built."""
    parts = (_stem, _layers, _transitions, _heads, _norms, _missing_relus, _leftovers)
    return [reason for part in parts for reason in part(structure, shapes)]


def _stem(structure: Structure, shapes: Shapes) -> Iterator[str]:
    if not structure.stem:
        yield "it has no stem: its first layer reads the input itself"
    is_deep = all(set(shapes[conv.key][2:]) == {3} and conv.key in structure.norms for conv in structure.stem)
    if len(structure.stem) > 1 and not is_deep:
        yield f"its stem has {len(structure.stem)} convolutions, not all of 3x3 with a norm behind them"


def _layers(structure: Structure, shapes: Shapes) -> Iterator[str]:
    layers = [layer for block in structure.blocks for layer in block]
    growths = dict.fromkeys(layer[-1].outputs for layer in layers)
    if len(growths) > 1:
        yield f"its layers add different numbers of feature maps ({', '.join(map(str, growths))})"
    widths = dict.fromkeys(layer[0].outputs for layer in layers if len(layer) > 1)
    if len(growths) == 1 and len(widths) > 1:
        yield "its bottlenecks have different widths"
    convs = [*structure.stem, *(conv for layer in layers for conv in layer), *structure.transitions]
    if len({len(layer) for layer in layers}) > 1:
        yield "only some of its layers have bottlenecks"
    biased = [conv.name for conv in convs if f"{conv.name}.bias" in shapes]
    if biased and not any(key.endswith(STATISTICS[0]) for key in shapes):  # which would contain them
        yield f"its convolutions have biases ({join_names(biased, most=1)})"
    if any(second.inputs != first.outputs for first, *rest in layers for second in rest):
        yield "its convolutions are grouped"
    sides = dict.fromkeys("x".join(map(str, shapes[layer[-1].key][2:])) for layer in layers)
    if any(set(side.split("x")) != {"3"} for side in sides):
        yield f"its layers have kernels of {', '.join(sides)}"
    if len(structure.blocks) == 1:
        yield "all its layers form one block, and poolings between them would leave no trace in the file"


def _transitions(structure: Structure, shapes: Shapes) -> Iterator[str]:
    if any(conv.is_up for conv in structure.transitions):
        yield "it has transitions up, with skip connections"
    odd = [conv.key for conv in structure.transitions if not conv.is_pointwise and not conv.is_up]
    if odd:
        yield f"its transitions have kernels of more than one pixel ({join_names(odd, most=1)})"
    for block, conv in enumerate(structure.transitions):
        yield from _copies(structure, block, conv.key, conv.inputs)


def _copies(structure: Structure, block: int, key: str, inputs: int) -> Iterator[str]:
    width = structure.width_behind(block)
    if inputs > width and inputs % width == 0:
        yield f"{key!r} reads {inputs // width} poolings of the same feature maps side by side"


def _heads(structure: Structure, shapes: Shapes) -> Iterator[str]:
    if not structure.heads:
        yield "the file has no classifier"
        return
    if len(structure.heads) > 1:
        yield f"it has {len(structure.heads)} heads ({join_names(list(structure.heads))})"
    head = structure.heads[0]
    if set(shapes[head][2:]) > {1}:
        yield f"its head {head!r} is a convolution of more than one pixel"
    yield from _copies(structure, len(structure.blocks) - 1, head, shapes[head][1])


def _norms(structure: Structure, shapes: Shapes) -> Iterator[str]:
    wanting = [reader.key for reader in structure.readers()]
    wanting += [conv.key for block in structure.blocks for layer in block for conv in layer[1:]]
    missing = [key for key in wanting if key not in structure.norms]
    if missing:
        yield f"no norm directly precedes {join_names(missing, most=1)}"


def find_obstacle(structure: Structure, has_graph: bool = False) -> str:
    """Return why a network can't be built, as far as the places of its layers show, or an empty text.

    Args:
        has_graph: the network's operations are known, too.
    """
    if structure.rest:
        return f"tensors {join_names(list(structure.rest))} have no place in a DenseNet"
    if len(structure.blocks) == 1 and not has_graph:
        return "all layers form one block, and poolings between them would leave no trace in the file"
    return next(_missing_relus(structure, {}), "")


def _missing_relus(structure: Structure, shapes: Shapes) -> Iterator[str]:
    """Yield a sign that some norms and convolutions have no ReLU between them.

    Where the parts of a Sequential are numbered and its ReLUs have numbers too, the other norms are directly followed
    by their convolution.
    """
    steps: dict[str, int] = {}
    stems = {conv.key for conv in structure.stem}
    for key, norm in structure.norms.items():
        (parent, _, number), (norm_parent, _, norm_number) = (n.rpartition(".") for n in (key[: -len(".weight")], norm))
        if key not in stems and parent == norm_parent and number.isdecimal() and norm_number.isdecimal():
            steps[key] = int(number[:9]) - int(norm_number[:9])
    bare = [key for key, step in steps.items() if step == 1]
    if bare and max(steps.values()) > 1:
        yield f"no ReLU has a place between {structure.norms[bare[0]]!r} and {bare[0]!r}, as it has in other layers"


def _leftovers(structure: Structure, shapes: Shapes) -> Iterator[str]:
    known = {head.rpartition(".")[0] for head in structure.heads}
    if not known:  # the norm behind the last block is read by nothing
        width = structure.width_behind(len(structure.blocks) - 1)
        known = {norm for norm in norm_names(shapes) if shapes[f"{norm}.weight"] == (width,)}
    rest = [key for key in structure.rest if key.rpartition(".")[0] not in known and not key.endswith("_tracked")]
    if rest:
        yield f"tensors {join_names(rest)} have no place in a DenseNet"


def find_damage(shapes: Shapes) -> str:
    """Return a sign that tensors are missing or cut, rather than of another network, or an empty text."""
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        module, _, part = key.rpartition(".")
        if part in ("weight", "bias", *STATISTICS):
            parts.setdefault(module, {})[part] = shape
    norms = {module: own for module, own in parts.items() if len(own.get("weight", (0,))) == 1}
    have_statistics = any(STATISTICS[0] in own for own in norms.values())
    for module, own in parts.items():
        wanted = ("weight", "bias", *(STATISTICS if have_statistics else ())) if module in norms else ("weight",)
        if own.keys() == {"weight"}:  # not a norm: a PReLU's slope, or numbers that scale feature maps
            continue
        if missing := [part for part in wanted if part not in own and own.keys() & {"bias", *wanted}]:
            return f"; {module!r} has no {missing[0]}"
        if module in norms and len(set(own.values())) > 1:
            return f"; the tensors of {module!r} have different lengths"
    return ""


def describe_places(structure: Structure, order: FoundOrder | None) -> tuple[str, ...]:
    """Return how well the shapes settle the places of the layers, in words; ``order`` if running statistics agree."""
    convs = len(structure.stem) + len(structure.transitions) + sum(len(c) for block in structure.blocks for c in block)
    places = f"{convs} convolutions and {len(structure.norms)} norms have one place each"
    return (places, "running statistics of the feature maps agree with it") if order else (places,)


def read_concatenations(
    tensors: Mapping[str, Array], structure: Structure, why: CheckpointError, order: Order | None
) -> ReadStateDict:
    """Return what the table needs of a network that can't be built here, for its oddities or else for ``why``."""
    seen = visible_order(tensors, structure)
    oddities = find_oddities(structure, {key: tuple(tensor.shape) for key, tensor in tensors.items()})
    spec = concat_spec(tensors, structure, order or seen, "; ".join(oddities) or str(why))
    spec = replace(spec, is_norm_open=not oddities and isinstance(why, OpenNormsError))
    check_values({key: tensors[key] for target in spec.targets for key in tensors_of(target)})
    heads = {head.rpartition(".")[0] for head in structure.heads}
    unused = (key for key in structure.rest if key.rpartition(".")[0] not in heads)
    ignored = tuple(key for key in unused if not key.endswith("num_batches_tracked"))
    about = (order or seen, IdentifiedBy.SHAPES, describe_places(structure, seen))
    folded = describe_folding(_count_folded(structure, tensors))
    return ReadStateDict(spec, dict(tensors), BY_STRUCTURE, ignored, *about, caveats=folded)


def _count_folded(structure: Structure, tensors: Mapping[str, Array]) -> int:
    """Return how many convolutions have a bias, if norms are missing that DenseNets have: they may be folded."""
    convs = [*structure.stem, *(conv for block in structure.blocks for layer in block for conv in layer)]
    is_whole = not any(_norms(structure, {}))
    return 0 if is_whole else sum(f"{conv.name}.bias" in tensors for conv in [*convs, *structure.transitions])
