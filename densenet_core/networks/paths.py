"""Which layers of a network read which: the graph on which paths are counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(eq=False)
class PathNode:
    """Layers that follow each other directly, and the nodes that read their output."""

    name: str
    stage: str
    length: int  # number of layers with weights
    readers: list[PathNode] = field(default_factory=list)


class PathGraph:
    """The nodes of a network, each before its readers; the first one reads the image, the last one is the classifier.

    >>> graph = PathGraph(length=1)
    >>> graph.add_residual("layer1.0", "layer1", main=2, shortcut=0)
    >>> graph.add_classifier()
    >>> [(node.name, node.length) for node in graph.nodes]
    [('stem', 1), ('layer1.0', 2), ('layer1.0.shortcut', 0), ('layer1.0.sum', 0), ('classifier', 1)]

    Args:
        length: Number of layers with weights in the stem.
    """

    def __init__(self, length: int) -> None:
        self.nodes = [PathNode("stem", "stem", length)]

    @property
    def last(self) -> PathNode:
        return self.nodes[-1]

    def add(self, name: str, stage: str, length: int, sources: Sequence[PathNode]) -> PathNode:
        """Add a node that reads the outputs of ``sources``."""
        node = PathNode(name, stage, length)
        for source in sources:
            source.readers.append(node)
        self.nodes.append(node)
        return node

    def add_residual(self, name: str, stage: str, main: int, shortcut: int | None) -> None:
        """Add a residual block after the last node: paths of these lengths, or one path if ``shortcut`` is None."""
        before = self.last
        paths = [self.add(name, stage, main, [before])]
        if shortcut is not None:
            paths.append(self.add(f"{name}.shortcut", stage, shortcut, [before]))
        self.add(f"{name}.sum", stage, 0, paths)

    def add_classifier(self, sources: Sequence[PathNode] = (), length: int = 1) -> None:
        """Add the classifier of ``length`` layers after ``sources``, by default after the last node."""
        self.add("classifier", "head", length, sources or [self.last])
