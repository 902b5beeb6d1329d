"""What a file may claim: enough for every network that was published, and little enough to be refused at once."""

from __future__ import annotations

import io

from densenet_core.errors import CheckpointError

MOST_TENSORS = 15_000  # ResNet-1202 has 7,214
MOST_OPERATIONS = 1_000_000  # of a pickle: 31 a tensor
MOST_PICKLE = 2_500_000  # bytes of the pickle in an archive: 130 a tensor
MOST_HEADER = 16_000_000  # bytes of a safetensors file's header


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
