"""What the reader process returns: the places of tensors in the file, and unpacked weights in another file."""

from __future__ import annotations

import json
import os
from typing import Any

from ..limits import MAX_NAME, MAX_TENSORS, READER_OUTPUT

THE_FILE, UNPACKED = "", "<unpacked>"  # the file of a stretch; any other text names a file beside it
HARM = "it is damaged, or made to harm"
UNPACKS = "its compressed content unpacks to far more than its size: save it uncompressed"
SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
    "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1, "C64": 8, "C128": 16,
}  # fmt: skip


class Refused(Exception):
    """A file that is not read; the message says why and what to do."""


class Damaged(Refused):
    """A file that is cut short or was changed; the suite adds what to do."""


class Output:
    """Collects tensors and writes the index of a file.

    A stretch is [where, offset, length] in bytes; a tensor is [dtype, shape, stretch, first element, strides in
    elements or None where it is contiguous], or a text with the reason why it can't be read.
    """

    def __init__(self, descriptor: int, file_size: int) -> None:
        self.file_size = file_size
        self.base = 0  # offset in the file of the piece that is being parsed
        self._descriptor, self._left, self._end = descriptor, file_size + READER_OUTPUT, 0
        self._stretches: dict[tuple[str, int, int], int] = {}

    def stretch(self, offset: int, length: int, where: str = THE_FILE) -> int:
        """Return the number of a stretch of bytes."""
        offset += self.base if where == THE_FILE else 0
        return self._stretches.setdefault((where, offset, length), len(self._stretches))

    def store(self, content: bytes) -> int:
        """Write ``content``, which is not contiguous in the file, and return the number of its stretch."""
        start = self._end
        self.append(content)
        return self.stretch(start, len(content), UNPACKED)

    def append(self, content: bytes | memoryview) -> None:
        """Append unpacked bytes."""
        self._left -= len(content)
        if self._left < 0:
            raise Refused(UNPACKS)
        view = memoryview(content)
        while view:
            written = os.write(self._descriptor, view)
            self._end, view = self._end + written, view[written:]

    @property
    def end(self) -> int:
        """Return the number of bytes unpacked so far."""
        return self._end

    def finish(self, index: dict[str, Any]) -> None:
        """Write the index after the unpacked bytes, then its length in 8 bytes."""
        index["stretches"] = list(self._stretches)
        text = json.dumps(index).encode()
        os.write(self._descriptor, text + len(text).to_bytes(8, "little"))


def tensor(
    dtype: str, shape: tuple[int, ...], stretch: int, first: int = 0, strides: tuple[int, ...] | None = None
) -> list[Any]:
    """Return a tensor as the index describes it."""
    return [dtype, list(shape), stretch, first, None if strides is None else list(strides)]


def check_names(names: list[str]) -> None:
    """Refuse more tensors or longer names than a network needs."""
    if len(names) > MAX_TENSORS:
        raise Refused(f"the file holds more than {MAX_TENSORS:,} tensors, which no network needs")
    for name in names:
        if len(name) > MAX_NAME:
            raise Refused(f"a tensor's name has {len(name):,} characters ({name[:40]!r}...), which no network needs")
