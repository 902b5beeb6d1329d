"""Weights as numpy arrays: what reads a network or looks at its weights needs no more.

Only what runs a network takes tensors, for importing torch takes longer than most tables take to be computed. An array
and the tensor made of it share their memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]


def as_array(weights: Tensor | Array) -> Array:
    """Weights as an array; in float32 where numpy has no such numbers (bfloat16, float8)."""
    if isinstance(weights, np.ndarray):
        return weights
    tensor = weights.detach().cpu()
    try:
        array: Array = tensor.numpy()
    except TypeError:
        array = tensor.float().numpy()
    return array


def as_tensor(weights: Tensor | Array) -> Tensor:
    """Weights as a tensor."""
    if not isinstance(weights, np.ndarray):
        return weights
    import torch

    return torch.from_numpy(np.require(weights, requirements=("C", "W")))
