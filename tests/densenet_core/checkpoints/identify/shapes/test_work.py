"""Identifying a network takes work in proportion to its tensors: lines are counted as they run, whatever the load."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import pytest

from densenet_core.checkpoints.formats.content import Candidate, FileContent
from densenet_core.checkpoints.formats.weights import MAX_TRIED, choose
from densenet_core.checkpoints.identify.state_dict import read_state_dict
from densenet_core.errors import CheckpointError

Tensors = dict[str, Any]
NORM = ("weight", "bias", "running_mean", "running_var")


def count_work(function: Callable[[], object]) -> int:
    """Return the lines of densenet_core that a function runs, whether it raises CheckpointError or not.

    A line counts once for each turn of a comprehension in it, and once for each call of a function.
    """
    number = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal number
        if "densenet_core" not in frame.f_code.co_filename:
            return None
        number += event in ("call", "line")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(CheckpointError):
            function()
    finally:
        sys.settrace(before)
    return number


def ones(*shape: int) -> Any:
    return np.ones(shape, "f4")


def norms(names: Iterator[str], width: int) -> Tensors:
    return {f"{name}.{part}": ones(width) for name in names for part in NORM}


def convolutions_that_all_look_alike(number: int) -> Tensors:
    return {f"a.{i}.weight": ones(8, 8, 3, 3) for i in range(number)}


def bottlenecks_that_all_look_alike(number: int) -> Tensors:
    sides = {"b.weight": (8, 4, 1, 1), "c.weight": (4, 8, 3, 3)}
    return {"s.weight": ones(4, 3, 3, 3)} | {f"x{i}.{k}": ones(*v) for i in range(number) for k, v in sides.items()}


def norms_of_all_widths(number: int) -> Tensors:
    """A DenseNet of nine layers, and norms that belong to none of them."""
    found = {"s.weight": ones(4, 3, 3, 3), "fc.weight": ones(10, 13)}
    found |= {f"l.{i}.weight": ones(1, 4 + i, 3, 3) for i in range(9)}
    return found | {f"n.{i}.{part}": ones(1 + i % 40) for i in range(number) for part in NORM}


def linear_layers_of_all_shapes(number: int) -> Tensors:
    found = {"s.weight": ones(4, 3, 3, 3), "a.weight": ones(4, 4, 3, 3), "b.weight": ones(4, 8, 3, 3)}
    return found | {f"l.{i}.weight": ones(1, 2 + i) for i in range(number)}


def a_dense_block(number: int) -> Tensors:
    found = {"s.weight": ones(4, 3, 3, 3), "fc.weight": ones(10, 4 + number)}
    for i in range(number):
        found |= {f"l.{i}.c.weight": ones(1, 4 + i, 3, 3)} | norms(iter([f"l.{i}.n"]), 4 + i)
    return found


def depthwise_layers(number: int) -> Tensors:
    sides = {"d.weight": (8, 1, 7, 7), "e.weight": (16, 8, 1, 1), "f.weight": (4, 16, 1, 1)}
    found = {f"a.{i}.{key}": ones(*shape) for i in range(number) for key, shape in sides.items()}
    return {"s.weight": ones(8, 3, 3, 3), "fc.weight": ones(10, 99)} | found


FILES = [
    convolutions_that_all_look_alike,
    bottlenecks_that_all_look_alike,
    norms_of_all_widths,
    linear_layers_of_all_shapes,
    a_dense_block,
    depthwise_layers,
]


@pytest.mark.slow
@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_twice_the_tensors_take_twice_the_work(make: Callable[[int], Tensors]) -> None:
    once, twice = (partial(read_state_dict, make(number)) for number in (40, 80))
    count_work(once)  # what is imported or compiled at first does not count
    assert count_work(twice) < 2.6 * count_work(once)


def test_of_many_mappings_the_largest_are_tried() -> None:
    candidates = tuple(Candidate(f"n{i}", {f"{j}.weight": "" for j in range(i + 1)}) for i in range(400))
    tried = []

    def read(candidate: Candidate) -> None:
        tried.append(candidate.name)
        raise CheckpointError("no network")

    with pytest.raises(CheckpointError, match="no network"):
        choose(FileContent("torch", candidates, {}), None, read)
    assert 0 < len(tried) <= MAX_TRIED
    assert tried == [f"n{399 - i}" for i in range(len(tried))]
