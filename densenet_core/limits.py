"""What a file may claim: enough for every network that was published, and little enough to be refused at once."""

from __future__ import annotations

import io
from collections.abc import Mapping

import torch
from torch import Tensor

from densenet_core.errors import CheckpointError

MOST_TENSORS = 15_000  # ResNet-1202 has 7,214
MOST_OPERATIONS = 1_000_000  # of a pickle: 31 a tensor
MOST_PICKLE = 2_500_000  # bytes of the pickle in an archive: 130 a tensor
MOST_HEADER = 16_000_000  # bytes of a safetensors file's header
LEAST_SHARED = 2**20  # bytes that tensors may share in any case


class CountedReads(io.BufferedReader):
    """A file whose pickle may have only so many operations; what follows is read at once, and not counted.

    ``torch.load`` reads operations a byte at a time, and can't read past this: the file shows it no descriptor.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__(raw)
        self._left = MOST_OPERATIONS

    def read(self, size: int | None = -1, /) -> bytes:
        if size == 1:
            self._left -= 1
            if self._left < 0:
                raise CheckpointError(f"its pickle has more than {MOST_OPERATIONS:,} operations: no network needs them")
        return super().read(size)

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def check_number(number: int) -> None:
    """Raises CheckpointError where a file holds more tensors than are read."""
    if number > MOST_TENSORS:
        raise CheckpointError(f"the file holds more than {MOST_TENSORS:,} tensors, which no network needs")


def check_tensors(tensors: Mapping[str, Tensor]) -> None:
    """Refuses a state dict of too many tensors, or whose tensors hold the same few numbers many times over.

    Raises:
        CheckpointError: with the number, and what is taken.
    """
    check_number(len(tensors))
    strided = [tensor for tensor in tensors.values() if tensor.layout == torch.strided and not tensor.is_meta]
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in strided)
    stored = sum({(s := tensor.untyped_storage()).data_ptr(): s.nbytes() for tensor in strided}.values())
    if claimed > 2 * stored + LEAST_SHARED:
        raise CheckpointError(
            f"the tensors claim {claimed:,} bytes and share {stored:,}: save model.state_dict() of the network itself"
        )
