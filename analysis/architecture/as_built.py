"""Check whether a network still has the structure that its spec describes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from densenet_core.networks.build import build_model
from densenet_core.networks.spec import Spec

# Attributes of modules that change neither the cost of a forward pass nor the shape of anything.
IRRELEVANT = {"training", "memory_efficient", "drop_rate", "survival", "eps", "momentum", "inplace"}
HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def is_as_built(module: nn.Module, spec: Spec) -> bool:
    """Return whether a module has the modules, options, hooks and tensor shapes of a newly built network.

    >>> from densenet_core import DenseNetSpec
    >>> spec = DenseNetSpec((2, 2), growth_rate=4, num_init_features=8)
    >>> model = build_model(spec)
    >>> is_as_built(model, spec)
    True
    >>> model.get_submodule("features.conv0").stride = (2, 2)
    >>> is_as_built(model, spec)
    False
    """
    return _structure(module) == _built_structure(spec)


@lru_cache(maxsize=2)
def _built_structure(spec: Spec) -> dict[str, Any]:
    with torch.device("meta"):
        return _structure(build_model(spec))


def _structure(network: nn.Module) -> dict[str, Any]:
    return {name: _description(module) for name, module in network.named_modules()}


def _description(module: nn.Module) -> tuple[Any, ...]:
    attributes = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    options = {name: _comparable(value) for name, value in attributes.items() if name not in IRRELEVANT}
    tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors}
    return type(module), options, shapes, [len(getattr(module, hooks)) for hooks in HOOKS]


def _comparable(value: object) -> str:
    return f"tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
