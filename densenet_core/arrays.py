"""Convert weights between numpy arrays and tensors; both share their memory.

Code that only reads weights uses arrays, because importing torch takes longer than computing most tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]


def as_array(weights: Tensor | Array) -> Array:
    """Return weights as an array, in float32 where numpy lacks the type (bfloat16, float8)."""
    if isinstance(weights, np.ndarray):
        return weights
    tensor = weights.detach().cpu()
    try:
        array: Array = tensor.numpy()
    except TypeError:
        array = tensor.float().numpy()
    return array


def as_tensor(weights: Tensor | Array) -> Tensor:
    """Return weights as a tensor."""
    if not isinstance(weights, np.ndarray):
        return weights
    import torch

    return torch.from_numpy(np.require(weights, requirements=("C", "W")))
