"""Paths from layers to the classifier, counted exactly: how short they are, and how many there are of each length.

A path goes from a layer to one that reads its output, and so on to the classifier; its length is the number of layers
with weights on it (the classifier counted). In a residual network a shortcut is a way of its own, of length 0 where
it has no weights; in a Highway Network the carried input is one. The longest path from the image has the network's
depth L.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pandas as pd

from densenet_core import DenseNetSpec, ResNetSpec
from densenet_core.networks.deeply_supervised_spec import DeeplySupervisedSpec
from densenet_core.networks.fractalnet_spec import FractalNetSpec
from densenet_core.networks.highway_spec import HighwaySpec
from densenet_core.networks.names import Spec

Lengths = Counter[int]  # how many paths there are of each length; Python's whole numbers, of any size


@dataclass
class _Node:
    """A stretch of layers that lie one after the other, and what reads its output."""

    name: str
    stage: str
    length: int  # layers with weights
    readers: list[_Node] = field(default_factory=list)


def path_counts(spec: Spec) -> pd.DataFrame:
    """How many paths lead from the image to the scores, by their length.

    Returns:
        Columns length (layers with weights), num_paths (whole numbers of any size: dtype object).
    """
    nodes = _graph(spec)
    stem = nodes[0]
    lengths = _shifted(_lengths_behind(nodes)[id(stem)], stem.length)
    return pd.DataFrame(sorted(lengths.items()), columns=["length", "num_paths"]).astype({"num_paths": object})


def layer_paths(spec: Spec) -> pd.DataFrame:
    """How every layer (a dense layer, a transition, a residual block's convolutions) is connected to the loss.

    Returns:
        Columns name, stage, shortest (layers with weights between its output and the scores, the classifier counted),
        num_paths (to the scores; dtype object), is_direct (whether the classifier itself reads its output).
    """
    nodes = _graph(spec)
    behind = _lengths_behind(nodes)
    rows = [
        (node.name, node.stage, min(behind[id(node)]), sum(behind[id(node)].values()), min(behind[id(node)]) == 1)
        for node in nodes[:-1]
        if node.length
    ]
    table = pd.DataFrame(rows, columns=["name", "stage", "shortest", "num_paths", "is_direct"])
    return table.astype({"num_paths": object})


def _lengths_behind(nodes: list[_Node]) -> dict[int, Lengths]:
    """Of each node, the lengths of the paths from its output to the scores; nodes come before their readers."""
    behind: dict[int, Lengths] = {id(nodes[-1]): Counter({0: 1})}
    for node in reversed(nodes[:-1]):
        total: Lengths = Counter()
        for reader in node.readers:
            total += _shifted(behind[id(reader)], reader.length)
        behind[id(node)] = total
    return behind


def _shifted(lengths: Lengths, by: int) -> Lengths:
    return Counter({length + by: number for length, number in lengths.items()})


def _graph(spec: Spec) -> list[_Node]:
    if isinstance(spec, DeeplySupervisedSpec):
        return _graph(spec.base)  # companions read layers, and no layer reads them
    nodes = [_Node("stem", "stem", 0 if isinstance(spec, FractalNetSpec) else 1)]
    if isinstance(spec, DenseNetSpec):
        _add_dense_blocks(spec, nodes)
    elif isinstance(spec, HighwaySpec):
        _add_highway_layers(spec, nodes)
    elif isinstance(spec, FractalNetSpec):
        _add_fractal_blocks(spec, nodes)
    else:
        for s, num_blocks in enumerate(spec.stage_config):
            for b in range(num_blocks):
                _add_residual_block(nodes, f"layer{s + 1}", b, *_residual_lengths(spec, s, b))
        _add(nodes, _Node("classifier", "head", 1), [nodes[-1]])
    return nodes


def _add(nodes: list[_Node], node: _Node, sources: list[_Node]) -> _Node:
    for source in sources:
        source.readers.append(node)
    nodes.append(node)
    return node


def _add_dense_blocks(spec: DenseNetSpec, nodes: list[_Node]) -> None:
    block_input, last = nodes[0], len(spec.block_config)
    for block, num_layers in enumerate(spec.block_config, start=1):
        found = [block_input]
        for layer in range(1, num_layers + 1):
            node = _Node(f"denseblock{block}.denselayer{layer}", f"block{block}", 2 if spec.bottleneck else 1)
            found.append(_add(nodes, node, [found[s] for s in spec.sources(block, layer)]))
        behind = _Node(f"transition{block}", f"transition{block}", 1)
        if block == last:
            behind = _Node("classifier", "head", 1)
        block_input = _add(nodes, behind, [found[s] for s in spec.sources(block, num_layers + 1)])


def _add_highway_layers(spec: HighwaySpec, nodes: list[_Node]) -> None:
    """A layer, and beside it the way on which its input is carried; the first layer is the stem."""
    for s, num_layers in enumerate(spec.stage_config, start=1):
        for layer in range(1 if s == 1 else 0, num_layers):
            _add_residual_block(nodes, f"stage{s}", layer, 1, 0 if layer else None)
    _add(nodes, _Node("classifier", "head", 1), [nodes[-1]])


def _add_fractal_blocks(spec: FractalNetSpec, nodes: list[_Node]) -> None:
    """Every convolution, and the joins, which have no weights."""
    for b in range(1, len(spec.widths) + 1):
        stage = f"block{b}"
        if b in spec.widenings:
            _add(nodes, _Node(f"widen{b}", stage, 1), [nodes[-1]])
        inputs = dict.fromkeys(range(1, spec.num_columns + 1), nodes[-1])  # what each column reads next
        for row in range(1, spec.rows + 1):
            ending = spec.ending(row)
            names = {c: f"{stage}.column{c}.{row // spec.span(c) - 1}" for c in ending}
            ends = [_add(nodes, _Node(names[c], stage, 1), [inputs[c]]) for c in ending]
            joined = _add(nodes, _Node(f"{stage}.join{row}", stage, 0), ends)
            inputs |= dict.fromkeys(ending, joined)
    _add(nodes, _Node("classifier", "head", 1), [nodes[-1]])


def _residual_lengths(spec: ResNetSpec, stage: int, block: int) -> tuple[int, int | None]:
    """Layers with weights on a residual block's main way and on its shortcut (None: there is no shortcut)."""
    main = 2 if spec.block == "basic" else 3
    if spec.shortcut == "none":
        return main, None
    widens = spec.block == "bottleneck" or spec.is_wide
    changes_shape = block == 0 and (stage > 0 or widens)
    return main, int(changes_shape and spec.shortcut == "projection")


def _add_residual_block(nodes: list[_Node], stage: str, block: int, main: int, shortcut: int | None) -> None:
    before = nodes[-1]
    ways = [_add(nodes, _Node(f"{stage}.{block}", stage, main), [before])]
    if shortcut is not None:
        ways.append(_add(nodes, _Node(f"{stage}.{block}.shortcut", stage, shortcut), [before]))
    _add(nodes, _Node(f"{stage}.{block}.sum", stage, 0), ways)
