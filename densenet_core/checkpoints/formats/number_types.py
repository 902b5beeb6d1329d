"""The number types of files as numpy types; types that numpy lacks become float32."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from densenet_core.arrays import Array

_NUMPY = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1", "I64": "<i8",
    "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
    "C64": "<c8", "C128": "<c16",
}  # fmt: skip
_WIDENED = {"BF16", "F8_E4M3", "F8_E5M2"}  # numpy does not have them
ITEM_SIZES = {name: np.dtype(text).itemsize for name, text in _NUMPY.items()}  # bytes, by safetensors' names


def name_of(dtype: np.dtype[Any]) -> str:
    """Return safetensors' name of a numpy type."""
    return next(name for name, text in _NUMPY.items() if np.dtype(text) == dtype and name not in _WIDENED)


def as_numbers(content: Array, dtype: str) -> Array:
    """Return bytes as numbers, sharing memory if numpy has the type; an incomplete last number is dropped."""
    size = ITEM_SIZES[dtype]
    whole = content[: len(content) // size * size]
    if dtype == "BOOL":
        return np.not_equal(whole, 0)
    numbers: Array = whole.view(_NUMPY[dtype])
    if dtype == "BF16":  # the upper half of a float32
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    if dtype in ("F8_E4M3", "F8_E5M2"):
        return _eight_bit(dtype)[numbers]
    return numbers


@cache
def _eight_bit(dtype: str) -> Array:
    """Return the values of the 256 bytes as float32 (Micikevicius et al. 2022, "FP8 formats for deep learning")."""
    fraction_bits, bias = (3, 7) if dtype == "F8_E4M3" else (2, 15)
    byte = np.arange(256)
    exponent, fraction = (byte & 0x7F) >> fraction_bits, byte & (2**fraction_bits - 1)
    normal = (1 + fraction / 2**fraction_bits) * 2.0 ** (exponent - bias)
    value = np.where(exponent == 0, fraction / 2**fraction_bits * 2.0 ** (1 - bias), normal)
    if dtype == "F8_E4M3":  # no infinities: only the largest fraction of the largest exponent is NaN
        value = np.where((byte & 0x7F) == 0x7F, np.nan, value)
    else:
        value = np.where(exponent == 31, np.where(fraction == 0, np.inf, np.nan), value)
    return np.where(byte & 0x80, -value, value).astype(np.float32)
