"""While a network trains, freed memory is used again; afterwards it goes back."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from densenet_core.training import malloc
from densenet_core.training.malloc import keep_freed_memory, return_freed_memory

ROOT = Path(__file__).parents[3]
HAS_GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim")
SCRIPT = """
import resource
import torch
from densenet_core.training.malloc import keep_freed_memory

PAGE = resource.getpagesize()

def held():
    return int(open("/proc/self/statm").read().split()[1]) * PAGE

def pages_taken():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(2):
        pieces = [torch.ones(10_000_000) for _ in range(6)]  # 0.24 GB
        del pieces
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

start = held()
usual = pages_taken()
with keep_freed_memory():
    pages_taken()
    kept, within = min(pages_taken() for _ in range(3)), held()  # a small block may once lie in the way
print(usual * PAGE, kept * PAGE, within - start, held() - start)
"""


@pytest.mark.slow
@pytest.mark.skipif(not HAS_GLIBC, reason="needs glibc")
def test_memory_is_kept_inside_and_given_back_afterwards() -> None:
    """In a process of its own: what others did before decides what a process has at hand."""
    run = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    usual, kept, within, afterwards = map(int, run.stdout.split())
    assert usual > 2 * 0.22e9
    assert kept < 0.01 * usual
    assert within > 0.22e9
    assert afterwards < 0.1e9


@pytest.mark.skipif(not HAS_GLIBC, reason="needs glibc")
def test_it_is_given_back_when_the_last_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation in a training, or two of the dashboard's threads."""
    said: list[tuple[int, int]] = []
    library = SimpleNamespace(
        mallopt=lambda *option: said.append(option), malloc_trim=lambda pad: said.append((0, pad))
    )
    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda name: library)
    with keep_freed_memory():
        with keep_freed_memory():
            pass
        assert (0, 0) not in said
    assert said[-1] == (0, 0)


THREADS = """
import sys, threading
from densenet_core.training.malloc import keep_freed_memory, return_freed_memory

if sys.argv[1] == "returned":
    return_freed_memory()
with keep_freed_memory():  # an evaluation that a page has made
    pass
kept, rooms = [], threading.Barrier(8)

def visit():
    rooms.wait()  # all at once: each thread has an arena of its own
    upload = [b"x" * 10_000_000 for _ in range(2)]
    kept.append(b"x" * 1000)  # lies behind the upload
    rooms.wait()

threads = [threading.Thread(target=visit) for _ in range(8)]
[each.start() for each in threads]
[each.join() for each in threads]
print(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not HAS_GLIBC, reason="needs glibc")
def test_a_server_returns_what_its_threads_have_freed() -> None:
    held = {}
    for name in ("usual", "returned"):
        command = [sys.executable, "-c", THREADS, name]
        held[name] = int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout) / 1024
    assert held["returned"] < held["usual"] - 80  # MB; the eight threads have freed 160


def test_a_server_stays_one_after_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[int, int] = {}
    library = SimpleNamespace(mallopt=said.__setitem__, malloc_trim=lambda pad: None)
    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(malloc, "_resting", malloc._USUAL)  # a dashboard's test may have changed it before
    return_freed_memory()
    first = dict(said)
    with keep_freed_memory():
        assert said[malloc._TRIM_THRESHOLD] == -1
    assert said == first


def test_on_another_device_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(malloc, "_set", lambda *_: pytest.fail("malloc's options were set"))
    with keep_freed_memory("cuda"):
        pass


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda name: object())
    with keep_freed_memory():
        pass
