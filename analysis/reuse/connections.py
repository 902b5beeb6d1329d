"""The feature-reuse table: how much weight each layer of a DenseNet gives each layer before it (paper, Figure 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd

from analysis.reuse.measures import CONNECTION, STATISTICS, WEIGHT_MEASURES, with_measures
from densenet_core import Checkpoint, CheckpointError, DenseNetSpec, checkpoint_from_state_dict
from densenet_core.arrays import Array
from densenet_core.checkpoints.identify.connectivity import ConcatSpec, ConcatTarget, targets
from densenet_core.checkpoints.pruning import with_all_connections

if TYPE_CHECKING:
    from torch import Tensor, nn

Network: TypeAlias = "Checkpoint | nn.Module | Mapping[str, Tensor]"

KEYS = (*CONNECTION, "num_channels")
COLUMNS = (*KEYS, *WEIGHT_MEASURES)


def connection_weights(network: Network, input_shape: Sequence[int] | None = None) -> pd.DataFrame:
    """Return the feature-reuse table of a trained DenseNet, or of any network that concatenates.

    Args:
        network: a checkpoint, a state dict in any layout that ``load_checkpoint`` reads, or a module. Another module is
            traced through one pass without data (``densenet_core.checkpoints.trace``); its source and target layers are
            numbered in the order in which they run, so that a target's number exceeds its sources'.
        input_shape: shape of the input of a module that is traced, ``(N, C, *spatial)``.

    Returns:
        One row per connection: block (1-based), source_layer (0 = the block's input, s = its s-th dense layer),
        target_layer (1..n = dense layer, n+1 = what follows the block), target_kind (dense_layer, transition,
        classifier), num_channels (feature maps of the source), and a column for each measure of the weights w with
        which the target's first convolution reads those maps (paper, section 5, Figure 5). ``measures.MEASURES``
        defines them. mean_abs_weight is a mean per channel, total_abs_weight the sum over all weights: a wide source
        can have a small mean and a large total. mean_abs_weight and l1_per_input_map differ by the factor (output
        channels x kernel positions), one number within a target but not across targets. Measures of γ are nan if no
        norm comes directly before the target.

    Raises:
        CheckpointError: the network is not a DenseNet and concatenates nothing.

    >>> from densenet_core import load_zoo
    >>> table = connection_weights(load_zoo("densenet-40-12-digits"))
    >>> len(table)
    273
    """
    checkpoint = as_checkpoint(network, input_shape)
    parts = [_statistics(checkpoint.arrays, target) for target in targets(concatenations(checkpoint))]
    columns = (*KEYS, *STATISTICS["weights"])
    table = pd.DataFrame({column: np.concatenate([part[column] for part in parts]) for column in columns})
    return with_measures(table, "weights")


def as_checkpoint(network: Network, input_shape: Sequence[int] | None = None) -> Checkpoint:
    """Return the network as a checkpoint; connections that were cut have weights of 0.

    Raises:
        CheckpointError: the network is not a DenseNet and concatenates nothing.
    """
    if isinstance(network, Checkpoint):
        return with_all_connections(network)
    if isinstance(network, Mapping):
        return checkpoint_from_state_dict(network)
    from torch import nn

    if isinstance(network, nn.Module):
        if isinstance(spec := getattr(network, "spec", None), DenseNetSpec) and spec.cuts:
            return with_all_connections(Checkpoint(spec, network.state_dict()))
        from densenet_core.checkpoints.trace import checkpoint_from_module  # a file's readers need no tracer

        return checkpoint_from_module(network, input_shape)
    raise CheckpointError(
        f"network is a {type(network).__name__}: give a Checkpoint, a torch module or a state dict "
        "(load_checkpoint reads files)"
    )


def dense_spec(checkpoint: Checkpoint) -> DenseNetSpec:
    """Return the spec of a DenseNet that can be built.

    Raises:
        CheckpointError: it is a ResNet, whose layers do not read each other's feature maps separately, or only the
            network's concatenations are known.
    """
    spec = checkpoint.architecture
    if not isinstance(spec, DenseNetSpec):
        raise CheckpointError(f"feature reuse is measured on DenseNets: this is a {spec.title}")
    return spec


def check_splits(spec: DenseNetSpec) -> None:
    """Raise CheckpointError unless every norm treats each feature map by itself, so that a layer's sources split."""
    if spec.norm != "batch":
        raise CheckpointError(
            f"the network's norms ({spec.norm}) compute their scale from the images: effects of single sources are "
            "measured on networks whose batch norms have running statistics"
        )


def concatenations(checkpoint: Checkpoint) -> DenseNetSpec | ConcatSpec:
    """Return the network's concatenations.

    Raises:
        CheckpointError: the network is a ResNet.
    """
    return checkpoint.spec if isinstance(checkpoint.spec, ConcatSpec) else dense_spec(checkpoint)


def connection_filter(checkpoint: Checkpoint, block: int, source_layer: int, target_layer: int) -> Array:
    """Return the weights of one connection: ``(output channels, num_channels of the source, *kernel)``.

    >>> from densenet_core import load_zoo
    >>> connection_filter(load_zoo("densenet-40-12-digits"), block=1, source_layer=0, target_layer=1).shape
    (12, 16, 3, 3)

    Raises:
        ValueError: the network has no such connection.
    """
    checkpoint = as_checkpoint(checkpoint)
    for target in targets(concatenations(checkpoint)):
        if (target.block, target.layer) == (block, target_layer) and source_layer in dict(target.runs):
            channels = np.flatnonzero(_source_of_channel(target) == source_layer)
            return _by_input(checkpoint.arrays[target.weight], target)[:, channels]
    raise ValueError(f"block {block} has no connection from source layer {source_layer} to target layer {target_layer}")


def _statistics(arrays: Mapping[str, Array], target: ConcatTarget) -> dict[str, Array]:
    """Return the statistics of one target's weights from which the measures follow, an entry per source."""
    source = _source_of_channel(target)
    weight = _by_input(arrays[target.weight], target).astype(np.float32, copy=False)
    l1 = np.abs(weight).sum(axis=(0, *range(2, weight.ndim)), dtype=np.float64)  # (in,)
    gamma = np.full(len(source), np.nan)
    if target.norm is not None:
        gamma = np.abs(arrays[f"{target.norm}.weight"].astype(np.float64))  # (in,)
    layers = np.unique(source)
    channels = np.bincount(source)[layers]
    return {
        "block": np.full(len(layers), target.block),
        "source_layer": layers,
        "target_layer": np.full(len(layers), target.layer),
        "target_kind": np.full(len(layers), target.kind, dtype=object),
        "num_channels": channels,
        "num_weights": channels * (weight.size // len(source)),
        "sum_abs_weight": np.bincount(source, l1)[layers],
        "sum_abs_effective": np.bincount(source, l1 * gamma)[layers],
        "sum_abs_gamma": np.bincount(source, gamma)[layers],
    }


def _source_of_channel(target: ConcatTarget) -> Array:
    """Return the source layer of each of the target's input channels."""
    return np.repeat(*np.transpose(target.runs))


def _by_input(weight: Array, target: ConcatTarget) -> Array:
    """Return a weight as (outputs that read a channel, input channels, *kernel), grouped and transposed ones too."""
    if target.input_axis == 0:
        return weight.swapaxes(0, 1)
    by_group = weight.reshape(target.groups, -1, *weight.shape[1:])  # (groups, outputs of one, inputs of one, *kernel)
    inputs = target.groups * weight.shape[1]
    return by_group.swapaxes(0, 1).reshape(-1, inputs, *weight.shape[2:])
