"""Validate the tensors of a state dict in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from densenet_core.arrays import Array, as_array
from densenet_core.checkpoints.formats.content import check_number
from densenet_core.checkpoints.formats.limits import MAX_SHARED
from densenet_core.errors import CheckpointError


def to_arrays(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Return a state dict as arrays, which share the tensors' memory where it is on the CPU.

    Raises:
        CheckpointError: there are too many; one claims more numbers than it holds or is not dense (the message names
            it); or they repeat the same few numbers.
    """
    check_number(len(tensors))
    tensors = _unpacked(tensors)
    for key, tensor in tensors.items():
        _check_storage(key, tensor)
    _check_shared(tensors)
    return {key: as_array(tensor) for key, tensor in tensors.items()}


def _unpacked(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a state dict, with those of quantized layers as a file's index has them.

    A quantized layer has (weight, bias) as X._packed_params._packed_params, and beside it the type of the weight.
    """
    found: dict[str, Tensor] = {}
    for key, value in tensors.items():
        module, packed, _ = key.partition("._packed_params")
        if isinstance(value, Tensor):
            found |= _dense(key, value)
        elif packed and isinstance(value, tuple):
            for part, own in zip(("weight", "bias"), value, strict=False):
                found |= _dense(f"{module}.{part}", own) if isinstance(own, Tensor) else {}
        elif not packed:
            raise CheckpointError(f"{key!r} is a {type(value).__name__}, not a tensor: give model.state_dict()")
    return found


def _dense(key: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return a tensor by its name; a quantized one as its whole numbers, scales and zero points."""
    if not tensor.is_quantized or tensor.qscheme() not in (torch.per_tensor_affine, torch.per_channel_affine):
        return {key: tensor}
    sides = [1] * tensor.ndim
    if tensor.qscheme() == torch.per_tensor_affine:
        scales, zeros = torch.tensor(tensor.q_scale(), dtype=torch.float64), torch.tensor(tensor.q_zero_point())
    else:
        scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
        sides[tensor.q_per_channel_axis()] = -1
    parts = {"whole": tensor.int_repr(), "scales": scales.reshape(sides), "zero_points": zeros.reshape(sides)}
    return {f"{key}_{part}": own for part, own in parts.items()}


def _check_storage(key: str, tensor: Tensor) -> None:
    if tensor.is_meta:
        raise CheckpointError(f"tensor {key!r} is on the meta device, which holds no numbers: save a real one")
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise CheckpointError(f"tensor {key!r} is {tensor.dtype}, {tensor.layout}: dense floating point is needed")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"tensor {key!r} claims shape {tuple(tensor.shape)} and holds fewer numbers")


def _check_shared(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that repeat the same few numbers."""
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    stored = sum({(s := tensor.untyped_storage()).data_ptr(): s.nbytes() for tensor in tensors.values()}.values())
    if claimed > 2 * stored + MAX_SHARED:
        raise CheckpointError(
            f"the tensors claim {claimed:,} bytes and share {stored:,}: save model.state_dict() of the network itself"
        )
