"""What a network computes otherwise than a DenseNet whose weights have the same names and shapes.

Compared are its convolutions and poolings, its functions on single values, its norms, and the order of all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from densenet_core.checkpoints.identify.graphs.channel_graph import ChannelWalk, Step
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.layers import Layer, unchecked_layers

_POOLS = ("max_pool", "avg_pool", "other_pool")
_STEPS = ("conv", "max_pool", "avg_pool")
_WORDS = {
    "conv": "a convolution",
    "max_pool": "max pooling",
    "avg_pool": "average pooling",
    "global_pool": "the global pooling",
    "linear": "a linear layer",
    "norm": "a norm",
    "relu": "a ReLU",
}


def find_difference(walk: ChannelWalk, spec: DenseNetSpec) -> str:
    """Return in what a network computes something else than a DenseNet with this spec, or an empty text.

    Compared are its convolutions in order, its poolings, and its functions on single values. Behind the last
    convolution, average pooling may be the global one, and a convolution of one pixel the classifier.
    """
    if others := walk.functions.keys() - {"relu"}:
        return f"it computes {', '.join(sorted(others))}"
    if mixed := find_mixed_norms(walk):
        return mixed
    layers = unchecked_layers(spec, input_size=1)
    if spec.blur_pool:
        return ""
    expected = [_step(layer, spec.spatial_dims) for layer in layers if layer.kind in _STEPS]
    convs, own_convs = ([step for step in steps if step.kind == "conv"] for steps in (expected, walk.steps))
    pools, own_pools = (Counter(step for step in steps if step.kind in _POOLS) for steps in (expected, walk.steps))
    extra = [*(own_pools - pools).elements(), *own_convs[len(convs) :]]
    if own_convs[: len(convs)] != convs or pools - own_pools or not _is_head(extra):
        wrong = [own for own, conv in zip(own_convs, convs, strict=False) if own != conv] or extra
        return f"it has {wrong[0]}" if wrong else f"it has no {next((pools - own_pools).elements(), convs[-1])}"
    num_relus = sum(layer.kind == "relu" for layer in layers)
    if walk.functions["relu"] != num_relus:
        return f"it has {walk.functions['relu']} ReLUs, and a DenseNet of its size {num_relus}"
    kinds_in_order = [_WORDS[layer.kind] for layer in layers if layer.kind in _WORDS]
    return _find_other_order(walk.steps, kinds_in_order, len(convs))


def find_mixed_norms(walk: ChannelWalk) -> str:
    """Return which kinds of norms a network has, if it has several, or an empty text."""
    kinds = dict.fromkeys(kind for kind, _ in walk.norms.values())
    return f"its norms are {' and '.join(kinds)}" if len(kinds) > 1 else ""


def _find_other_order(steps: Sequence[Step], expected: Sequence[str], num_convs: int) -> str:
    """Return where operations run in another order than in a DenseNet, or an empty text.

    Average pooling and a convolution of one pixel behind it may change places, which computes the same. Norms may be
    missing: they may be part of a convolution's weights.
    """
    own, places = _in_usual_order(steps, num_convs), iter([*expected, "its end"])
    may_lack = {_WORDS["norm"], *({_WORDS["global_pool"]} - {*own})}  # of one pixel, the mean is the pixel
    for words in (*own, "its end"):
        for other in places:
            if other == words:
                break
            if other not in may_lack:
                return f"it has {words} in the place where a DenseNet of its size has {other}"
    return ""


def _in_usual_order(steps: Sequence[Step], num_convs: int) -> list[str]:
    """Return the operations in words, with poolings behind convolutions of one pixel that directly follow them."""
    found: list[str] = []
    for step in steps:
        kind = step.kind
        is_behind = found.count(_WORDS["conv"]) == num_convs  # the last layer
        if is_behind:
            kind = {"avg_pool": "global_pool", "conv": "linear"}.get(kind, kind)
        words, before = _WORDS.get(kind, kind), found[-1] if found else ""
        if is_behind and words == before == _WORDS["global_pool"]:
            continue
        is_pooled_first = before == _WORDS["avg_pool"] and step.kind == "conv" and {*step.kernel} == {1}
        is_pooled_last = before == _WORDS["linear"] and words == _WORDS["global_pool"]
        found.insert(len(found) - (is_pooled_first or is_pooled_last), words)
    return found


def _step(layer: Layer, dims: int) -> Step:
    padding = 0 if layer.kernel % 2 == 0 else layer.kernel // 2
    return Step(layer.kind, (layer.kernel,) * dims, (layer.stride,) * dims, (padding,) * dims)


def _is_head(steps: Sequence[Step]) -> bool:
    """Return whether these may follow the last block: global average pooling and a classifier of one pixel."""
    kinds = Counter(step.kind for step in steps)
    is_pixelwise = all(set(step.kernel) == {1} for step in steps if step.kind == "conv")
    return is_pixelwise and kinds["conv"] <= 1 and kinds["avg_pool"] <= 1 and not kinds["max_pool"]
