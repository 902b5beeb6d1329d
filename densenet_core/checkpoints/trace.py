"""Trace any module that concatenates through one pass on the meta device: exact sources for every convolution.

No weights are copied and nothing is computed: a dispatch mode observes every operation and its shapes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from densenet_core.arrays import as_tensor
from densenet_core.checkpoints.checkpoint import Checkpoint, checkpoint_from_state_dict
from densenet_core.checkpoints.formats.tensors import to_arrays
from densenet_core.checkpoints.identify.concat_order import Order, to_old_first
from densenet_core.checkpoints.identify.connectivity import ConcatSpec, as_concatenations, observed_readings
from densenet_core.checkpoints.identify.graphs.channel_graph import COMPUTED, ChannelWalk
from densenet_core.checkpoints.identify.graphs.difference import find_difference
from densenet_core.checkpoints.identify.identified_by import IdentifiedBy
from densenet_core.checkpoints.identify.variants import USUAL_EPSILON, check_biases, without
from densenet_core.checkpoints.module_facts import find_norms, kind_of, with_our_epsilon
from densenet_core.checkpoints.operations import Follow
from densenet_core.errors import CheckpointError, first_line
from densenet_core.networks.densenet import DenseNet
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.network import evaluation_mode
from densenet_core.networks.resnet import ResNet

DEFAULT_PIXELS = {1: 4096, 2: 224, 3: 64}  # per side, by the number of spatial dimensions: enough for the usual strides
_DERIVED = re.compile(r"\.parametrizations\.|_(?:orig|g|v)$")  # names of what weights are computed from
SMALL_PIXELS = 32  # of CIFAR's images, for networks that average over a fixed number of pixels


def checkpoint_from_module(module: nn.Module, input_shape: Sequence[int] | None = None) -> Checkpoint:
    """Return a live network as a checkpoint: from its state dict where that suffices, else by tracing one pass.

    A DenseNet is traced too: one that computes something else than its names and shapes suggest (other functions than
    ReLU, other strides or poolings) has only a table.

    Args:
        input_shape: shape of the input for tracing, see ``trace_concatenations``.

    Raises:
        CheckpointError: it is neither a DenseNet nor a ResNet, and can't be traced or concatenates nothing.
    """
    if isinstance(module, DenseNet | ResNet):
        return Checkpoint(module.spec, module.state_dict())
    try:
        named = _read_by_names(module)
    except CheckpointError as error:
        return _trace_unnamed(module, input_shape, error)
    if isinstance(named.spec, DenseNetSpec | ConcatSpec):
        return _trace_named(module, input_shape, named, named.spec)
    return named


def _trace_unnamed(module: nn.Module, input_shape: Sequence[int] | None, problem: CheckpointError) -> Checkpoint:
    """Return a network that its state dict does not show, because of ``problem``."""
    try:
        follow = _followed(module, input_shape)
        return _as_traced(module, follow, follow.spec())
    except CheckpointError as error:
        raise CheckpointError(f"{error} ({problem})") from error


def _trace_named(
    module: nn.Module, input_shape: Sequence[int] | None, named: Checkpoint, spec: DenseNetSpec | ConcatSpec
) -> Checkpoint:
    """Return a network as its state dict shows it, unless the pass shows something else."""
    difference = ""
    try:
        follow = _followed(module, input_shape)
        difference = _find_difference(module, follow.walk, spec)
        traced = follow.spec(spec.why if isinstance(spec, ConcatSpec) else difference)
    except CheckpointError as error:
        known = as_concatenations(spec, difference) if difference else spec
        return replace(named, spec=known, notes=(*named.notes, f"its operations were not followed: {error}"))
    if isinstance(spec, ConcatSpec) or difference:
        return _as_traced(module, follow, traced)
    if not _has_derived_weights(module):  # a pass does not follow the layers that use them
        try:
            named = _in_traced_order(
                named if named.order == "old_first" else _read_by_names(module, "old_first"), traced
            )
        except CheckpointError as error:
            return _as_traced(module, follow, replace(traced, why=str(error)))
    return replace(named, assumed=without(named.assumed) if spec.blur_pool else ())


def _as_traced(module: nn.Module, follow: Follow, spec: ConcatSpec) -> Checkpoint:
    return Checkpoint(spec, _weights(module, follow), layout="a live module", identified_by=IdentifiedBy.TRACE)


def _in_traced_order(named: Checkpoint, followed: ConcatSpec) -> Checkpoint:
    """Return a DenseNet, read as if it concatenated old maps first, with its maps where the pass followed them.

    Raises:
        CheckpointError: its layers read other feature maps, or group norms do not allow another order.
    """
    if not isinstance(named.spec, DenseNetSpec):
        raise CheckpointError("its tensors are not those of a DenseNet")
    check_biases(named.notes, followed.order)
    readings = observed_readings(followed, named.spec)
    return replace(named, weights=to_old_first(named.arrays, named.spec, readings), order=followed.order)


def _weights(module: nn.Module, follow: Follow) -> dict[str, Tensor]:
    """Return the state dict of a module, with the weights multiplied with the masks that it multiplies them with."""
    state: dict[str, Tensor] = module.state_dict()
    return {**state, **{weight: state[weight] * state[mask] for weight, mask in follow.masks.items() if mask in state}}


def _has_derived_weights(module: nn.Module) -> bool:
    return any(_DERIVED.search(key) for key in module.state_dict())


def _find_difference(module: nn.Module, walk: ChannelWalk, spec: DenseNetSpec | ConcatSpec) -> str:
    """Return in what a module computes something else than the DenseNet that its state dict shows."""
    if isinstance(spec, ConcatSpec):
        return ""
    if _has_derived_weights(module):  # composed when the state dict was read
        del walk.functions[COMPUTED]
    if spec.norm != "batch" and kind_of(find_norms(module)) is None:
        return "its norms are of a class that is not known"
    return find_difference(walk, spec)


def _read_by_names(module: nn.Module, order: Order | None = None) -> Checkpoint:
    """Return a live network as its state dict and its norms show it."""
    norms = find_norms(module)
    arrays, notes = with_our_epsilon(to_arrays(module.state_dict()), norms)
    tensors = {key: as_tensor(array) for key, array in arrays.items()}
    found = checkpoint_from_state_dict(tensors, order=order, norm=kind_of(norms))
    return replace(found, notes=(*found.notes, *notes), assumed=without(found.assumed, (USUAL_EPSILON,)))


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
    return _followed(module, input_shape).spec()


def _followed(module: nn.Module, input_shape: Sequence[int] | None) -> Follow:
    """Follow one pass; by default with a large image, and with a small one where the network does not take it."""
    if input_shape is not None:
        return _follow(module, tuple(input_shape))
    shape = _usual_shape(module)
    try:
        return _follow(module, shape)
    except CheckpointError:
        try:
            return _follow(module, (*shape[:2], *(SMALL_PIXELS,) * (len(shape) - 2)))
        except CheckpointError:
            pass
        raise


def _follow(module: nn.Module, shape: tuple[int, ...]) -> Follow:
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    meta = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    images = torch.empty(shape, device="meta")
    follow = Follow(meta, images)
    try:
        with evaluation_mode(module), torch.no_grad(), follow:
            functional_call(module, meta, (images,))
    except CheckpointError:
        raise
    except Exception as error:  # whatever the module's own code raises
        raise CheckpointError(
            f"the network can't be traced with an input of shape {shape} ({first_line(error)}): give input_shape, "
            "or its state dict"
        ) from error
    return follow


def _usual_shape(module: nn.Module) -> tuple[int, ...]:
    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            dims = part.weight.ndim - 2
            return (1, part.in_channels, *(DEFAULT_PIXELS[dims],) * dims)
    raise CheckpointError("the network has no convolution: give a convolutional network")
