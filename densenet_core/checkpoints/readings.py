"""Every reading that is tried on a file and its result, for files that are not read as their owner expects."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from densenet_core.arrays import Array
from densenet_core.checkpoints.formats.content import Candidate, FileContent
from densenet_core.checkpoints.formats.keras_file import KerasLayout, check_keras_layout, keras_state_dict
from densenet_core.checkpoints.formats.onnx.graph import walk_onnx
from densenet_core.checkpoints.formats.read import open_content
from densenet_core.checkpoints.identify.derived import compose_weights
from densenet_core.checkpoints.identify.graphs.read_graph import read_graph
from densenet_core.checkpoints.identify.layouts import LAYOUTS, matching_prefixes
from densenet_core.checkpoints.identify.plain_names import plain_names
from densenet_core.checkpoints.identify.positional import UNNAMED, with_names
from densenet_core.checkpoints.identify.shapes.levels import LEVELS
from densenet_core.checkpoints.identify.shapes.neighbors import SecondConvolutions
from densenet_core.checkpoints.identify.shapes.shape_search import find_at_level
from densenet_core.checkpoints.identify.shapes.structure import find_weights
from densenet_core.checkpoints.identify.state_dict import read_by_layout
from densenet_core.errors import CheckpointError


class Reading(NamedTuple):
    """A way to read a set of weights, and what came of it."""

    weights: str  # name of the set of weights, "" for the whole file
    reading: str
    result: str


def explain_readings(path: str | os.PathLike[str], keras_layout: KerasLayout | None = None) -> list[Reading]:
    """Return every way in which ``load_checkpoint`` may read a file, and its result: what was found, or why not.

    Args:
        keras_layout: as in ``load_checkpoint``.

    Raises:
        CheckpointError: the file can't be opened, or its format is not read.

    >>> from densenet_core.checkpoints.zoo import zoo_path
    >>> next(r for r in explain_readings(zoo_path("densenet-40-12-digits")) if r.reading == "torchvision").result
    'read as DenseNet (L=40, k=12)'
    """
    with closing(open_content(Path(path))) as content:
        check_keras_layout(content, keras_layout)
        return [row for candidate in content.candidates for row in _readings(content, candidate, keras_layout)]


def _readings(content: FileContent, candidate: Candidate, keras_layout: KerasLayout | None) -> Iterator[Reading]:
    def row(reading: str, result: str) -> Reading:
        return Reading(candidate.name, reading, result)

    try:
        if content.format == "onnx":
            yield row("graph of operations", f"read as {read_graph(*walk_onnx(content, candidate)).spec.title}")
            return
        is_keras = content.format == "hdf5"
        named = keras_state_dict(content, candidate, keras_layout)[0] if is_keras else content.arrays(candidate)
        unnamed = with_names(named)
        plain, renamed = plain_names(unnamed or named)
        tensors, composed = compose_weights(plain)
    except CheckpointError as error:
        yield row("tensors", str(error))
        return
    yield from (row("names of parts", done) for done in (*renamed, *([UNNAMED] if unnamed else [])))
    yield from (row("derived weights", done) for done in composed)
    yield from (row(name, result) for name, result in _by_name(tensors))
    yield from (row(f"by shapes: {level}", result) for level, result in _by_shape(tensors))


def _by_name(tensors: Mapping[str, Array]) -> Iterator[tuple[str, str]]:
    for layout in LAYOUTS:
        prefixes = matching_prefixes(layout, tensors)
        if not prefixes:
            yield layout.name, f"no tensor is named {layout.example}"
        for prefix in prefixes:
            under = f" under {prefix.rstrip('.')!r}" if prefix else ""
            try:
                yield layout.name, f"read as {read_by_layout(tensors, layout, prefix).spec.title}{under}"
            except CheckpointError as error:
                yield layout.name, f"the names match{under}, but {error}"


def _by_shape(tensors: Mapping[str, Array]) -> Iterator[tuple[str, str]]:
    try:
        convs, heads = find_weights({key: tensor.shape for key, tensor in tensors.items()})
        seconds = SecondConvolutions(convs)
    except CheckpointError as error:
        yield "all", str(error)
        return
    for level, allowed in LEVELS.items():
        try:
            found, _ = find_at_level(convs, heads, allowed, seconds)
        except CheckpointError as error:
            yield level, str(error)
            continue
        layers = "" if found is None else ", ".join(str(len(block)) for block in found.blocks)
        yield level, f"fits with blocks of {layers} layers" if layers else "does not fit"
