"""The kinds of evidence by which the layers of a network are identified."""

from __future__ import annotations

from enum import Enum


class IdentifiedBy(Enum):
    """What showed which tensor belongs to which layer."""

    METADATA = "the metadata saved with it"  # in files that ``save_checkpoint`` wrote
    NAMES = "the names of its tensors"
    SHAPES = "shapes alone"
    GRAPH = "the graph of its operations"
    TRACE = "one traced pass"
