"""The nodes of an ONNX graph, and which node makes and reads each value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.formats.limits import MAX_DIMS

_VIEWS = {"Unsqueeze", "Reshape", "Identity"}  # that leave the numbers of a constant as they are
_MAX_VIEWS = 8  # of one constant


class Node(NamedTuple):
    """An operation of the graph."""

    operation: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


class NodeGraph:
    """Nodes by their places, in the order in which they run."""

    def __init__(self, nodes: Sequence[Node], constant: Callable[[str], Array | None]) -> None:
        self.nodes, self._constant = nodes, constant
        self._makers = {name: place for place, node in enumerate(nodes) for name in node.outputs}
        self._readers: dict[str, set[int]] = {}
        for place, node in enumerate(nodes):
            for name in node.inputs:
                self._readers.setdefault(name, set()).add(place)

    def constant(self, name: str) -> Array | None:
        """Return a weight, or a value that the graph makes of one by changing its shape; None if it is computed."""
        views: list[int] = []
        while (held := self._constant(name)) is None:
            place = self.maker(name, *_VIEWS)
            if place is None or len(views) == _MAX_VIEWS:
                return None
            views.append(place)
            name = self.nodes[place].inputs[0]
        try:
            for place in reversed(views):
                held = self._view(held, place)
        except ValueError:  # a shape that does not fit
            return None
        return held

    def _view(self, held: Array, place: int) -> Array:
        operation = self.nodes[place].operation
        if operation == "Unsqueeze":
            return np.expand_dims(held, tuple(self.axes(place)))
        return held.reshape(self.integers(self.nodes[place].inputs[1])) if operation == "Reshape" else held

    def integers(self, name: str) -> list[int]:
        """Return a constant that consists of a few integers, or an empty list."""
        held = self._constant(name)
        is_few = held is not None and held.dtype.kind == "i" and held.size <= MAX_DIMS
        return [int(number) for number in np.ravel(held)] if held is not None and is_few else []

    def axes(self, place: int) -> list[int]:
        """Return the axes that a node is given as an attribute or as a constant."""
        node = self.nodes[place]
        return list(node.attributes.get("axes") or (self.integers(node.inputs[1]) if len(node.inputs) > 1 else []))

    def maker(self, name: str, *operations: str) -> int | None:
        """Return the place of the node that makes a value, if it is one of these operations."""
        place = self._makers.get(name)
        return place if place is not None and self.nodes[place].operation in operations else None

    def reader(self, name: str, *operations: str) -> int | None:
        """Return the place of the only node that reads a value, if it is one of these operations."""
        readers = [place for place in self._readers.get(name, ()) if self.nodes[place].operation != "Shape"]
        return readers[0] if len(readers) == 1 and self.nodes[readers[0]].operation in operations else None

    def is_square(self, place: int, name: str) -> bool:
        """Return whether a product or power is the square of a value."""
        node = self.nodes[place]
        if node.operation == "Mul":
            return node.inputs == [name, name]
        power = self.constant(node.inputs[1])
        return node.inputs[0] == name and power is not None and power.size == 1 and float(power.ravel()[0]) == 2

    def ancestors(self, name: str, start: str, operations: set[str], most: int) -> frozenset[int] | None:
        """Return the places of the nodes between two values, or None if they are not ``most`` such operations."""
        found, waiting = set[int](), [name]
        while waiting:
            value = waiting.pop()
            if value == start or self._constant(value) is not None:
                continue
            place = self._makers.get(value)
            if place is None or self.nodes[place].operation not in operations or len(found) > most:
                return None
            if place not in found:
                found.add(place)
                waiting += self.nodes[place].inputs
        return frozenset(found) or None

    def is_closed(self, places: frozenset[int], output: str) -> bool:
        """Return whether no value that these nodes make is read elsewhere, except the output and shapes."""
        within = {name for place in places for name in self.nodes[place].outputs} - {output}
        outside = {reader for name in within for reader in self._readers.get(name, ())} - places
        return all(self.nodes[place].operation == "Shape" for place in outside)
