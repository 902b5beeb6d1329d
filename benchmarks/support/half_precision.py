"""Whether the processor computes with numbers of half precision."""

from __future__ import annotations

from pathlib import Path

_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")  # in /proc/cpuinfo of processors that compute with bf16


def has_bf16() -> bool:
    """Return whether the processor has instructions for bf16 (Linux; elsewhere it is assumed)."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return True
    return bool(flags & {*_FLAGS})
