"""Parts in which networks differ from the paper's: classifiers of another form, and other norms than batch norms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.identify.infer_spec import join_names
from densenet_core.errors import CheckpointError
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
_ASSUMED = "with an epsilon of 1e-05"
TOGETHER = "the images that are evaluated together, whose statistics the batch norms use"
POOLED = "global average pooling behind the 1x1 convolution that ends the network"


def with_plain_head(state_dict: Mapping[str, Array]) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the state dict with our names for the classifier, and what is assumed about it, in words.

    Several linear layers are numbered as in an ``nn.Sequential`` with ReLUs between them. A 1x1 convolution becomes the
    linear layer that computes the same behind global average pooling, with a bias of 0 where it has none.

    >>> with_plain_head({"classifier.1.weight": np.ones((5, 8, 1, 1))})[0]["classifier.weight"].shape
    (5, 8)
    """
    layers = {key.removesuffix(".weight") for key in state_dict if re.fullmatch(r"classifier(\..+)?\.weight", key)}
    ours = _our_names(sorted(layers, key=_natural))
    modules = {key: key.rpartition(".") for key in state_dict}
    state = {f"{ours.get(name, name)}.{part}": state_dict[key] for key, (name, _, part) in modules.items()}
    weight = state.get("classifier.weight")
    if len(state) < len(state_dict) or weight is None or weight.ndim < 3 or set(weight.shape[2:]) != {1}:
        return (state if len(state) == len(state_dict) else dict(state_dict)), ()
    state["classifier.weight"] = weight.reshape(weight.shape[:2])
    state.setdefault("classifier.bias", np.zeros(len(weight), weight.dtype))
    return state, (POOLED,)


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
        CheckpointError: group norms of 32 groups, or what was ``asked`` for, do not fit.
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
        raise CheckpointError(
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
