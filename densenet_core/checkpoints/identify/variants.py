"""Parts in which networks differ from the paper's: classifiers of another form, and other norms than batch norms."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.identify.infer_spec import AVERAGE, join_names
from densenet_core.errors import CheckpointError, OpenNormsError
from densenet_core.networks.densenet_layers import stem_convs
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.layers import USUAL_GROUPS, NormKind, parse_norm, unchecked_layers
from densenet_core.networks.spec import Spec

_NAMES: dict[NormKind, str] = {  # of modules that say which norm they are
    "batch": r"(bn|batch_?norm)(\d+d?)?",
    "group": r"(gn|group_?norm)\d*",
    "layer": r"(ln|layer_?norm)(\d+d?)?",
    "instance": r"(in|i_?norm|instance_?norm)(\d+d?)?",
}
_WORDS: dict[NormKind, str] = {
    "group": f"group norms, of {USUAL_GROUPS} groups,",
    "layer": "layer norms over the feature maps at each position",
    "instance": "instance norms",
}
_CONV_BIAS = re.compile(r"features\.(?:conv\d|transition\d+\.conv|denseblock\d+\.denselayer\d+\.conv[12])\.bias")
_ASSUMED = "with an epsilon of 1e-05"
TOGETHER = "the images that are evaluated together, whose statistics the batch norms use"
UNBIASED = "a bias of 0 in the classifier, which has none"
FOLDED_BIASES = "biases of convolutions are part of the running means of the norms behind them"
POOLED = "global average pooling behind the 1x1 convolution that ends the network"

ACTIVATION = "ReLU as the activation"
GLOBAL = "global average pooling before the classifier"
USUAL_EPSILON = "an epsilon of 1e-05 in the batch norms"
_STEMS = {"cifar": "stride 1 and no pooling in the stem", "imagenet": "stride 2 and max pooling in the stem"}
OPERATIONS = frozenset((ACTIVATION, AVERAGE, GLOBAL, USUAL_EPSILON, *_STEMS.values()))


def with_operations(assumed: tuple[str, ...], spec: Spec) -> tuple[str, ...]:
    """Return what is assumed about a network that is read by shapes alone: the operations between its layers, too.

    A network in a known layout has known operations; shapes do not show them.

    >>> with_operations((), DenseNetSpec((2, 2), 4, 8))[:2]
    ('ReLU as the activation', 'average pooling in the transitions')
    """
    if not isinstance(spec, DenseNetSpec):
        return assumed
    found = {
        ACTIVATION: True,
        AVERAGE: len(spec.block_config) > 1 and not spec.blur_pool,
        GLOBAL: POOLED not in assumed,
        _STEMS[spec.stem]: not spec.stem_norm and not spec.stem_widths and spec.stem_kernel == 3,
        USUAL_EPSILON: spec.norm == "batch",
    }
    return tuple(dict.fromkeys((*assumed, *(words for words, is_open in found.items() if is_open))))


def without(assumed: Iterable[str], known: Collection[str] = OPERATIONS) -> tuple[str, ...]:
    """Return what is assumed without what is known, by default without all operations."""
    return tuple(words for words in assumed if words not in known)


def with_plain_head(state_dict: Mapping[str, Array]) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the state dict with our names for the classifier, and what is assumed about it, in words.

    Several linear layers are numbered as in an ``nn.Sequential`` with ReLUs between them. A 1x1 convolution becomes the
    linear layer that computes the same behind global average pooling. Layers without a bias get one of 0.

    >>> with_plain_head({"classifier.1.weight": np.ones((5, 8, 1, 1))})[0]["classifier.weight"].shape
    (5, 8)
    """
    layers = {key.removesuffix(".weight") for key in state_dict if re.fullmatch(r"classifier(\..+)?\.weight", key)}
    ours = _our_names(sorted(layers, key=_natural))
    modules = {key: key.rpartition(".") for key in state_dict}
    state = {f"{ours.get(name, name)}{dot}{part}": state_dict[key] for key, (name, dot, part) in modules.items()}
    if len(state) < len(state_dict):
        return dict(state_dict), ()
    weight, assumed = state.get("classifier.weight"), list[str]()
    if weight is not None and weight.ndim > 2 and set(weight.shape[2:]) == {1}:
        state["classifier.weight"] = weight.reshape(weight.shape[:2])
        assumed.append(POOLED)
    linear = [f"{name}.weight" for name in ours.values() if state[f"{name}.weight"].ndim == 2]
    biases = {key.replace("weight", "bias"): np.zeros(len(state[key]), state[key].dtype) for key in linear}
    if new := {key: bias for key, bias in biases.items() if key not in state}:
        assumed.append(f"{UNBIASED} ({sum(map(len, new.values()))} parameters more than in the file)")
    return state | new, tuple(assumed)


def _our_names(layers: list[str]) -> dict[str, str]:
    if len(layers) == 1:
        return {layers[0]: "classifier"}
    return {layer: f"classifier.{2 * number}" for number, layer in enumerate(layers)}


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts numbers in names as numbers."""
    parts = re.findall(r"\d{1,9}|\D+", name)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def with_norm_kind(
    spec: Spec, has_statistics: bool, norms: Sequence[str], asked: str | None
) -> tuple[Spec, tuple[str, ...]]:
    """Return the spec with the kind of its norms, and what is assumed about them, in words.

    Group, layer and instance norms, and batch norms without running statistics, all have a weight and a bias. If their
    names do not say what they are, group norms of 32 groups are assumed, the usual replacement of batch norms. Names of
    batch norms say nothing: they stay where other norms replace these, and where running statistics were not saved.

    Args:
        has_statistics: the norms have running statistics, as only batch norms have.
        norms: the names of the norms in the file.
        asked: the kind and number of groups, where the caller knows them, such as "group-16".

    Raises:
        OpenNormsError: group norms of 32 groups do not fit, or the norms have the names of batch norms.
        CheckpointError: what was ``asked`` for does not fit.
    """
    if has_statistics or not isinstance(spec, DenseNetSpec):
        return spec, ()
    if asked is not None:
        try:
            kind, groups = parse_norm(asked)
        except ValueError as error:
            raise CheckpointError(f"its norms are {asked}, which can't be built here") from error
        return _with_kind(spec, kind, groups), (TOGETHER,) if kind == "batch_statistics" else ()
    named = _named_kind(norms)
    kind = named or "group"
    widths = {layer.in_maps for layer in unchecked_layers(spec, input_size=1) if layer.kind == "norm"}
    is_misfit = kind == "group" and any(width % USUAL_GROUPS for width in widths)
    if is_misfit or kind == "batch":
        fit = f"group norms of {USUAL_GROUPS} groups do not fit"
        why = fit if is_misfit else "they have the names of batch norms"
        raise OpenNormsError(
            f"its norms have no running statistics ({join_names(list(norms), most=1)}): which kind they are is not "
            f"visible, and {why} (choose with --norm, such as group-4)"
        )
    evidence = "by their names" if named else "other norms, and batch norms without statistics, have the same tensors"
    spec = _with_kind(spec, kind, USUAL_GROUPS if kind == "group" else 0)
    return spec, (f"{_WORDS[kind]} {_ASSUMED} ({evidence})",)


def is_norm_assumed(assumed: Iterable[str]) -> bool:
    """Return whether the kind of norms is among what was assumed when a network was read."""
    return any(_ASSUMED in words for words in assumed)


def _with_kind(spec: DenseNetSpec, kind: NormKind, groups: int) -> DenseNetSpec:
    try:
        return replace(spec, norm=kind, norm_groups=groups)
    except ValueError as error:
        raise CheckpointError(str(error)) from error


def _named_kind(norms: Sequence[str]) -> NormKind | None:
    """Return the kind that the names of all norms say, or None."""
    kinds = {
        next((kind for part in norm.lower().split(".") for kind in _NAMES if re.fullmatch(_NAMES[kind], part)), None)
        for norm in norms
    }
    return kinds.pop() if len(kinds) == 1 else None


def split_biases(state: Mapping[str, Array], spec: Spec) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return a state dict without the biases of its convolutions, and the biases, if the norms behind them take them.

    Raises:
        CheckpointError: a bias is not as long as its convolution has outputs.
    """
    if not isinstance(spec, DenseNetSpec) or spec.norm != "batch":
        return dict(state), {}
    weights = {key: f"{key.removesuffix('bias')}weight" for key in state if _CONV_BIAS.fullmatch(key)}
    for key, weight in weights.items():
        if weight not in state or state[key].shape != state[weight].shape[:1]:
            raise CheckpointError(f"tensor {key!r} has shape {state[key].shape}, which its convolution does not fit")
    return {key: array for key, array in state.items() if key not in weights}, {key: state[key] for key in weights}


def with_biases(state: Mapping[str, Array], biases: Mapping[str, Array], spec: DenseNetSpec) -> dict[str, Array]:
    """Return the state dict, with old maps first, of the function that has these biases in its convolutions.

    A batch norm takes what is added to a feature map from the running mean: (x + b) - mean is x - (mean - b).
    """
    found = dict(state)
    for key, bias in biases.items():
        for norm, first in _norms_behind(spec, key.removesuffix(".bias")):
            mean = found[f"{norm}.running_mean"].copy()
            mean[first : first + len(bias)] -= bias
            found[f"{norm}.running_mean"] = mean
    return found


def check_biases(notes: Sequence[str], order: str) -> None:
    """Raise CheckpointError if biases became part of norms as if old maps came first, and they do not."""
    if order != "old_first" and any(FOLDED_BIASES in note for note in notes):
        raise CheckpointError("its convolutions have biases, and it does not concatenate old feature maps first")


def _norms_behind(spec: DenseNetSpec, conv: str) -> Iterator[tuple[str, int]]:
    """Yield every norm that reads what a convolution returns, and the first of its feature maps there."""
    name, _, part = conv.removeprefix("features.").rpartition(".")
    numbers = [int(number) for number in re.findall(r"\d+", name)]
    if not name:  # of the stem: features.conv0
        number = int(part.removeprefix("conv"))
        if stem_convs(spec)[number].has_norm:
            yield f"features.norm{number}", 0
            return
        block, source = 1, 0
    elif len(numbers) == 1:  # of a transition
        block, source = numbers[0] + 1, 0
    elif spec.bottleneck and part == "conv1":
        yield f"features.{name}.norm2", 0
        return
    else:
        block, source = numbers
    first = sum(spec.source_channels(block)[:source])
    for target in range(source + 1, spec.block_config[block - 1] + 2):
        yield spec.target_names(block, target)[1], first
