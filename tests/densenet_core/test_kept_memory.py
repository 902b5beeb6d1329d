"""While a network trains, freed memory is used again; afterwards it goes back."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HAS_GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim")
SCRIPT = """
import resource
import torch
from densenet_core.kept_memory import freed_memory_kept

PAGE = resource.getpagesize()

def held():
    return int(open("/proc/self/statm").read().split()[1]) * PAGE

def pages_taken():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        pieces = [torch.ones(25_000_000) for _ in range(30)]  # 3 GB
        del pieces
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

start = held()
usual = pages_taken()
with freed_memory_kept():
    pages_taken()
    kept, within = pages_taken(), held()
print(usual * PAGE, kept * PAGE, within - start, held() - start)
"""


@pytest.mark.skipif(not HAS_GLIBC, reason="needs glibc")
def test_memory_is_kept_inside_and_given_back_afterwards() -> None:
    """In a process of its own: what others did before decides what a process has at hand."""
    run = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    usual, kept, within, afterwards = map(int, run.stdout.split())
    assert usual > 5 * 2.9e9
    assert kept < 0.01 * usual
    assert within > 2.9e9
    assert afterwards < 0.2e9


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    from densenet_core import kept_memory

    monkeypatch.setattr(kept_memory.ctypes, "CDLL", lambda name: object())
    with kept_memory.freed_memory_kept():
        pass
