"""A DenseNet for inference: the same function without concatenations and with fewer passes over memory.

All layers of a block write their feature maps into one buffer. A norm and a ReLU before a 1x1 convolution are one
comparison: ``relu(scale * x + shift)`` is ``scale * max(x, -shift / scale) + shift`` if ``scale`` is above 0, and the
convolution takes the scale and the shift. Before other convolutions they are one multiply-add and the ReLU. A layer's
second norm is folded into the convolution before it. On a CPU, a large batch is processed in parts.
Nothing is compiled.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from densenet_core.networks.densenet import DenseLayer, DenseNet, Transition, select_channels
from densenet_core.networks.fused.norms import Conv, conv_norm, norm_relu

MAX_BUFFER_BYTES = 128_000_000  # the largest buffer of one part of a batch on a CPU


def fuse(model: DenseNet) -> FusedDenseNet:
    """Return a faster copy of the network for inference: the same scores up to rounding, without gradients.

    The copy computes what the network computes in evaluation mode. It can be moved to other devices and data types, and
    pickled. It does not follow later changes of ``model``.

    >>> import torch
    >>> from densenet_core import create_model
    >>> model = create_model("densenet-10-4").eval()
    >>> images = torch.randn(2, 3, 32, 32)
    >>> torch.allclose(fuse(model)(images), model(images), atol=1e-5)
    True
    """
    parameter = next(model.parameters())
    return FusedDenseNet(model).to(parameter.device, parameter.dtype).eval()


class FusedDenseNet(nn.Module):
    """A DenseNet for inference, made by ``fuse``: (N, in_channels, H, W) -> (N, num_classes)."""

    def __init__(self, model: DenseNet) -> None:
        super().__init__()
        self.spec = model.spec
        parts = dict(model.features.named_children())
        self.stem = _Stem(parts)
        self.blocks = nn.ModuleList()
        for block in range(1, len(self.spec.block_config) + 1):
            following = parts.get(f"transition{block}")
            layers = list(parts[f"denseblock{block}"].children())
            transition = _Transition(following) if isinstance(following, Transition) else None
            self.blocks.append(_Block(layers, self.spec.growth_rate, transition))
        self.head = _Head(model)

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        if self.spec.spatial_dims == 2:
            x = x.contiguous(memory_format=torch.channels_last)
        return torch.cat([self._scores(part) for part in self.split(x)])

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the parts of a batch that are processed one after the other; a GPU takes the whole batch."""
        is_one_batch = x.is_cuda or self.spec.norm == "batch_statistics"
        parts = 1 if is_one_batch else -(-len(x) // max(1, self._max_batch_size(x)))
        return x.tensor_split(max(1, parts))

    def _max_batch_size(self, x: Tensor) -> int:
        """Return the batch size at which the largest block's buffer has ``MAX_BUFFER_BYTES``."""
        reduction = 4 if self.spec.stem == "imagenet" else 1  # the stem divides each side by this
        positions = [
            (x.shape[2] / (reduction * 2**block)) ** self.spec.spatial_dims * maps
            for block, maps in enumerate(self.spec.block_outputs)
        ]
        return int(MAX_BUFFER_BYTES / (x.element_size() * max(positions)))

    def _scores(self, x: Tensor) -> Tensor:
        return self.scores_from(0, self.stem(x))

    def scores_from(self, block: int, x: Tensor) -> Tensor:
        """Return the scores, given the input of a block (0-based): (N, c, H, W) -> (N, num_classes)."""
        for following in self.blocks[block:]:
            x = following(x)
        scores: Tensor = self.head(x)
        return scores


class _Stem(nn.Module):
    """The first convolutions with their norms and ReLUs and, for ImageNet, max pooling."""

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        names = [name for name in parts if name.startswith("conv")]
        norms = [parts.get(name.replace("conv", "norm")) for name in names]
        self.convs = nn.ModuleList(conv_norm(parts[name], norm) for name, norm in zip(names, norms, strict=True))
        self.pool, self.has_relu = parts.get("pool0"), norms[0] is not None

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x)
            if self.has_relu:
                x = x.relu_()
        return x if self.pool is None else self.pool(x)


class _Layer(nn.Module):
    """A dense layer, which reads the first channels of the block's buffer: (N, c, H, W) -> (N, k, H, W)."""

    def __init__(self, layer: DenseLayer) -> None:
        super().__init__()
        dims = layer.conv1.weight.dim() - 2  # type: ignore[operator]
        self.ranges, self.norm = layer.ranges, norm_relu(layer.norm1, dims, fold=layer.bottleneck)
        self.conv1 = (
            conv_norm(layer.conv1, layer.norm2, self.norm) if layer.bottleneck else conv_norm(layer.conv1, None)
        )
        self.conv2 = Conv(layer.conv2) if layer.bottleneck else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.norm(select_channels(x, self.ranges)))
        return x if self.conv2 is None else self.conv2(x.relu_())


class _Transition(nn.Module):
    """A transition that pools before its 1x1 convolution. The two commute, and this order is a quarter of the work."""

    def __init__(self, transition: Transition) -> None:
        super().__init__()
        dims = transition.conv.weight.dim() - 2  # type: ignore[operator]
        self.ranges, self.norm, self.pool = transition.ranges, norm_relu(transition.norm, dims, True), transition.pool
        self.conv = Conv(transition.conv, before=self.norm)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(self.pool(self.norm(select_channels(x, self.ranges))))
        return out


class _Block(nn.Module):
    """A dense block, with the transition that follows it, if any: (N, c0, H, W) -> (N, m, H', W')."""

    def __init__(self, layers: list[nn.Module], growth_rate: int, transition: _Transition | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(layer) for layer in layers if isinstance(layer, DenseLayer))
        self.growth_rate = growth_rate
        self.transition = transition

    def forward(self, x: Tensor) -> Tensor:
        end = x.shape[1]
        memory_format = torch.channels_last if x.dim() == 4 else torch.contiguous_format
        shape = (len(x), end + self.growth_rate * len(self.layers), *x.shape[2:])
        buffer = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format)
        buffer[:, :end] = x
        for layer in self.layers:
            buffer[:, end : end + self.growth_rate] = layer(buffer[:, :end])
            end += self.growth_rate
        return buffer if self.transition is None else self.transition(buffer)


class _Head(nn.Module):
    """Norm, ReLU, global average pooling and the classifier."""

    def __init__(self, model: DenseNet) -> None:
        super().__init__()
        self.ranges, self.norm = model.ranges, norm_relu(model.features[-1], model.spec.spatial_dims, fold=True)
        self.classifier = copy.deepcopy(model.classifier).requires_grad_(False)
        first: Any = self.classifier[0] if isinstance(self.classifier, nn.Sequential) else self.classifier
        first.weight.data, first.bias.data = self.norm.fold_into(first.weight, first.bias)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.norm(select_channels(x, self.ranges)).flatten(2).mean(2))
        return scores
