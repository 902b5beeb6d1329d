"""A DenseNet's forward pass split by connection: how each target reads each of its sources.

A target normalizes the feature maps of all its sources, applies ReLU, and reads them with its first linear map (a dense
layer's first convolution, a transition's 1x1, the classifier's matrix). The map is linear, so its output is a sum over
the sources: the *parts* of the target's pre-activation, one per connection. Pooling comes before the map here: a
transition's average pooling and its 1x1 convolution commute, and the classifier reads averages anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.reuse.connections import Network, as_checkpoint, check_splits, dense_spec
from densenet_core.checkpoints.identify.connectivity import ConcatTarget, targets
from densenet_core.networks.densenet import DenseNet
from densenet_core.networks.fused import FusedDenseNet, fuse
from densenet_core.networks.fused.norms import NormRelu, fold_norm

_CONV: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@dataclass(frozen=True)
class Reader:
    """The way in which one target reads the feature maps of its block."""

    target: ConcatTarget
    edges: tuple[int, ...]  # source s has the channels edges[s] to edges[s+1] of its input
    norm: NormRelu  # the target's norm with its running statistics, and the ReLU
    pool: Callable[[Tensor], Tensor] | None
    weight: Tensor  # (out, in, *kernel)
    bias: Tensor | None  # (out,)
    finish: Callable[[Tensor], Tensor]  # from the whole pre-activation, bias included, to the target's output
    constants: Tensor | None = None  # (sources, out): what ``bias`` has of each source's part, which ``read`` lacks

    def activation(self, maps: Tensor, first: int = 0, end: int | None = None) -> Tensor:
        """Return the normalized and rectified maps of the sources ``first`` to ``end`` - 1.

        (N, c, H, W) -> the same, or pooled.
        """
        active: Tensor = self.norm(maps, *self._channels(first, end))
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
        return self.finish(self.with_bias(pre_activation))

    def with_bias(self, pre_activation: Tensor) -> Tensor:
        """Return the sum of all parts with the bias added."""
        if self.bias is None:
            return pre_activation
        return pre_activation + self.bias.view(-1, *(1,) * (pre_activation.dim() - 2))

    def constant(self, source: int) -> Tensor | float:
        """Return the constant of a source's part: (out, 1, 1), (classes,), or 0."""
        if self.constants is None:
            return 0.0
        return self.constants[source].view(-1, *(1,) * (self.weight.dim() - 2))

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
        fold: for speed, fold norms into the maps that follow them (``networks.fused``), and run whole blocks in the
            fused form. Activations and parts are then scaled and lack the readers' ``constants``; outputs are the same.

    Raises:
        CheckpointError: the network is not a DenseNet.
    """
    checkpoint = as_checkpoint(network)
    spec = dense_spec(checkpoint)
    check_splits(spec)
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
    bn, weight, bias, pool, finish = _linear_map(model, target, fold)
    reaches_beyond_edge = max(weight.shape[2:], default=1) > 1
    norm = NormRelu(bn, model.spec.spatial_dims, fold and not reaches_beyond_edge)
    if not norm.is_folded:
        return Reader(target, edges, norm, pool, weight, bias, finish)
    own = (weight.flatten(1) * norm.summand).T  # (in, out), for the kernel has one position
    constants = torch.stack([own[low:high].sum(0) for low, high in pairwise(edges)])
    return Reader(target, edges, norm, pool, *norm.fold_into(weight, bias), finish, constants)


def _linear_map(model: DenseNet, target: ConcatTarget, fold: bool) -> tuple[Any, Tensor, Tensor | None, Any, Any]:
    """Return the target's norm, the weight and the bias of its first linear map, the pooling before and the rest."""
    features: Any = model.features
    if target.kind == "classifier":
        head: Any = model.classifier
        linear: list[Any] = list(head) if isinstance(head, nn.Sequential) else [head]
        return features.norm5, linear[0].weight, linear[0].bias, _average, nn.Sequential(*linear[1:])
    if target.kind == "transition":
        transition: Any = features.get_submodule(f"transition{target.block}")
        return transition.norm, transition.conv.weight, None, transition.pool, _same
    layer: Any = features.get_submodule(f"denseblock{target.block}.denselayer{target.layer}")
    weight: Tensor = layer.conv1.weight
    if not layer.bottleneck:
        return layer.norm1, weight, None, None, _same
    if not fold:
        return layer.norm1, weight, None, None, lambda z: layer.conv2(F.relu(layer.norm2(z)))
    return layer.norm1, *fold_norm(weight, layer.norm2), None, lambda z: layer.conv2(F.relu(z, inplace=True))


def _average(maps: Tensor) -> Tensor:
    """Average over all positions: (N, c, H, W) -> (N, c)."""
    return maps.flatten(2).mean(2)


def _same(maps: Tensor) -> Tensor:
    return maps
