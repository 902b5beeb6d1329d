"""How directly the other short-path networks connect their layers, in the form of the feature-reuse table.

Each of them makes short paths in a way of its own: a DenseNet's layers all read each other; a ResNet with stochastic
depth connects two layers when it drops all blocks between them; a Highway Network carries on what its gates let pass;
a FractalNet joins columns of different depths. One row is one connection, by block, source layer (0: what enters the
block) and target layer (the last: what follows the block), as in ``connection_weights``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from analysis.architecture.cost import count_cost, total_cost
from analysis.architecture.paths import layer_paths
from densenet_core import Checkpoint, ResNetSpec
from densenet_core.data.images import Images, evenly_spaced
from densenet_core.networks.relatives.deeply_supervised_spec import DeeplySupervisedSpec
from densenet_core.networks.relatives.fractalnet_spec import FractalNetSpec
from densenet_core.networks.relatives.highway import Highway
from densenet_core.networks.spec import Spec
from densenet_core.training.evaluation import check_fit

COLUMNS = ("network", "block", "source_layer", "target_layer", "target_kind")


def direct_connections(spec: Spec) -> pd.DataFrame:
    """The probability that a layer reads another's output itself, in a training step.

    In a DenseNet it is 1 wherever no connection was cut. In a ResNet it is that of all blocks between the two being
    dropped: 1 - p of each, multiplied (Huang et al. 2016; notes of the DenseNet paper, section 5); without stochastic
    depth it is 1 for neighbours and 0 for all others. A layer here is a residual block, a block a stage.

    Returns:
        Columns network, block, source_layer, target_layer, target_kind, probability.

    Raises:
        ValueError: the network is neither a DenseNet nor a ResNet.
    """
    rows = [(spec.title, *read) for read in spec.direct_reads()]
    return pd.DataFrame(rows, columns=[*COLUMNS, "probability"])


def expected_training(spec: ResNetSpec, input_size: int = 32) -> dict[str, float]:
    """What a training step of stochastic depth takes on average, beside the whole network.

    Dropped blocks are counted as not computed, as in the paper's own code; ``ResNet`` here computes them.

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


def fractal_connections(spec: FractalNetSpec) -> pd.DataFrame:
    """The convolutions of a fractal block between its rows, and the share that each has in the mean that joins them.

    A source or target layer is a row of the deepest column; a convolution of column c spans 2^(C-c) of them.

    Returns:
        Columns network, block, source_layer, target_layer, target_kind ("layer"), column, share_in_join; no row where
        no convolution leads from one to the other.
    """
    rows = [
        (spec.title, block, row - spec.span(column), row, "layer", column, 1 / len(spec.ending(row)))
        for block in range(1, len(spec.widths) + 1)
        for row in range(1, spec.rows + 1)
        for column in spec.ending(row)
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "column", "share_in_join"])


def path_table(specs: Sequence[Spec]) -> tuple[pd.DataFrame, str]:
    """The tables of several networks put together, as ``short_paths_figure`` takes them.

    Returns:
        The table, and its measure: probability of DenseNets and ResNets, share_in_join of FractalNets.

    Raises:
        ValueError: a network is of another kind, FractalNets stand beside others, or two networks have one title.
    """
    fractal = [isinstance(spec, FractalNetSpec) for spec in specs]
    if len(set(fractal)) > 1:
        raise ValueError("FractalNets have paths of another kind than DenseNets and ResNets: draw them apart")
    titles = [spec.title for spec in specs]
    if again := [title for title in titles if titles.count(title) > 1]:
        raise ValueError(f"networks are told apart by their titles: {again[0]} is there {len(again)} times")
    parts = [
        fractal_connections(spec) if isinstance(spec, FractalNetSpec) else direct_connections(spec) for spec in specs
    ]
    return pd.concat(parts, ignore_index=True), "share_in_join" if fractal[0] else "probability"


def transform_gates(network: Checkpoint, images: Images, num_images: int = 256) -> pd.DataFrame:
    """How far the gates of a Highway Network are open on images: the mean of T(x) of every layer that has one.

    Args:
        images: ``num_images`` of them are taken, evenly spaced over the set.

    Returns:
        Columns network, block (the stage), layer (1-based among the stage's gated ones), name, mean_gate (0: the input
        passes as it is, 1: it is replaced), over images, feature maps and pixels.

    Raises:
        ValueError: the network has no gates.
        DataError: the images do not fit it.
    """
    rows = [
        (network.spec.title, block, layer, f"stage{block}.{layer}", mean)
        for block, stage in _mean_over_batches(network, images, num_images, lambda gates: gates.mean((1, 2, 3, 4)))
        for layer, mean in enumerate(stage.tolist(), start=1)
    ]
    return pd.DataFrame(rows, columns=["network", "block", "layer", "name", "mean_gate"])


def carried_shares(network: Checkpoint, images: Images, num_images: int = 256) -> pd.DataFrame:
    """What of each layer's output is left in the input of each later one: the Highway Network's feature-reuse table.

    A layer gives T of its own and carries 1 - T of its input on; so layer s has the share T_s (1 - T_{s+1}) ...
    (1 - T_{t-1}) in what layer t reads, and what entered the stage all that is left. A target's shares add up to 1.

    Args, errors: as for ``transform_gates``.

    Returns:
        Columns network, block (the stage), source_layer (0: the output of the stage's first layer, which has no gate),
        target_layer, target_kind, share_carried (mean over images, feature maps and pixels).
    """
    rows = []
    stages = dict(_mean_over_batches(network, images, num_images, _shares))
    for block, shares in stages.items():  # (n+1, n+1): source, target
        size = len(shares)
        last = "transition" if block < len(stages) else "classifier"
        rows += [
            (network.spec.title, block, s, t, last if t == size else "layer", float(shares[s, t - 1]))
            for t in range(1, size + 1)
            for s in range(t)
        ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "share_carried"])


def _shares(gates: Tensor) -> Tensor:
    """(layers, N, C, H, W) -> (layers + 1, layers + 1): mean share of each source in each target's input."""
    left = [torch.ones_like(gates[0])]  # of each source, in the input of the target at hand
    size = len(gates) + 1
    shares = torch.zeros(size, size)
    for target in range(size):
        shares[: target + 1, target] = torch.stack([share.mean() for share in left])
        if target < size - 1:
            left = [share * (1 - gates[target]) for share in left] + [gates[target]]
    return shares


def _mean_over_batches(
    network: Checkpoint, images: Images, num_images: int, measure: Any
) -> Iterator[tuple[int, Tensor]]:
    """Of each stage (1-based), the mean over images of a measure on its gates' openness, (layers, N, C, H, W)."""
    model = network.to_model()
    if not isinstance(model, Highway):
        raise ValueError(f"gates are of Highway Networks: this is a {network.spec.title}")
    check_fit(model.spec, images)
    chosen = evenly_spaced(images, num_images)
    sums: dict[int, Tensor] = {}
    for batch, _ in chosen.batches(64):
        for block, gates in _openness(model, batch).items():
            sums[block] = sums.get(block, 0) + len(batch) * measure(gates)
    yield from ((block, total / len(chosen)) for block, total in sums.items())


def _openness(model: Highway, batch: Tensor) -> dict[int, Tensor]:
    """Of each stage, T(x) of its layers with a gate: (layers, N, C, H, W); stages without any are left out."""
    found: dict[str, Tensor] = {}
    gates = {name: module for name, module in model.named_modules() if name.endswith(".gate")}
    hooks = [
        gate.register_forward_hook(lambda _, __, out, name=name: found.update({name: torch.sigmoid(out)}))
        for name, gate in gates.items()
    ]
    try:
        with torch.inference_mode():
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    stages = {block: [t for name, t in found.items() if name.startswith(f"stage{block}.")] for block in _blocks(model)}
    return {block: torch.stack(stage) for block, stage in stages.items() if stage}


def _blocks(model: Highway) -> range:
    return range(1, len(model.spec.stage_config) + 1)


def supervision(spec: Spec) -> pd.DataFrame:
    """How far the end of each block is from the nearest classifier: deep supervision, by companions or by short paths.

    In a DenseNet the one classifier reaches every block through at most two or three transitions (paper, section 5).

    Returns:
        Columns network, stage, layers_to_classifier (layers with weights between the end of the stage and the nearest
        scores, the classifier counted), by ("companion" or "the network's classifier").
    """
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
