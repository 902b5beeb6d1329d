"""Volumes and signals as a network sees them: arrays from NumPy files, checked before they are read."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from analysis.prediction.image_files import MAX_BYTES, PreparedImage
from densenet_core import Checkpoint, DataError
from densenet_core.errors import own_words
from densenet_core.networks.layers import network_layers

MAX_VALUES = 128**3  # of an array: the maps of all layers take many times its memory


def open_volume(content: bytes, checkpoint: Checkpoint) -> PreparedImage:
    """Return the array of a .npy file as a network on volumes (or signals) sees it.

    The array has the shape (D, H, W), or (C, D, H, W) with channels; (L,) or (C, L) for a network on signals.
    Floating-point values go into the network as they are; integers are divided by the largest value of their type.

    >>> from densenet_core import Checkpoint, DenseNet, DenseNetSpec
    >>> spec = DenseNetSpec((1,), 2, 4, in_channels=1, spatial_dims=3)
    >>> file = io.BytesIO()
    >>> np.save(file, np.zeros((8, 8, 8), dtype="uint8"))
    >>> open_volume(file.getvalue(), Checkpoint(spec, DenseNet(spec).state_dict())).images.shape
    torch.Size([1, 1, 8, 8, 8])

    Args:
        content: of the file; arrays of Python objects are refused.

    Raises:
        DataError: the file is too large or not a .npy file, or its array does not fit the network.
    """
    if len(content) > MAX_BYTES:
        raise DataError(f"the array file is larger than {MAX_BYTES // 2**20} MB: crop or scale the array")
    values = torch.from_numpy(_read(content))
    spec = checkpoint.architecture
    dims = spec.spatial_dims
    if values.dim() == dims and spec.in_channels == 1:
        values = values[None]
    if values.dim() != dims + 1 or values.shape[0] != spec.in_channels or not values.numel():
        axes = ", ".join("DHW"[-dims:] if dims > 1 else "L")
        raise DataError(
            f"the array has the shape {tuple(values.shape)}: the network takes ({spec.in_channels}, {axes})"
        )
    try:
        network_layers(spec, min(values.shape[1:]))
    except ValueError as error:
        raise DataError(f"the array has the shape {tuple(values.shape)}: {error}") from error
    if not torch.isfinite(values).all():
        raise DataError("the array has values that are not finite: replace them")
    return PreparedImage(_as_pixels(values), values[None])


def _read(content: bytes) -> np.ndarray:
    """Return the array as float32."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        if dtype.hasobject or dtype.kind not in "fiub" or np.prod(shape, dtype=float) > MAX_VALUES:
            raise DataError(f"an array of {dtype} with the shape {shape} is not read")
        stream.seek(0)
        array = np.load(stream, allow_pickle=False)
    except Exception as error:  # of any kind: a damaged header can make NumPy raise anything
        reason = own_words(error, "it is cut short or damaged")
        raise DataError(f"the file is not a readable .npy array of numbers: {reason}") from error
    largest = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else 1
    return np.ascontiguousarray(array, dtype=np.float32) / np.float32(largest)


def _as_pixels(values: Tensor) -> Tensor:
    """Return what is shown: from the smallest value (0) to the largest (255)."""
    low, high = values.min(), values.max()
    return (255 * (values - low) / (high - low).clamp_min(1e-12)).round().to(torch.uint8)


def slice_at(values: Tensor, position: float) -> Tensor:
    """Return the slice of (..., D, H, W) at a position from 0 (first) to 1 (last): (..., H, W).

    Maps of any resolution have the slice that lies there, so a volume and its smaller maps are cut at one place.

    >>> slice_at(torch.arange(4.0)[:, None, None].expand(4, 2, 2), 1.0)[0, 0]
    tensor(3.)
    """
    depth = values.shape[-3]
    return values[..., min(int(position * depth), depth - 1), :, :]


def strip_of(values: Tensor) -> Tensor:
    """Return a signal (..., L) as a strip that can be seen: (..., L // 8, L), all rows alike.

    >>> strip_of(torch.arange(16.0)).shape
    torch.Size([2, 16])
    """
    length = values.shape[-1]
    return values[..., None, :].expand(*values.shape[:-1], max(1, length // 8), length)
