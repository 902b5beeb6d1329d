"""Weights that a file holds as numbers of 8 bits and their scales (quantization)."""

from __future__ import annotations

import math

import numpy as np

from densenet_core.arrays import Array
from densenet_core.errors import CheckpointError

DEQUANTIZED = "weights computed from whole numbers and their scales (quantization)"
_BEYOND_8_BITS = 0xF_FFFF  # of a float32: its fraction beyond the three bits of 8-bit floating point


def dequantize(arrays: dict[str, Array]) -> list[str]:
    """Compute weights from whole numbers in place, (whole - zero point) * scale, and return what was done.

    Raises:
        CheckpointError: scales or zero points do not fit the shape of their tensor.
    """
    _find_scaled(arrays)
    names = [key.removesuffix("_whole") for key in arrays if key.endswith("_whole") and f"{key[:-6]}_scales" in arrays]
    for name in names:
        whole, scales, zeros = (arrays.pop(f"{name}_{part}") for part in ("whole", "scales", "zero_points"))
        for part, numbers in (("scales", scales), ("zero points", zeros)):
            if any(side not in (1, own) for side, own in zip(numbers.shape[::-1], whole.shape[::-1], strict=False)):
                raise CheckpointError(
                    f"the {part} of tensor {name!r} do not fit its shape {whole.shape}: save it again"
                )
        arrays[name] = ((whole.astype(np.float64) - zeros) * scales).astype(np.float32)
    return [DEQUANTIZED] * len(names)


def _find_scaled(arrays: dict[str, Array]) -> None:
    """Name the parts of weights of 8 bits that have their scale beside them (``weight_scale``) as those of torch's."""
    for key in [key for key in arrays if key.endswith("weight_scale") and key.removesuffix("_scale") in arrays]:
        name, scale = key.removesuffix("_scale"), arrays[key]
        whole = arrays[name]
        sides = (1,) * whole.ndim if scale.size == 1 else (len(scale), *(1,) * (whole.ndim - 1))
        if _has_8_bits(whole) and scale.ndim and scale.size == math.prod(sides) and sides[0] in (1, len(whole)):
            zero = arrays.pop(f"{name}_zero_point", np.zeros_like(scale))
            arrays |= {f"{name}_whole": arrays.pop(name), f"{name}_scales": arrays.pop(key).reshape(sides)}
            arrays[f"{name}_zero_points"] = zero.reshape(sides) if zero.size == scale.size else zero


def _has_8_bits(array: Array) -> bool:
    """Return whether numbers are of an 8-bit type, of whole numbers or of floating point (widened to 32 bits)."""
    if array.dtype.kind in "iu":
        return array.dtype.itemsize == 1
    is_wide = array.dtype == np.float32 and array.ndim > 1
    return is_wide and not (np.ascontiguousarray(array).view(np.uint32) & _BEYOND_8_BITS).any()
