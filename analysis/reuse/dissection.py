"""A DenseNet's forward pass split by connection: how each target reads each of its sources.

A target normalizes the feature maps of all its sources, applies ReLU, and reads them with its first linear map (a dense
layer's first convolution, a transition's 1x1, the classifier's matrix). The map is linear, so its output is a sum over
the sources: the *parts* of the target's pre-activation, one per connection. Pooling comes before the map here: a
transition's average pooling and its 1x1 convolution commute, and the classifier reads averages anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.reuse.connections import Network, as_checkpoint, dense_spec
from densenet_core.checkpoints.identify.connectivity import ConcatTarget, targets
from densenet_core.networks.densenet import DenseLayer, DenseNet, Transition
from densenet_core.networks.fused import FusedDenseNet, compute_scale_and_shift, fuse

_CONV: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@dataclass(frozen=True)
class Reader:
    """How one target reads the feature maps of its block."""

    target: ConcatTarget
    edges: tuple[int, ...]  # source s has the channels edges[s] to edges[s+1] of its input
    scale: Tensor  # (C, 1, 1): the target's norm with its running statistics, scale * x + shift
    shift: Tensor  # (C, 1, 1)
    pool: Callable[[Tensor], Tensor] | None
    weight: Tensor  # (out, in, *kernel)
    bias: Tensor | None  # (out,)
    finish: Callable[[Tensor], Tensor]  # from the whole pre-activation to the target's output

    def activation(self, maps: Tensor, first: int = 0, end: int | None = None) -> Tensor:
        """Return the normalized and rectified maps of the sources ``first`` to ``end`` - 1.

        (N, c, H, W) -> the same, or pooled.
        """
        low, high = self._channels(first, end)
        active = torch.addcmul(self.shift[low:high], maps, self.scale[low:high]).relu_()
        return active if self.pool is None else self.pool(active)

    def read(self, activation: Tensor, first: int = 0, end: int | None = None) -> Tensor:
        """Return these sources' part of the pre-activation: (N, c, H, W) -> (N, out, H, W), or (N, classes)."""
        low, high = self._channels(first, end)
        weight = self.weight[:, low:high]
        if weight.dim() == 2:
            return F.linear(activation, weight)
        part: Tensor = _CONV[weight.dim() - 2](activation, weight, padding=weight.shape[-1] // 2)
        return part

    def output(self, pre_activation: Tensor) -> Tensor:
        """Return the target's output, given the sum of all parts."""
        if self.bias is not None:
            pre_activation = pre_activation + self.bias.view(-1, *(1,) * (pre_activation.dim() - 2))
        return self.finish(pre_activation)

    def onward(self, maps: Tensor, activation: Tensor) -> Tensor:
        """Return the block's ``maps`` with a dense layer's output appended, or the output of what follows the block."""
        out = self.output(self.read(activation))
        return torch.cat((maps, out), dim=1) if self.target.kind == "dense_layer" else out

    def _channels(self, first: int, end: int | None) -> tuple[int, int]:
        return self.edges[first], self.edges[self.target.layer if end is None else end]


@dataclass(frozen=True)
class Dissection:
    """A network as its stem and the readers of each block: its dense layers, then what follows the block."""

    stem: nn.Module
    blocks: tuple[tuple[Reader, ...], ...]
    fused: FusedDenseNet | None = None  # the same network, where its parts need not be seen

    def __call__(self, images: Tensor) -> Tensor:
        """Return the network's scores, (N, classes)."""
        return self.scores_from(0, self.stem(images))

    def scores_from(self, block: int, maps: Tensor) -> Tensor:
        """Return the scores, given the input of a block (0-based); behind the last block, ``maps`` are the scores."""
        if self.fused is not None and block < len(self.blocks):
            return self.fused.scores_from(block, maps)
        for readers in self.blocks[block:]:
            maps = through_block(readers, maps)
        return maps

    @property
    def readers(self) -> list[Reader]:
        """All targets, in the feature-reuse table's order."""
        return [reader for readers in self.blocks for reader in readers]


def through_block(readers: Sequence[Reader], maps: Tensor) -> Tensor:
    """Run successive targets; for a whole block (N, c0, H, W) -> the next block's input, or the scores."""
    for reader in readers:
        maps = reader.onward(maps, reader.activation(maps))
    return maps


def dissect(network: Network, device: torch.device | None = None, fold: bool = False) -> Dissection:
    """Split a network into stem and readers; norms use their running statistics, as in evaluation mode.

    Args:
        fold: for speed, fold a bottleneck's second norm into its first convolution, which scales the parts, and run
            whole blocks in the fused form.

    Raises:
        CheckpointError: the network is not a DenseNet.
    """
    checkpoint = as_checkpoint(network)
    spec = dense_spec(checkpoint)
    model = checkpoint.to_model()
    assert isinstance(model, DenseNet)
    model.to(device or torch.device("cpu")).eval().requires_grad_(False)
    if spec.spatial_dims == 2:
        model.to(memory_format=torch.channels_last)
    found = [
        _reader(model, target, _edges(spec.source_channels(target.block), target), fold) for target in targets(spec)
    ]
    blocks = (tuple(r for r in found if r.target.block == block) for block in range(1, len(spec.block_config) + 1))
    stem = nn.Sequential()
    for name, part in model.features.named_children():
        if name == "denseblock1":
            break
        stem.add_module(name, part)
    return Dissection(stem, tuple(blocks), fuse(model) if fold else None)


def _edges(channels: tuple[int, ...], target: ConcatTarget) -> tuple[int, ...]:
    return tuple(int(edge) for edge in np.cumsum([0, *channels[: target.layer]]))


def _reader(model: DenseNet, target: ConcatTarget, edges: tuple[int, ...], fold: bool) -> Reader:
    features: Any = model.features
    if target.kind == "classifier":
        head: Any = model.classifier
        linear: list[Any] = list(head) if isinstance(head, nn.Sequential) else [head]
        norm = _affine(model, features.norm5)
        return Reader(target, edges, *norm, _average, linear[0].weight, linear[0].bias, nn.Sequential(*linear[1:]))
    if target.kind == "transition":
        transition: Transition = features.get_submodule(f"transition{target.block}")
        weight: Any = transition.conv.weight
        return Reader(target, edges, *_affine(model, transition.norm), transition.pool, weight, None, _same)
    layer: DenseLayer = features.get_submodule(f"denseblock{target.block}.denselayer{target.layer}")
    weight, norm = layer.conv1.weight, _affine(model, layer.norm1)
    if not layer.bottleneck:
        return Reader(target, edges, *norm, None, weight, None, _same)
    if not fold:
        return Reader(target, edges, *norm, None, weight, None, lambda z: layer.conv2(F.relu(layer.norm2(z))))
    scale, bias = compute_scale_and_shift(layer.norm2)
    folded = weight * scale.view(-1, *(1,) * (weight.dim() - 1))
    return Reader(target, edges, *norm, None, folded, bias, lambda z: layer.conv2(F.relu(z, inplace=True)))


def _affine(model: DenseNet, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift of a norm, (C, 1, 1) each."""
    scale, shift = compute_scale_and_shift(norm)
    shape = (-1, *(1,) * model.spec.spatial_dims)
    return scale.view(shape), shift.view(shape)


def _average(maps: Tensor) -> Tensor:
    """Over all positions: (N, c, H, W) -> (N, c)."""
    return maps.flatten(2).mean(2)


def _same(maps: Tensor) -> Tensor:
    return maps
