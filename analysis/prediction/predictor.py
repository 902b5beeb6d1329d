"""A network ready for prediction: the maps that its classifier averages, split by the layer that made them.

The classifier of a DenseNet reads the concatenated maps of all layers of the last block, so its logits are a sum over
these layers. The last stage of a ResNet adds its residual branches, so there they are a sum over the branches.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core import Checkpoint, CheckpointError, DataError, checkpoint_from_state_dict
from densenet_core.hardware import device
from densenet_core.networks.densenet import DenseNet
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.networks.fused.norms import compute_scale_and_shift
from densenet_core.networks.network import Network
from densenet_core.networks.relatives.deeply_supervised import DeeplySupervised
from densenet_core.networks.resnet import ResidualBlock, ResNet
from densenet_core.networks.spec import Spec

BIAS = -1  # the source layer in tables of what no layer adds


@dataclass(frozen=True)
class FinalMaps:
    """The input of the classifier for a batch, split by source layer; the logits are the sum of their contributions."""

    maps: tuple[Tensor, ...]  # of source s: (N, C_s, *spatial), as the classifier averages them
    weights: tuple[Tensor, ...]  # of source s: (classes, C_s)
    bias: Tensor  # (N, classes): the part of the logits that no source adds

    def pool(self) -> tuple[Tensor, ...]:
        """Return the average of each map over all positions: (N, C_s) for each source."""
        return tuple(maps.flatten(2).mean(2) for maps in self.maps)

    def contributions(self) -> Tensor:
        """Return what each source adds to each logit: (N, sources, classes)."""
        return compute_contributions(self.pool(), self.weights)


def compute_contributions(pooled: tuple[Tensor, ...], weights: tuple[Tensor, ...]) -> Tensor:
    """Return what each source adds to each logit, from the averages of its maps, (N, C_s): (N, sources, classes)."""
    return torch.stack([own @ weight.T for own, weight in zip(pooled, weights, strict=True)], dim=1)


@dataclass(frozen=True)
class Predictor:
    """A network in evaluation mode whose weights are not changed; made by ``as_predictor``."""

    spec: Spec
    model: DenseNet | ResNet | nn.Module

    def scores(self, images: Tensor) -> Tensor:
        """Return the logits: (N, classes)."""
        scores: Tensor = self.model(self.place(images))
        return scores

    def final_maps(self, images: Tensor) -> FinalMaps:
        """Return the input of the classifier by source layer, in the floating-point type of the images.

        Raises:
            CheckpointError: the classifier reads neither a concatenation nor a sum of layers.
        """
        if isinstance(self.model, DenseNet):
            if self.model.spec.head_widths:
                raise CheckpointError(
                    f"a {self.spec.title} with several linear layers in its classifier has no logit by layer: its "
                    "logits are not a sum over the layers (use a network with one linear layer)"
                )
            return _dense_maps(self.model, self.place(images))
        if isinstance(self.model, ResNet) and self.model.spec.shortcut != "none":
            return _residual_maps(self.model, self.place(images))
        raise CheckpointError(
            f"a {self.spec.title} has no logit by layer: its classifier reads the output of its last layer alone "
            "(use a DenseNet, or a ResNet with shortcuts)"
        )

    def last_block(self) -> list[str]:
        """Return the module name of a DenseNet's last block, the only entry; an empty list for other networks."""
        return [f"features.denseblock{len(self.spec.block_config)}"] if isinstance(self.spec, DenseNetSpec) else []

    def split_block(self, maps: Tensor) -> tuple[Tensor, ...]:
        """Split the output of a DenseNet's last block for one image, (1, C, *spatial), by source: (C_s, *spatial)."""
        assert isinstance(self.spec, DenseNetSpec)
        return tuple(maps[0].cpu().split(list(self.spec.source_channels(len(self.spec.block_config)))))

    def block_maps(self, images: Tensor) -> dict[tuple[int, int], Tensor]:
        """Return the output of every layer by (block, source layer): (N, C, *spatial) each.

        In a DenseNet source 0 is the input of the block and s its s-th layer. In other networks source s is the
        output of the s-th block of a stage, after the addition.
        """
        found: dict[tuple[int, int], Tensor] = {}
        if isinstance(self.model, DenseNet):
            names = [f"features.denseblock{block}" for block in range(1, len(self.model.spec.block_config) + 1)]
            with record_outputs(self.model, names) as outputs:
                self.scores(images)
            for block, name in enumerate(names, start=1):
                parts = outputs[name].split(list(self.model.spec.source_channels(block)), dim=1)
                found |= {(block, source): part for source, part in enumerate(parts)}
            return found
        places = _stage_layers(self.model)
        with record_outputs(self.model, list(places)) as outputs:
            self.scores(images)
        return {places[name]: maps for name, maps in outputs.items()}

    def place(self, images: Tensor) -> Tensor:
        """Move the images to the network's device, and convert the network to their floating-point type.

        Raises:
            DataError: they are no tensor of floats, or their shape does not fit the network.
        """
        check_tensor(images)
        dims, channels = self.spec.spatial_dims, self.spec.in_channels
        if images.dim() != dims + 2 or images.shape[1] != channels:
            axes = ", ".join("DHW"[-dims:])
            raise DataError(f"images have the shape {tuple(images.shape)}: the network takes (N, {channels}, {axes})")
        weight = next(self.model.parameters())
        if weight.dtype != images.dtype:
            self.model.to(images.dtype)
        return images.to(weight.device)


def check_tensor(images: object) -> None:
    """Raise DataError unless images are a tensor of floats, as a network takes them."""
    if isinstance(images, Tensor) and images.is_floating_point():
        return
    kind = (
        f"tensor of {str(images.dtype).removeprefix('torch.')}" if isinstance(images, Tensor) else type(images).__name__
    )
    raise DataError(f"images is a {kind}: give a tensor of floats, (N, C, H, W), normalized for the network")


NetworkLike: TypeAlias = "Checkpoint | nn.Module | Mapping[str, Tensor] | Predictor"


def as_predictor(network: NetworkLike) -> Predictor:
    """Return a network as a predictor, on the GPU if there is one.

    >>> from densenet_core import load_zoo
    >>> as_predictor(load_zoo("densenet-40-12-digits")).spec.title
    'DenseNet (L=40, k=12)'

    Args:
        network: a checkpoint, a module, a state dict in any layout that ``load_checkpoint`` reads, or a predictor,
            which is returned as it is. The network itself is never changed: the predictor has a copy.

    Raises:
        CheckpointError: the network can not be built here.
    """
    if isinstance(network, Predictor):
        return network
    checkpoint = _checkpoint(network)
    model: nn.Module = checkpoint.to_model()
    if any(tensor.dtype == torch.float64 for tensor in checkpoint.state_dict.values()):
        model.double().load_state_dict(
            checkpoint.state_dict, strict=False
        )  # names are checked; counters may be missing
    if isinstance(model, DeeplySupervised):
        model = model.network
    return Predictor(checkpoint.architecture, model.to(device()).eval().requires_grad_(False))


def _checkpoint(network: Checkpoint | nn.Module | Mapping[str, Tensor]) -> Checkpoint:
    if isinstance(network, Checkpoint):
        return network
    if isinstance(network, Mapping):
        return checkpoint_from_state_dict(network)
    if isinstance(network, Network):
        return Checkpoint(network.spec, {key: tensor.detach().clone() for key, tensor in network.state_dict().items()})
    if isinstance(network, nn.Module):
        from densenet_core.checkpoints.trace import checkpoint_from_module

        return checkpoint_from_module(network)
    raise CheckpointError(f"network is a {type(network).__name__}: pass a Checkpoint, a torch module or a state dict")


@contextmanager
def record_outputs(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Record the outputs of named modules during a forward pass.

    Only passes of the calling thread are recorded: other threads may run the same network at the same time.

    >>> from densenet_core import create_model
    >>> import torch
    >>> model = create_model("densenet-bc-16-4").eval()
    >>> with record_outputs(model, ["features.denseblock1"]) as outputs:
    ...     _ = model(torch.zeros(1, 3, 32, 32))
    >>> outputs["features.denseblock1"].shape
    torch.Size([1, 16, 32, 32])
    """
    outputs: dict[str, Tensor] = {}
    thread = threading.get_ident()

    def record(name: str, output: Tensor) -> None:
        if threading.get_ident() == thread:
            outputs[name] = output

    handles = [
        model.get_submodule(name).register_forward_hook(lambda _, __, output, name=name: record(name, output))
        for name in names
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _dense_maps(model: DenseNet, images: Tensor) -> FinalMaps:
    """Return the input of a DenseNet's classifier; a source whose connection was pruned has 0 maps."""
    maps = F.relu(model.features(images))
    spec, last = model.spec, len(model.spec.block_config)
    channels, target = spec.source_channels(last), spec.block_config[-1] + 1
    is_read = set(spec.sources(last, target))
    widths = [width if source in is_read else 0 for source, width in enumerate(channels)]
    edges = list(pairwise(accumulate(widths, initial=0)))
    classifier: Any = model.classifier
    weight, bias = classifier.weight, classifier.bias
    return FinalMaps(
        tuple(maps[:, first:end] for first, end in edges),
        tuple(weight[:, first:end] for first, end in edges),
        bias.expand(len(images), -1),
    )


def _residual_maps(model: ResNet, images: Tensor) -> FinalMaps:
    """Return the input of a ResNet's classifier: source 0 is the shortcut into the last stage, s the s-th branch.

    A ReLU after an addition keeps the sum or sets it to 0 at each position, and so each part of the sum.
    """
    x = _before_last_stage(model, images)
    parts: list[Tensor] = []
    for block in _blocks(model, len(model.spec.stage_config)):
        shortcut, out = _shortcut(block, x), block(x)
        gate = torch.ones_like(out) if model.spec.preactivation else (out > 0).to(out.dtype)
        parts = [gate * part for part in parts] if parts else [gate * shortcut]
        parts.append(out - gate * shortcut)
        x = out
    weight, bias = model.fc.weight, model.fc.bias.expand(len(images), -1)
    if model.spec.preactivation:  # scale * (sum of the parts) + shift, then ReLU
        scale, shift = (value[:, None, None] for value in compute_scale_and_shift(model.bn))
        gate = (scale * x + shift > 0).to(x.dtype)
        parts = [gate * scale * part for part in parts]
        bias = bias + (gate * shift).mean((2, 3)) @ weight.T
    return FinalMaps(tuple(parts), (weight,) * len(parts), bias)


def _before_last_stage(model: ResNet, images: Tensor) -> Tensor:
    x: Tensor = model.conv1(images)
    if not model.spec.preactivation:
        x = F.relu(model.bn1(x))
    x = model.maxpool(x)
    for stage in range(1, len(model.spec.stage_config)):
        x = model.get_submodule(f"layer{stage}")(x)
    return x


def _blocks(model: ResNet, stage: int) -> Iterator[ResidualBlock]:
    for block in model.get_submodule(f"layer{stage}").children():
        assert isinstance(block, ResidualBlock)
        yield block


def _shortcut(block: ResidualBlock, x: Tensor) -> Tensor:
    if block.downsample is None:
        return x
    reads_norm = block.preactivation and isinstance(block.downsample, nn.Sequential)
    shortcut: Tensor = block.downsample(F.relu(block.bn1(x)) if reads_norm else x)
    return shortcut


def _stage_layers(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Return the place of every module of a stage, in order: name -> (stage, number), both 1-based."""
    found: dict[str, tuple[int, int]] = {}
    stages = [name for name, _ in model.named_children() if name.rstrip("0123456789") in ("layer", "stage", "block")]
    for stage, name in enumerate(stages, start=1):
        children = [child for child, _ in model.get_submodule(name).named_children()]
        found |= {f"{name}.{child}": (stage, number) for number, child in enumerate(children, start=1)}
    return found
