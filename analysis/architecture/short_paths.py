"""Direct connections between the layers of networks with short paths, in the form of the feature-reuse table.

Each family creates short paths differently: in a DenseNet every layer reads all earlier layers of its block; a ResNet
with stochastic depth connects two layers directly when it drops all blocks between them; the gates of a Highway Network
carry part of a layer's input on; a FractalNet joins columns of different depths. Each row is one connection, by block,
source layer (0: the input of the block) and target layer (the last: what follows the block), as in
``connection_weights``.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.architecture.as_spec import SpecLike, as_spec
from analysis.architecture.cost import count_cost, total_cost
from analysis.architecture.paths import layer_paths
from densenet_core import ResNetSpec
from densenet_core.networks.relatives.deeply_supervised_spec import DeeplySupervisedSpec
from densenet_core.networks.relatives.fractalnet_spec import FractalNetSpec
from densenet_core.networks.spec import Spec

COLUMNS = ("network", "block", "source_layer", "target_layer", "target_kind")


def direct_connections(spec: SpecLike) -> pd.DataFrame:
    """Return the probability that a layer reads the output of another directly, in a training step.

    In a DenseNet the probability is 1 for every connection that was not pruned. In a ResNet it is the probability that
    all blocks between the two are dropped, the product of their 1 - p (Huang et al. 2016; DenseNet paper, section 5);
    without stochastic depth it is 1 for neighbors and 0 for all others. Here, a layer of a ResNet is a residual block,
    and a block is a stage.

    >>> from densenet_core import DenseNetSpec
    >>> len(direct_connections(DenseNetSpec.cifar(10, 4)))
    18

    Returns:
        Columns network, block, source_layer, target_layer, target_kind, probability.

    Raises:
        ValueError: the network is neither a DenseNet nor a ResNet.
    """
    spec = as_spec(spec)
    rows = [(spec.title, *read) for read in spec.direct_reads()]
    return pd.DataFrame(rows, columns=[*COLUMNS, "probability"])


def expected_training_cost(spec: ResNetSpec, input_size: int = 32) -> dict[str, float]:
    """Return the average cost of a training step with stochastic depth, and the cost of the whole network.

    Dropped blocks count as not computed, as in the paper's own code; ``ResNet`` here computes them.

    Returns:
        blocks and expected_blocks; depth and expected_depth (layers with weights); mult_adds and expected_mult_adds of
        one image's forward pass; saved (share of the mult_adds, 0..1).
    """
    cost = count_cost(spec, input_size)
    names = [f"layer{s}.{b}" for s, number in enumerate(spec.stage_config, start=1) for b in range(number)]
    survival = dict(zip(names, spec.survivals, strict=True))
    is_shortcut = cost["name"].str.contains(".downsample", regex=False)
    owner = cost["name"].str.extract(r"^(layer\d+\.\d+)\.")[0].mask(is_shortcut)
    expected = float((cost["mult_adds"] * owner.map(survival).fillna(1.0)).sum())
    blocks, whole = len(names), total_cost(cost)["mult_adds"]
    return {
        "blocks": blocks,
        "expected_blocks": spec.expected_blocks,
        "depth": spec.depth,
        "expected_depth": spec.depth - spec.layers_per_block * (blocks - spec.expected_blocks),
        "mult_adds": whole,
        "expected_mult_adds": expected,
        "saved": 1 - expected / whole,
    }


def fractal_connections(spec: SpecLike) -> pd.DataFrame:
    """Return the convolutions of each fractal block by the rows that they connect, and their shares in the joins.

    A source or target layer is a row of the deepest column; a convolution of column c spans 2^(C-c) of them.

    >>> from densenet_core import FractalNetSpec
    >>> list(fractal_connections(FractalNetSpec.small(2, 2, 8)).columns)
    ['network', 'block', 'source_layer', 'target_layer', 'target_kind', 'column', 'share_in_join']

    Returns:
        Columns network, block, source_layer, target_layer, target_kind ("layer"), column, share_in_join (the weight
        of the convolution in the mean that joins the columns); pairs without a convolution have no row.

    Raises:
        ValueError: the network is not a FractalNet.
    """
    spec = as_spec(spec)
    if not isinstance(spec, FractalNetSpec):
        raise ValueError(f"spec is a {spec.title}: give a FractalNet, such as 'fractalnet-21'")
    rows = [
        (spec.title, block, row - spec.span(column), row, "layer", column, 1 / len(spec.columns_ending_at(row)))
        for block in range(1, len(spec.widths) + 1)
        for row in range(1, spec.rows + 1)
        for column in spec.columns_ending_at(row)
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "column", "share_in_join"])


def path_table(specs: Sequence[Spec]) -> tuple[pd.DataFrame, str]:
    """Return the connections of several networks in one table, for ``short_paths_figure``.

    Returns:
        The table, and its measure: probability of DenseNets and ResNets, share_in_join of FractalNets.

    Raises:
        ValueError: a network is of another family, FractalNets are mixed with others, or two titles are the same.
    """
    fractal = [isinstance(spec, FractalNetSpec) for spec in specs]
    if len(set(fractal)) > 1:
        raise ValueError("FractalNets have paths of another kind than DenseNets and ResNets: draw them separately")
    titles = [spec.title for spec in specs]
    if again := [title for title in titles if titles.count(title) > 1]:
        raise ValueError(f"networks need different titles: {again[0]} appears {len(again)} times")
    parts = [
        fractal_connections(spec) if isinstance(spec, FractalNetSpec) else direct_connections(spec) for spec in specs
    ]
    return pd.concat(parts, ignore_index=True), "share_in_join" if fractal[0] else "probability"


def supervision(spec: SpecLike) -> pd.DataFrame:
    """Return how far the end of each block is from the nearest classifier, as a measure of deep supervision.

    In a DenseNet a single classifier supervises every block through at most two or three transitions (paper,
    section 5).

    >>> from densenet_core import DenseNetSpec
    >>> list(supervision(DenseNetSpec.cifar(10, 4)).columns)
    ['network', 'stage', 'layers_to_classifier', 'by']

    Returns:
        Columns network, stage, layers_to_classifier (layers with weights between the end of the stage and the nearest
        scores, the classifier counted), by ("companion" or "the network's classifier").
    """
    spec = as_spec(spec)
    paths = layer_paths(spec)
    stages = paths[~paths["stage"].str.match("stem|transition|head")].groupby("stage", sort=False)["shortest"].last()
    has_companion = isinstance(spec, DeeplySupervisedSpec)
    rows = [
        (spec.title, stage, 1, "companion")
        if has_companion and stage != stages.index[-1]
        else (spec.title, stage, int(shortest), "the network's classifier")
        for stage, shortest in stages.items()
    ]
    return pd.DataFrame(rows, columns=["network", "stage", "layers_to_classifier", "by"])
