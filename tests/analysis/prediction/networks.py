"""Small networks of every form for the tests of predictions."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from densenet_core import Checkpoint, DenseNetSpec, ResNetSpec
from densenet_core.checkpoints.pruning import without_connections
from densenet_core.networks.build import build_model

DENSE = {
    "BC": DenseNetSpec((3, 2), 4, 8, num_classes=5),
    "plain": DenseNetSpec((3, 2), 4, 8, bottleneck=False, compression=1.0, num_classes=5),
    "one block": DenseNetSpec((2,), 3, 5, num_classes=5),
    "ImageNet stem": DenseNetSpec((2, 1, 2), 4, 8, stem="imagenet", num_classes=5),
    "volumes": DenseNetSpec((2, 2), 4, 8, num_classes=5, spatial_dims=3),
    "signals": DenseNetSpec((2, 2), 4, 8, num_classes=5, spatial_dims=1),
}
RESIDUAL = {
    "ResNet": ResNetSpec((2, 2, 2), num_classes=5),
    "projections": ResNetSpec((1, 2), block="bottleneck", num_init_features=4, num_classes=5),
    "pre-activation": ResNetSpec((2, 2), preactivation=True, num_classes=5),
    "wide": ResNetSpec((1, 2), width_factor=2, preactivation=True, num_init_features=4, num_classes=5),
    "stochastic depth": ResNetSpec((2, 2), survival=0.5, num_classes=5),
    "ImageNet ResNet": ResNetSpec((1, 2), num_init_features=8, stem="imagenet", num_classes=5),
    "one block a stage": ResNetSpec((1, 1), num_classes=5),
}


def images_for(spec: DenseNetSpec | ResNetSpec, number: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    size = 64 if spec.stem == "imagenet" else 16 if spec.spatial_dims < 3 else 8
    generator = torch.Generator().manual_seed(5)
    shape = (number, spec.in_channels, *(size,) * spec.spatial_dims)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


@cache
def checkpoint_of(spec: DenseNetSpec | ResNetSpec, seed: int = 0) -> Checkpoint:
    """A network whose every part matters: norms with their own factors, and running statistics of real passes."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: nn.Module = build_model(spec).train()
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
        with torch.no_grad():
            for _ in range(10):
                model(images_for(spec, 12))
            for name, parameter in model.named_parameters():
                if name in ("classifier.bias", "fc.bias"):
                    nn.init.uniform_(parameter, -1, 1)
    return Checkpoint(spec, {key: tensor.detach().clone() for key, tensor in model.state_dict().items()})


def pruned() -> Checkpoint:
    """Without some connections, one of them to the classifier."""
    return without_connections(checkpoint_of(DENSE["BC"]), [(1, 0, 2), (2, 1, 3), (2, 0, 2)])


CHECKPOINTS = {name: lambda spec=spec: checkpoint_of(spec) for name, spec in (DENSE | RESIDUAL).items()} | {
    "pruned": pruned
}
