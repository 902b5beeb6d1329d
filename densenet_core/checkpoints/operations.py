"""The effect of each operation of a live module on feature maps, in the rules that all interpreters share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.checkpoints.identify.graphs.channel_graph import ChannelWalk, Maps, Step
from densenet_core.errors import CheckpointError

# Operations that act on every feature map separately, and prefixes of the names of others.
_CHANNELWISE = {
    "relu", "relu6", "hardtanh", "leaky_relu", "elu", "silu", "gelu", "mish", "hardswish", "sigmoid", "hardsigmoid",
    "tanh", "softplus", "_prelu_kernel", "clone", "detach", "alias", "_to_copy", "native_dropout", "native_group_norm",
    "div", "neg", "pow", "abs", "sqrt",
}  # fmt: skip
_POOLS_AND_SIZES = ("max_pool", "avg_pool", "_adaptive_avg", "adaptive_max", "upsample_", "reflection_", "replication_")
_OTHER_POOLS = ("adaptive_max", "upsample_", "reflection_", "replication_")
_UNCHANGED = {"clone", "detach", "alias", "_to_copy", "native_dropout", "native_group_norm"}  # in evaluation
_FUNCTIONS = (_CHANNELWISE | {"mul", "add", "sub"}) - _UNCHANGED
_NORMS = {
    "native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit", "native_group_norm",
}  # fmt: skip
_LINEAR = {"addmm": 1, "mm": 0, "linear": 0}  # and the position of the input among the arguments


class Follow(TorchDispatchMode):
    """Records which feature maps every tensor of the network holds."""

    def __init__(self, weights: Mapping[str, Tensor], images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.walk = ChannelWalk()
        self.weights = {id(tensor): name for name, tensor in weights.items()}
        self.masks: dict[str, str] = {}  # of weights: the names of the masks that they are multiplied with
        self.maps: dict[int, Maps] = {}
        self.in_channels = images.shape[1]
        self.channels_last: set[int] = set()  # of tensors, (N, *spatial, C)
        self.kept: list[object] = [weights]  # an id is unique as long as its tensor lives
        self._know(images, self.walk.source("input", images.shape[1]))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        inputs = [a for a in _flat(args) if isinstance(a, Tensor)]
        is_matrix = name in ("permute", "transpose") and out.ndim == 2
        if (name in ("t", "repeat") or is_matrix) and id(args[0]) in self.weights:  # instance norms repeat theirs
            self.weights[id(out)] = self.weights[id(args[0])]
            self.kept.append(out)
        elif name == "mul" and (masked := self._masked(inputs)):
            self.weights[id(out)] = masked
            self.kept.append(out)
        elif name.endswith("_like") or name.startswith("new_"):
            pass  # the same shape, not the same content
        elif known := [self.maps[id(tensor)] for tensor in inputs if id(tensor) in self.maps]:
            outs = [o for o in _flat((out,)) if isinstance(o, Tensor)]
            for tensor, maps in zip(outs, self._through(name, args, outs, known), strict=False):
                self._know(tensor, maps)
        return out

    def _masked(self, factors: Sequence[Tensor]) -> str | None:
        """Return the name of a weight that is multiplied with its mask, as in CondenseNet, and keep the mask's."""
        names = [self.weights.get(id(factor), "") for factor in factors]
        masks = [name for name in names if name.endswith("mask")]
        if not all(names) or len(names) != 2 or len(masks) != 1 or factors[0].shape != factors[1].shape:
            return None
        (weight,) = (name for name in names if name not in masks)
        self.masks[weight] = masks[0]
        return weight

    def spec(self, why: str = "") -> ConcatSpec:
        """Return the concatenations; ``why`` it is not a network that can be built.

        Raises:
            CheckpointError: no layer reads feature maps that are concatenated.
        """
        return self.walk.spec(self.in_channels, why or "it was traced from a live module")

    def _know(self, tensor: Tensor, maps: Maps) -> None:
        self.maps[id(tensor)] = maps
        self.kept.append(tensor)

    def _through(self, name: str, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps]:
        """Return the feature maps of an operation's results."""
        maps = known[0]
        if name == "copy_" and args[0]._base is not None:
            raise CheckpointError("the network writes into slices of tensors, which can't be traced")
        if name == "permute" and (permuted := self._permute(args, outs[0], maps)):
            return permuted
        if name in _NORMS:
            self.walk.steps.append(Step("norm"))
            norm = self.weights.get(id(args[1]), "").removesuffix(".weight")
            return [Maps(maps.channels, norm or None)]
        if name == "native_layer_norm" and (normed := self._layer_norm(args, outs[0], maps)):
            return normed
        if id(args[0]) in self.channels_last:
            return [self.walk.source(f"{name} {len(self.kept)}", out.shape[1], known) for out in outs if out.ndim > 1]
        if name == "convolution":
            return [self._conv(args, maps, outs[0])]
        self._note(name, args)
        if name in _LINEAR and (weight := self.weights.get(id(args[_LINEAR[name] + 1]))):
            return [self.walk.read(weight, maps, outs[0].shape[1], is_linear=True)]
        if name in _RULES and (found := _RULES[name](self, args, outs, known)) is not None:
            return found
        is_channelwise = name.rstrip("_") in _CHANNELWISE or name.startswith(_POOLS_AND_SIZES)
        if is_channelwise and len(known) == 1 and outs[0].shape[:2] == args[0].shape[:2]:
            return [maps]
        return [self.walk.source(f"{name} {len(self.kept)}", out.shape[1], known) for out in outs if out.ndim > 1]

    def _permute(self, args: tuple[Any, ...], out: Tensor, maps: Maps) -> list[Maps] | None:
        """Permute, keeping the feature maps where channels come first or last, as around a layer norm."""
        place = args[0].ndim - 1 if id(args[0]) in self.channels_last else 1
        axis = [order % out.ndim for order in args[1]].index(place)
        if axis == out.ndim - 1 != 1:
            self.channels_last.add(id(out))
        return [maps] if axis in (1, out.ndim - 1) else None

    def _layer_norm(self, args: tuple[Any, ...], out: Tensor, maps: Maps) -> list[Maps] | None:
        """Apply a layer norm over the channels alone."""
        is_last = id(args[0]) in self.channels_last
        if len(args[1]) != 1 or not (is_last or out.ndim == 2):
            return None
        if is_last:
            self.channels_last.add(id(out))
        self.walk.steps.append(Step("norm"))
        return [Maps(maps.channels, self.weights.get(id(args[2]), "").removesuffix(".weight") or None)]

    def _conv(self, args: tuple[Any, ...], maps: Maps, out: Tensor) -> Maps:
        kernel, (stride, padding, dilation, is_transposed), groups = args[1].shape[2:], args[3:7], args[8]
        dims, is_special = len(kernel), is_transposed or set(dilation) != {1}
        self.walk.steps.append(Step("conv", tuple(kernel), _sides(stride, dims), _sides(padding, dims), is_special))
        return self.walk.convolve(self.weights.get(id(args[1])), maps, out.shape[1], groups, is_transposed)

    def _note(self, name: str, args: tuple[Any, ...]) -> None:
        """Record a pooling, or a function on single values, for the comparison with a DenseNet."""
        plain = name.rstrip("_")
        kind = next((kind for kind in ("max_pool", "avg_pool") if name.startswith(kind)), None)
        if kind is not None:
            given, dims = dict(enumerate(args)), args[0].ndim - 2
            kernel = _sides(given[1], dims)
            stride, padding = _sides(given.get(2) or kernel, dims), _sides(given.get(3, [0]), dims)
            is_special = any(given.get(place) is True for place in (4, 5)) and kind == "max_pool"
            is_special |= kind == "avg_pool" and given.get(4) is True
            self.walk.steps.append(Step(kind, kernel, stride, padding, is_special))
        elif plain == "add" and args[0].ndim == 2 and id(args[1]) in self.weights:
            pass  # the bias of a linear layer that is written as a product and a sum
        elif name.startswith("_adaptive_avg") or (plain == "mean" and _is_spatial(args)):
            self.walk.steps.append(Step("global_pool"))
        elif plain in ("amax", "sum") and _is_spatial(args):
            self.walk.functions[plain] += 1  # pooling over all pixels, but not the mean
        elif plain in _FUNCTIONS or name.startswith(_OTHER_POOLS):
            self.walk.apply(plain)


Rule = Callable[[Follow, tuple[Any, ...], list[Tensor], list[Maps]], list[Maps] | None]


def _cat(follow: Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
    axis = args[1] if len(args) > 1 else 0
    if axis not in (1, 1 - outs[0].ndim) or outs[0].ndim < 2:
        return None
    parts = [follow.maps.get(id(part)) or follow.walk.source("constant", part.shape[1]) for part in args[0]]
    return [follow.walk.concatenate(parts)]


def _slice(follow: Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
    axis = args[1] % args[0].ndim if len(args) > 1 else 0
    return [known[0].slice_maps(*args[2:5])] if axis == 1 else known if axis > 1 else None


def _split(follow: Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
    axis = args[2] % args[0].ndim if len(args) > 2 else 0
    if axis != 1:
        return known * len(outs) if axis > 1 else None
    return known[0].split([out.shape[1] for out in outs])


def _reshape(follow: Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
    """Reshape behind the channels, or flatten, which makes every pixel a channel."""
    before, after, maps = args[0].shape, outs[0].shape, known[0]
    if len(after) >= 2 and after[:2] == before[:2]:
        return [maps]
    is_flat = len(after) == 2 < len(before) and after[0] == before[0]
    return [flat] if is_flat and (flat := maps.flatten(after[1])) else None


def _average(follow: Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
    return known[:1] if _is_spatial(args) else None


def _pad(follow: Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
    return known[:1] if outs[0].shape[1] == args[0].shape[1] else None


def _scale(follow: Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
    whole = [follow.maps[id(a)] for a in args if id(a) in follow.maps and a.shape == outs[0].shape]
    gated = follow.walk.gate(whole, known)
    return None if gated is None else [gated]


def _add(follow: Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
    return known if len(known) == 1 and outs[0].shape[1] == len(known[0].channels) else None


_RULES: dict[str, Rule] = {
    "cat": _cat,
    "slice": _slice,
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split"), _split),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("mean", "amax", "sum"), _average),
    "constant_pad_nd": _pad,
    **dict.fromkeys(("mul", "mul_"), _scale),
    **dict.fromkeys(("add", "add_", "sub", "sub_"), _add),
}


def _is_spatial(args: tuple[Any, ...]) -> bool:
    """Return whether an operation goes over pixels alone: (tensor, axes, ...)."""
    axes = args[1] if len(args) > 1 and isinstance(args[1], list) else []
    return bool(axes) and min(axis % args[0].ndim for axis in axes) > 1


def _sides(values: Sequence[int] | int, dims: int) -> tuple[int, ...]:
    """Return one number per side: the last ones, as poolings of one dimension are made of those of two."""
    given = [values] if isinstance(values, int) else list(values)
    return tuple(given[-dims:] if len(given) >= dims else given * dims)


def _flat(values: Any) -> list[Any]:
    return [leaf for value in values for leaf in (_flat(value) if isinstance(value, list | tuple) else (value,))]
