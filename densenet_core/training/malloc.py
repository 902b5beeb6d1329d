"""Keep freed memory in the process during training and evaluation on the CPU.

Every step allocates and frees the same gigabytes. By default, glibc returns large blocks to the kernel, which zeroes
them page by page when they are allocated again: up to a quarter of a DenseNet's step (benchmarks/README.md).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

# mallopt's parameters (malloc.h); a trim threshold of -1 disables trimming. glibc adapts its thresholds, up to 32 and
# 64 MiB, until they are set for the first time. So the largest adapted values are restored.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_KEPT = {_TRIM_THRESHOLD: -1, _TOP_PAD: 64 * 2**20, _MMAP_MAX: 0}
_USUAL = {_TRIM_THRESHOLD: 64 * 2**20, _TOP_PAD: 128 * 2**10, _MMAP_THRESHOLD: 32 * 2**20, _MMAP_MAX: 65536}
_LOCK, _INSIDE = Lock(), set[object]()


@contextmanager
def keep_freed_memory(device_type: str = "cpu") -> Iterator[None]:
    """Reuse freed memory inside this context; return it to the system when the last such context ends.

    Does nothing without glibc, or on another device than the CPU.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" and device_type == "cpu" else None
    if library is None or not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    with _LOCK:
        _INSIDE.add(me := object())
        _set(library, _KEPT)
    try:
        yield
    finally:
        with _LOCK:
            _INSIDE.remove(me)
            if not _INSIDE:
                _set(library, _USUAL)
                library.malloc_trim(0)


def _set(library: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        library.mallopt(option, value)
