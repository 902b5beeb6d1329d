"""Validate the tensors of a state dict in memory."""

from __future__ import annotations

from collections.abc import Mapping

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
    for key, tensor in tensors.items():
        _check_storage(key, tensor)
    _check_shared(tensors)
    return {key: as_array(tensor) for key, tensor in tensors.items()}


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
