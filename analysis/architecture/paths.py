"""Exact numbers and lengths of the paths from layers to the classifier.

A path goes from a layer to one that reads its output, and so on to the classifier; its length is the number of layers
with weights on it, the classifier included. In a residual network a shortcut is a path too, of length 0 if it has no
weights; so is the carried input in a Highway Network. The longest path from the image has the network's depth L.
"""

from __future__ import annotations

from collections import Counter

import pandas as pd

from analysis.architecture.as_spec import SpecLike, as_spec
from densenet_core.networks.paths import PathNode

Lengths = Counter[int]  # number of paths by length; Python integers of any size


def path_counts(spec: SpecLike) -> pd.DataFrame:
    """Return the number of paths from the image to the scores, by length.

    >>> from densenet_core import DenseNetSpec
    >>> path_counts(DenseNetSpec.cifar(10, 4))["num_paths"].to_list()[:3]
    [1, 6, 15]

    Returns:
        Columns length (layers with weights), num_paths (Python integers of any size: dtype object).
    """
    nodes = as_spec(spec).paths().nodes
    stem = nodes[0]
    lengths = _shift(_lengths_to_scores(nodes)[id(stem)], stem.length)
    return pd.DataFrame(sorted(lengths.items()), columns=["length", "num_paths"]).astype({"num_paths": object})


def layer_paths(spec: SpecLike) -> pd.DataFrame:
    """Return how each layer (a dense layer, a transition, a residual block's convolutions) connects to the loss.

    >>> from densenet_core import DenseNetSpec
    >>> list(layer_paths(DenseNetSpec.cifar(10, 4)).columns)
    ['name', 'stage', 'shortest', 'num_paths', 'is_direct']

    Returns:
        Columns name, stage, shortest (layers with weights between its output and the scores, the classifier included),
        num_paths (to the scores; dtype object), is_direct (whether the classifier itself reads its output).
    """
    nodes = as_spec(spec).paths().nodes
    behind = _lengths_to_scores(nodes)
    rows = [
        (node.name, node.stage, min(behind[id(node)]), sum(behind[id(node)].values()), min(behind[id(node)]) == 1)
        for node in nodes[:-1]
        if node.length
    ]
    table = pd.DataFrame(rows, columns=["name", "stage", "shortest", "num_paths", "is_direct"])
    return table.astype({"num_paths": object})


def _lengths_to_scores(nodes: list[PathNode]) -> dict[int, Lengths]:
    """Return the lengths of the paths from each node's output to the scores; nodes come before their readers."""
    behind: dict[int, Lengths] = {id(nodes[-1]): Counter({0: 1})}
    for node in reversed(nodes[:-1]):
        total: Lengths = Counter()
        for reader in node.readers:
            total += _shift(behind[id(reader)], reader.length)
        behind[id(node)] = total
    return behind


def _shift(lengths: Lengths, by: int) -> Lengths:
    return Counter({length + by: number for length, number in lengths.items()})
