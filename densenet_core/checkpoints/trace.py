"""Trace any module that concatenates through one pass on the meta device: exact sources for every convolution.

No weights are copied and nothing is computed: a dispatch mode observes every operation and its shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from densenet_core.checkpoints.checkpoint import Checkpoint, checkpoint_from_state_dict
from densenet_core.checkpoints.identify.channel_graph import ChannelWalk, Maps
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.checkpoints.identify.identified_by import IdentifiedBy
from densenet_core.errors import CheckpointError, first_line
from densenet_core.networks.densenet import DenseNet
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.resnet import ResNet

DEFAULT_PIXELS = {1: 4096, 2: 224, 3: 64}  # per side, by the number of spatial dimensions: enough for the usual strides

# Operations that act on every feature map separately, and prefixes of the names of others.
_CHANNELWISE = {
    "relu", "relu6", "hardtanh", "leaky_relu", "elu", "silu", "gelu", "mish", "hardswish", "sigmoid", "hardsigmoid",
    "tanh", "softplus", "_prelu_kernel", "clone", "detach", "alias", "_to_copy", "native_dropout", "native_group_norm",
    "div", "neg", "pow", "abs", "sqrt",
}  # fmt: skip
_POOLS_AND_SIZES = ("max_pool", "avg_pool", "_adaptive_avg", "adaptive_max", "upsample_", "reflection_", "replication_")
_BATCH_NORM = {"native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit"}
_LINEAR = {"addmm": 1, "mm": 0, "linear": 0}  # and the position of the input among the arguments


def checkpoint_from_module(module: nn.Module, input_shape: Sequence[int] | None = None) -> Checkpoint:
    """Return a live network as a checkpoint: from its state dict where that suffices, else by tracing one pass.

    A DenseNet with known names is also traced if its running statistics do not show the order of concatenation.

    Args:
        input_shape: shape of the input for tracing, see ``trace_concatenations``.

    Raises:
        CheckpointError: it is neither a DenseNet nor a ResNet, and can't be traced or concatenates nothing.
    """
    if isinstance(module, DenseNet | ResNet):
        return Checkpoint(module.spec, module.state_dict())
    try:
        named, problem = checkpoint_from_state_dict(module.state_dict()), ""
    except CheckpointError as error:
        named, problem = None, f" ({error})"
    if named is not None and _is_sure(named):
        return named
    try:
        spec = trace_concatenations(module, input_shape)
    except CheckpointError as error:
        if named is not None:
            return named
        raise CheckpointError(f"{error}{problem}") from error
    if named is not None and isinstance(named.spec, DenseNetSpec):
        return checkpoint_from_state_dict(module.state_dict(), order="old_first" if spec.is_old_first else "new_first")
    return Checkpoint(spec, module.state_dict(), layout="a live module", identified_by=IdentifiedBy.TRACE)


def _is_sure(named: Checkpoint) -> bool:
    """Return whether tracing a pass would add nothing."""
    return not isinstance(named.spec, ConcatSpec) and (not isinstance(named.spec, DenseNetSpec) or bool(named.order))


def trace_concatenations(module: nn.Module, input_shape: Sequence[int] | None = None) -> ConcatSpec:
    """Return what a network concatenates, and which layers read it.

    Args:
        module: any network, on any device; it is not modified.
        input_shape: shape of its input, (N, C, *spatial). By default one image with the channels of the first
            convolution and 224 pixels per side (64 in three dimensions, 4,096 in one).

    Raises:
        CheckpointError: the module does not run on the meta device with this input, writes into slices of tensors, or
            concatenates nothing.
    """
    shape = tuple(input_shape) if input_shape is not None else _usual_shape(module)
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    meta = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    images = torch.empty(shape, device="meta")
    follow = _Follow(meta, images)
    modes = {part: part.training for part in module.modules()}
    try:
        module.eval()
        with torch.no_grad(), follow:
            functional_call(module, meta, (images,))
    except CheckpointError:
        raise
    except Exception as error:  # whatever the module's own code raises
        raise CheckpointError(
            f"the network can't be traced with an input of shape {shape} ({first_line(error)}): give input_shape, "
            "or its state dict"
        ) from error
    finally:
        for part, training in modes.items():
            part.training = training
    return follow.walk.spec(shape[1], why="it was traced from a live module")


def _usual_shape(module: nn.Module) -> tuple[int, ...]:
    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            dims = part.weight.ndim - 2
            return (1, part.in_channels, *(DEFAULT_PIXELS[dims],) * dims)
    raise CheckpointError("the network has no convolution: give a convolutional network")


class _Follow(TorchDispatchMode):
    """Records which feature maps every tensor of the network holds."""

    def __init__(self, weights: Mapping[str, Tensor], images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.walk = ChannelWalk()
        self.weights = {id(tensor): name for name, tensor in weights.items()}
        self.maps: dict[int, Maps] = {}
        self.channels_last: set[int] = set()  # of tensors, (N, *spatial, C)
        self.kept: list[object] = [weights]  # an id is unique as long as its tensor lives
        self._know(images, self.walk.source("input", images.shape[1]))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        inputs = [a for a in _flat(args) if isinstance(a, Tensor)]
        if name == "t" and id(args[0]) in self.weights:
            self.weights[id(out)] = self.weights[id(args[0])]
            self.kept.append(out)
        elif name.endswith("_like") or name.startswith("new_"):
            pass  # the same shape, not the same content
        elif known := [self.maps[id(tensor)] for tensor in inputs if id(tensor) in self.maps]:
            outs = [o for o in _flat((out,)) if isinstance(o, Tensor)]
            for tensor, maps in zip(outs, self._through(name, args, outs, known), strict=False):
                self._know(tensor, maps)
        return out

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
        if name in _BATCH_NORM:
            norm = self.weights.get(id(args[1]), "").removesuffix(".weight")
            return [Maps(maps.channels, norm or None)]
        if name == "native_layer_norm" and (normed := self._layer_norm(args, outs[0], maps)):
            return normed
        if id(args[0]) in self.channels_last:
            return [self.walk.source(f"{name} {len(self.kept)}", out.shape[1], known) for out in outs if out.ndim > 1]
        if name == "convolution":
            return [self._conv(args, maps, outs[0])]
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
        return [Maps(maps.channels, self.weights.get(id(args[2]), "").removesuffix(".weight") or None)]

    def _conv(self, args: tuple[Any, ...], maps: Maps, out: Tensor) -> Maps:
        """Return the new source that a convolution makes; a depthwise one keeps the feature maps."""
        weight, transposed, groups = self.weights.get(id(args[1])), args[6], args[8]
        if groups == len(maps.channels) == out.shape[1] > 1:
            return Maps(maps.channels)
        if weight is None:
            return self.walk.source("convolution with computed weights", out.shape[1], [maps])
        return self.walk.read(weight, maps, out.shape[1], groups=groups, input_axis=0 if transposed else 1)


Rule = Callable[[_Follow, tuple[Any, ...], list[Tensor], list[Maps]], list[Maps] | None]


def _cat(follow: _Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
    axis = args[1] if len(args) > 1 else 0
    if axis not in (1, 1 - outs[0].ndim) or outs[0].ndim < 2:
        return None
    parts = [follow.maps.get(id(part)) or follow.walk.source("constant", part.shape[1]) for part in args[0]]
    return [follow.walk.concatenate(parts)]


def _slice(follow: _Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
    axis = args[1] % args[0].ndim if len(args) > 1 else 0
    return [Maps(known[0].channels[slice(*args[2:5])], known[0].norm)] if axis == 1 else known if axis > 1 else None


def _split(follow: _Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
    axis = args[2] % args[0].ndim if len(args) > 2 else 0
    if axis != 1:
        return known * len(outs) if axis > 1 else None
    ends = np.cumsum([0, *(out.shape[1] for out in outs)])
    return [Maps(known[0].channels[start:end]) for start, end in pairwise(ends)]


def _reshape(follow: _Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
    """Reshape behind the channels, or flatten, which makes every pixel a channel."""
    before, after, maps = args[0].shape, outs[0].shape, known[0]
    if len(after) >= 2 and after[:2] == before[:2]:
        return [maps]
    if len(after) == 2 and len(before) > 2 and after[0] == before[0] and after[1] % before[1] == 0:
        return [Maps(np.repeat(maps.channels, after[1] // before[1]), maps.norm)]
    return None


def _average(follow: _Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
    axes = [axis % args[0].ndim for axis in (args[1] or ())] if len(args) > 1 else []
    return known[:1] if axes and min(axes) > 1 else None


def _pad(follow: _Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
    return known[:1] if outs[0].shape[1] == args[0].shape[1] else None


def _scale(follow: _Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
    """Multiply by a number, a weight or a gate (squeeze and excitation), which keeps several sources apart.

    A gated source is a new one: the layers of the gate are not targets of the block.
    """
    whole = [follow.maps[id(a)] for a in args if id(a) in follow.maps and a.shape == outs[0].shape]
    if len(known) == 1 or len(whole) != 1:
        return whole if len(known) == 1 and whole else None
    name = follow.walk.name(whole[0])
    return whole if name is None else [follow.walk.source(name, outs[0].shape[1], known)]


def _add(follow: _Follow, args: tuple[Any, ...], outs: list[Tensor], known: list[Maps]) -> list[Maps] | None:
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


def _flat(values: Any) -> list[Any]:
    return [leaf for value in values for leaf in (_flat(value) if isinstance(value, list | tuple) else (value,))]
