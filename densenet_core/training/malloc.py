"""Decide when memory freed on the CPU goes back to the system (glibc only).

Every training step allocates and frees the same gigabytes. By default, glibc returns large blocks to the kernel, which
zeroes them page by page when they are allocated again: up to a quarter of a DenseNet's step (benchmarks/README.md).
``keep_freed_memory`` keeps them in the process.

A server needs the opposite. glibc gives every thread an arena of its own, up to eight per core, and puts blocks of up
to 32 MiB into them once such a block has been freed. Streamlit runs each visit in new threads, so what one visit frees
stays in an arena that the next one does not use. ``return_freed_memory`` prevents both.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

# mallopt's parameters (malloc.h); a trim threshold of -1 disables trimming. glibc adapts its thresholds, up to 32 and
# 64 MiB, until they are set for the first time. So the largest adapted values are restored.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -2, -3, -4, -8
_KEPT = {_TRIM_THRESHOLD: -1, _TOP_PAD: 64 * 2**20, _MMAP_MAX: 0}
_USUAL = {_TRIM_THRESHOLD: 64 * 2**20, _TOP_PAD: 128 * 2**10, _MMAP_THRESHOLD: 32 * 2**20, _MMAP_MAX: 65536}
_RETURNED = _USUAL | {_TRIM_THRESHOLD: 4 * 2**20, _MMAP_THRESHOLD: 2 * 2**20}
_LOCK, _INSIDE = Lock(), set[object]()
_resting = _USUAL  # what holds outside ``keep_freed_memory``


def return_freed_memory() -> None:
    """Return freed memory to the system from now on, for a server with many short threads.

    Blocks of 2 MiB and more go back as soon as they are freed, and all threads share two arenas. Does nothing without
    glibc, or when called again.
    """
    global _resting
    library = _glibc()
    if library is None or _resting is _RETURNED:
        return
    with _LOCK:
        _resting = _RETURNED
        library.mallopt(_ARENA_MAX, 2)
        if not _INSIDE:
            _set(library, _resting)


@contextmanager
def keep_freed_memory(device_type: str = "cpu") -> Iterator[None]:
    """Reuse freed memory inside this context; return it to the system when the last such context ends.

    Does nothing without glibc, or on another device than the CPU.
    """
    library = _glibc() if device_type == "cpu" else None
    if library is None:
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
                _set(library, _resting)
                library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def _set(library: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        library.mallopt(option, value)
