"""Check that each part of a pickled module computes what a DenseNet or ResNet of its kind computes.

The code of a pickled module is not in the file, but its parts and their settings are. A part of a class, or with a
setting, that is not known to compute the same is a reason to show the weights only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from densenet_core.checkpoints.formats.content import ModuleFacts
from densenet_core.checkpoints.identify.infer_spec import AVERAGE
from densenet_core.checkpoints.identify.variants import ACTIVATION, GLOBAL, USUAL_EPSILON
from densenet_core.checkpoints.module_facts import norm_facts
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.spec import Spec

Shapes = Mapping[str, tuple[int, ...]]
Modules = Mapping[str, ModuleFacts]

_TORCH = r"torch\.nn\.(?:modules\.)?"
_KINDS = (  # of a class, the first that fits
    ("conv", rf"{_TORCH}conv\.Conv\dd"),
    ("linear", rf"{_TORCH}linear\.Linear"),
    ("quantized", r"torch\.(?:ao\.)?nn\.quantized\.(?:\w+\.)*(?:Conv\dd|Linear)"),
    ("relu", rf"{_TORCH}activation\.ReLU"),
    ("avg_pool", rf"{_TORCH}pooling\.AvgPool\dd"),
    ("global_pool", rf"{_TORCH}pooling\.AdaptiveAvgPool\dd|timm\..*\.FastAdaptiveAvgPool(?:2d)?"),
    ("max_pool", rf"{_TORCH}pooling\.MaxPool\dd"),
    ("softmax", rf"{_TORCH}activation\.(?:Log)?Softmax"),
    ("blur_pool", r"timm\..*\.BlurPool2d"),
    ("norm", rf"{_TORCH}(?:batchnorm\.\w+|instancenorm\.\w+|normalization\.(?:Group|Layer)Norm)|.*Sync\w*BatchNorm\w*"),
    ("norm", r"(?:torchvision|timm)\..*\.(?:LayerNorm2d|BatchNormAct2d)"),
    ("sequence", rf"{_TORCH}container\.Sequential"),
    ("sequence", r"torchvision\.models\.densenet\._Transition|timm\.models\.densenet\.DenseTransition"),
    ("identity", r".*\.Identity"),
    (
        "nothing",
        rf"{_TORCH}(?:container|loss|dropout)\.\w+|torchmetrics\..*|.*\.(?:(?:De)?QuantStub|LinearPackedParams)",
    ),
    ("nothing", r".*\.(?:Flatten|View|Reshape|Squeeze|Dropout\w*|DropPath|StochasticDepth)"),
)
_SILENT = ("nothing", "identity", "softmax")
_KERNELS = ("conv", "quantized")
_CARRIERS = ("conv", "linear", "quantized", "norm")  # have weights
_MAY_BE_IDENTITY = re.compile(r"drop|shortcut|downsample|skip|flat|quant|logits|head|fc|classifier|proj|aux|^\d+$")
_WORDS = {"conv": "a convolution", "linear": "a linear layer", "norm": "a norm", "relu": "ReLU"}
_WORDS |= {"max_pool": "max pooling", "avg_pool": "average pooling", "global_pool": "global pooling"}


class Part(NamedTuple):
    """A submodule of a pickled module."""

    name: str
    kind: str  # of ``_KINDS``; "" for any other class
    facts: ModuleFacts
    is_leaf: bool

    @property
    def short(self) -> str:
        """The name of its class, without the place of the class."""
        return self.facts.kind.rpartition(".")[2]

    @property
    def parent(self) -> str:
        """The name of the module that holds it."""
        return self.name.rpartition(".")[0]

    def sides(self, setting: str) -> tuple[object, ...]:
        """Return a setting along the axes; () if there is none."""
        value = self.facts.settings.get(setting)
        return tuple(value) if isinstance(value, list) else ()


def examine_parts(modules: Modules, shapes: Shapes, ignored: Collection[str], spec: Spec) -> tuple[str, frozenset[str]]:
    """Return what a pickled module computes otherwise than a network with this spec, and what its classes show.

    The first is an empty text where it computes the same; the second are operations of a DenseNet, in the words in
    which they are assumed where nothing shows them.

    Args:
        modules: the facts about each submodule, by name, in the order in which they were made.
        shapes: of the module's tensors.
        ignored: the tensors that the network does not use.
    """
    parts = _parts(modules)
    found = _own_code(parts) or _other_classes(parts, shapes, ignored, spec) or _identities(parts) or _max_pool(parts)
    if not isinstance(spec, DenseNetSpec):
        return found, frozenset()
    found = found or _poolings(parts, spec) or _geometry(parts, shapes, spec) or _sequences(parts, shapes, spec)
    return found, _shown_operations(parts, len(spec.block_config) - 1)


def _shown_operations(parts: Sequence[Part], num_transitions: int) -> frozenset[str]:
    kinds = [part.kind for part in parts]
    found = {
        ACTIVATION: "relu" in kinds,
        AVERAGE: sum(map(_is_halving, parts)) >= num_transitions,
        GLOBAL: "global_pool" in kinds or kinds.count("avg_pool") > num_transitions,
        USUAL_EPSILON: any(norm_facts(*part.facts[:4]) for part in parts),
    }
    return frozenset(words for words, is_shown in found.items() if is_shown)


def _parts(modules: Modules) -> list[Part]:
    holders = {name.rpartition(".")[0] for name in modules if name}
    return [Part(name, _kind(facts.kind), facts, name not in holders) for name, facts in modules.items()]


def _kind(class_name: str) -> str:
    return next((kind for kind, pattern in _KINDS if re.fullmatch(pattern, class_name)), "")


def _own_code(parts: Sequence[Part]) -> str:
    """Return which module has hooks, or a forward function that is not of its class."""
    for part in parts:
        if own := part.facts.settings.get("own"):
            where = repr(part.name) if part.name else "the module"
            return f"{where} has {own} of its own, whose code is not in the file"
    return ""


def _other_classes(parts: Sequence[Part], shapes: Shapes, ignored: Collection[str], spec: Spec) -> str:
    """Return the classes of parts that are not known."""
    used = {name.rpartition(".")[0] for name in shapes if name not in ignored}
    max_pools = int(getattr(spec, "stem", "") == "imagenet")
    family = "DenseNets" if isinstance(spec, DenseNetSpec) else "ResNets"
    others = [part.short for part in parts if part.is_leaf and not part.kind]
    others += [
        part.short
        for part in parts
        if not part.is_leaf and part.name in used and part.kind not in ("norm", "quantized")
    ]
    others += [part.short for part in parts if part.kind == "max_pool"][max_pools:]
    last = max((place for place, part in enumerate(parts) if part.kind in _CARRIERS), default=0)
    others += [part.short for part in parts[:last] if part.kind == "softmax"]
    if not getattr(spec, "blur_pool", False):
        others += [part.short for part in parts if part.kind == "blur_pool"]
    named = dict.fromkeys(others)
    return f"the module has layers that {family} do not have: {', '.join([*named][:5])}" if named else ""


def _identities(parts: Sequence[Part]) -> str:
    """Return which part was replaced with a module that computes nothing."""
    for part in parts:
        is_empty = part.kind == "identity" or (part.kind == "sequence" and part.is_leaf)
        if is_empty and not _MAY_BE_IDENTITY.search(part.name.rpartition(".")[2].lower()):
            return f"{part.name!r} computes nothing: it is {part.short}()"
    return ""


def _max_pool(parts: Sequence[Part]) -> str:
    """Return which max pooling has other settings than that of an ImageNet stem."""
    usual = {"kernel_size": {3}, "stride": {2}, "padding": {1}, "dilation": {1}}
    for part in parts:
        if part.kind == "max_pool" and not (_has(part, usual) and _is_plain(part)):
            return f"{part.name!r} is {_describe(part)}, and the max pooling of a stem is 3x3 of stride 2"
    return ""


def _poolings(parts: Sequence[Part], spec: DenseNetSpec) -> str:
    """Return which average pooling has other settings, or another place, than a DenseNet's."""
    transitions = len(spec.block_config) - 1
    for part in parts:
        is_global = _holds_classifier(part.parent, parts)
        if part.kind == "global_pool" and not (_has(part, {"output_size": {1}}) and is_global):
            return f"{part.name!r} is {_describe(part)} in the place of a pooling"
        if part.kind == "avg_pool" and not _is_halving(part) and not (_is_plain(part) and is_global):
            return f"{part.name!r} is {_describe(part)}, and a DenseNet's transitions pool 2x2"
    pools = [part for part in parts if part.kind == "avg_pool"]
    halving = sum(map(_is_halving, pools))
    is_known = any(part.facts.kind.startswith("torchvision.models.densenet.") for part in parts)
    if len(pools) > halving + 1 or (pools and transitions and not halving) or halving > transitions + 1:
        return f"its average poolings are {', '.join(dict.fromkeys(map(_describe, pools)))}"
    if (is_known or halving > 1) and halving < transitions and not spec.blur_pool:
        return f"it has {halving} average poolings, and a DenseNet of its size {transitions}"
    return ""


def _is_halving(part: Part) -> bool:
    return part.kind == "avg_pool" and _has(part, {"kernel_size": {2}, "stride": {2}}) and _is_plain(part)


def _is_plain(part: Part) -> bool:
    """Return whether a pooling has no padding, unless it is max pooling, and no other settings than the usual ones."""
    settings = part.facts.settings
    is_padded = part.kind != "max_pool" and not _has(part, {"padding": {0}})
    return not is_padded and not settings.get("ceil_mode") and settings.get("divisor_override") is None


def _has(part: Part, usual: Mapping[str, Collection[int]]) -> bool:
    """Return whether settings are these along all axes; those that a class does not have are usual."""
    return all({*part.sides(name)} <= {*values} for name, values in usual.items())


def _holds_classifier(name: str, parts: Sequence[Part]) -> bool:
    """Return whether a module is the whole one, or holds a linear layer."""
    return not name or any(part.kind == "linear" and part.name.startswith(f"{name}.") for part in parts)


def _describe(part: Part) -> str:
    """Return a pooling with its settings, such as "AvgPool2d(kernel_size=2, stride=1)"."""
    shown = {key: value for key, value in part.facts.settings.items() if value not in (None, False)}
    sides = {key: value[0] if isinstance(value, list) and len({*value}) == 1 else value for key, value in shown.items()}
    return f"{part.short}({', '.join(f'{key}={value}' for key, value in sides.items())})"


def _geometry(parts: Sequence[Part], shapes: Shapes, spec: DenseNetSpec) -> str:
    """Return which convolutions have other strides, paddings or dilations than a DenseNet's."""
    convs = [part for part in parts if part.kind in _KERNELS and f"{part.name}.weight" in shapes]
    strided = [part.name for part in convs if {*part.sides("stride")} - {1}]
    others = [part.name for part in convs if not _is_centered(part, shapes[f"{part.name}.weight"][2:])]
    first = [part.name for part in convs[:1] if part.sides("stride")]
    if strided != (first if spec.stem == "imagenet" else []):
        others += [name for name in strided if name not in first] or first
    if not others:
        return ""
    return f"convolutions of the module have other strides, paddings or dilations than a DenseNet's: {others[0]!r}"


def _is_centered(part: Part, kernel: tuple[int, ...]) -> bool:
    settings, padding = part.facts.settings, list(part.sides("padding"))
    if settings.get("padding_mode", "zeros") != "zeros" or not _has(part, {"dilation": {1}, "stride": {1, 2}}):
        return False
    word = settings.get("padding")
    if word == "same":
        return all(side % 2 for side in kernel)
    expected = [side // 2 for side in kernel]
    return {*expected} <= {0} if word == "valid" else padding in (expected, [])


def _sequences(parts: Sequence[Part], shapes: Shapes, spec: DenseNetSpec) -> str:
    """Return where a Sequential, which calls its parts in order, has other operations than a DenseNet."""
    if spec.blur_pool:  # whose poolings are known by their filters
        return ""
    held: dict[str, list[Part]] = {}
    for part in parts:
        if part.name:
            held.setdefault(part.parent, []).append(part)
    kinds = {part.name: part.kind for part in parts}
    stem = next((part.name for part in parts if part.kind == "conv"), "")
    for part in parts:
        if part.kind == "sequence" and not part.is_leaf and kinds.get(part.parent) != "sequence":
            run = [own for own in _run(part, held) if not (own.is_leaf and own.kind in _SILENT)]
            if found := _other_run(run, stem, spec):
                return f"{part.name!r} has {found}"
    return ""


def _run(part: Part, held: Mapping[str, Sequence[Part]]) -> Iterator[Part]:
    for child in held.get(part.name, ()):
        if child.kind == "sequence":
            yield from _run(child, held)
        else:
            yield child


def _other_run(run: Sequence[Part], stem: str, spec: DenseNetSpec) -> str:
    """Return what is between two layers that run one after the other, if it is not what a DenseNet has there."""
    before, between, num_convs = "start", list[str](), 0
    is_stem = stem in [part.name for part in run]
    for kind in [*(part.kind if part.is_leaf else "other" for part in run), "end"]:
        if kind not in (*_CARRIERS, "other", "end"):
            between += [kind] if kind not in between[-1:] else []
            continue
        ends_stem = is_stem and before == "norm" and kind != "conv" and num_convs == 1 + len(spec.stem_widths)
        allowed = _allowed(before, kind, "max_pool" if ends_stem and spec.stem == "imagenet" else "")
        if allowed is not None and between not in allowed:
            words = " and ".join(_WORDS.get(own, own) for own in between) or "nothing"
            return f"{words} behind {_WORDS.get(before, 'what enters it')}, where a DenseNet has {_words(allowed)}"
        num_convs += kind == "conv"
        before, between = kind, []
    return ""


def _allowed(before: str, after: str, pooled: str) -> list[list[str]] | None:
    """Return the operations that a DenseNet may have between two layers; None: any.

    Args:
        pooled: the pooling behind the stem's last norm, if it is there.
    """
    ends = [["relu", "global_pool"], ["relu", "avg_pool"]]
    if before == "norm" and pooled:
        return [["relu", pooled]] if after != "end" else [["relu", pooled], ["relu"], []]
    if before == "norm":
        return {"conv": [["relu"]], "linear": [["relu"], *ends], "end": [["relu"], [], *ends]}.get(after)
    if before == "conv":
        return [[], ["avg_pool"], ["global_pool"]]
    if before == "linear":
        return [["relu"]] if after == "linear" else [[]] if after == "end" else None
    return None


def _words(allowed: Sequence[Sequence[str]]) -> str:
    return " and ".join(_WORDS.get(own, own) for own in allowed[0]) or "nothing"
