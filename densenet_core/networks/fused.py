"""A DenseNet for inference alone: the same function, without the copying and with fewer passes over memory.

A block's feature maps lie in one buffer, into which every layer writes its own; a layer's first norm and ReLU are one
multiply-add over what lies before it; its second norm is folded into the convolution before. On a CPU the batch goes
through in parts that fit its cache. Nothing is compiled.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core.networks.densenet import DenseLayer, DenseNet, Transition, selected

CACHE_BYTES = 12_000_000  # what the largest buffer of a part of the batch may take on a CPU
_CONV: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def fuse(model: DenseNet) -> FusedDenseNet:
    """The network as in evaluation mode, fused: the same scores up to rounding, without gradients.

    It is a module like others: it moves to devices and types, and pickles. Later changes of ``model`` are not seen.

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
    """(N, in_channels, H, W) -> (N, num_classes); made by ``fuse``."""

    def __init__(self, model: DenseNet) -> None:
        super().__init__()
        self.spec = model.spec
        parts = dict(model.features.named_children())
        self.stem = _Stem(parts["conv0"], parts.get("norm0"), parts.get("pool0"))
        self.blocks = nn.ModuleList()
        for block in range(1, len(self.spec.block_config) + 1):
            behind = parts.get(f"transition{block}")
            layers = list(parts[f"denseblock{block}"].children())
            transition = _Transition(behind) if isinstance(behind, Transition) else None
            self.blocks.append(_Block(layers, self.spec.growth_rate, transition))
        self.head = _Head(model)

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        if self.spec.spatial_dims == 2:
            x = x.contiguous(memory_format=torch.channels_last)
        parts = 1 if x.is_cuda else -(-len(x) // max(1, self._images_at_once(x)))
        return torch.cat([self._scores(part) for part in x.tensor_split(max(1, parts))])

    def _images_at_once(self, x: Tensor) -> int:
        """So many that the largest block's buffer fits the cache."""
        reduction = 4 if self.spec.stem == "imagenet" else 1  # of the sides, by the stem
        positions = [
            (x.shape[2] / (reduction * 2**block)) ** self.spec.spatial_dims * maps
            for block, maps in enumerate(self.spec.block_outputs)
        ]
        return int(CACHE_BYTES / (x.element_size() * max(positions)))

    def _scores(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.head(x)
        return scores


class _Affine(nn.Module):
    """A norm with its running statistics, as a factor and a summand for each channel, and ReLU."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.Module, dims: int) -> None:
        super().__init__()
        scale, shift = scale_and_shift(norm)
        self.register_buffer("scale", scale.view(-1, *(1,) * dims))  # (C, 1, 1)
        self.register_buffer("shift", shift.view(-1, *(1,) * dims))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale).relu_()


class _Conv(nn.Module):
    """A convolution, with the norm behind it folded in where there is one."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, conv: nn.Module, norm: nn.Module | None = None) -> None:
        super().__init__()
        module: Any = conv
        weight, bias = module.weight.detach(), None
        if norm is not None:
            scale, bias = scale_and_shift(norm)
            weight = weight * scale.view(-1, *(1,) * (weight.dim() - 1))
        if weight.dim() == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", weight.clone())
        self.register_buffer("bias", bias)
        self.stride, self.padding, self.apply_conv = module.stride, module.padding, _CONV[weight.dim() - 2]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.apply_conv(x, self.weight, self.bias, self.stride, self.padding)
        return out


class _Stem(nn.Module):
    def __init__(self, conv: nn.Module, norm: nn.Module | None, pool: nn.Module | None) -> None:
        super().__init__()
        self.conv, self.pool, self.has_relu = _Conv(conv, norm), pool, norm is not None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.has_relu:
            x = x.relu_()
        return x if self.pool is None else self.pool(x)


class _Layer(nn.Module):
    """A dense layer on the part of the buffer that it reads."""

    def __init__(self, layer: DenseLayer) -> None:
        super().__init__()
        dims = layer.conv1.weight.dim() - 2  # type: ignore[operator]
        self.runs, self.norm = layer.runs, _Affine(layer.norm1, dims)
        self.conv1 = _Conv(layer.conv1, layer.norm2 if layer.bottleneck else None)
        self.conv2 = _Conv(layer.conv2) if layer.bottleneck else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.norm(selected(x, self.runs)))
        return x if self.conv2 is None else self.conv2(x.relu_())


class _Transition(nn.Module):
    """Its pooling before its 1x1 convolution, with which it may change places: a quarter of the work."""

    def __init__(self, transition: Transition) -> None:
        super().__init__()
        dims = transition.conv.weight.dim() - 2  # type: ignore[operator]
        self.runs, self.norm, self.pool = transition.runs, _Affine(transition.norm, dims), transition.pool
        self.conv = _Conv(transition.conv)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(self.pool(self.norm(selected(x, self.runs))))
        return out


class _Block(nn.Module):
    """(N, c0, H, W) -> what the transition makes of (N, c0 + n*k, H, W)."""

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
    def __init__(self, model: DenseNet) -> None:
        super().__init__()
        self.runs, self.norm = model.runs, _Affine(model.features[-1], model.spec.spatial_dims)
        self.register_buffer("weight", model.classifier.weight.detach().clone())
        self.register_buffer("bias", model.classifier.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.norm(selected(x, self.runs)).flatten(2).mean(2), self.weight, self.bias)  # type: ignore[arg-type]


def scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Of batch norm with its running statistics: y = scale * x + shift, by channel."""
    module: Any = norm
    scale = (module.weight / (module.running_var + module.eps).sqrt()).detach()
    return scale, (module.bias - scale * module.running_mean).detach()
