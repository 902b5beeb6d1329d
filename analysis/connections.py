"""The feature-reuse table: what every layer of a DenseNet weighs of every layer before it (paper, Figure 5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from torch import Tensor, nn

from densenet_core import Checkpoint, CheckpointError, DenseNetSpec, checkpoint_from_state_dict
from densenet_core.pruned import with_all_connections

WeightMeasure = Literal["mean_abs_weight", "l1_per_input_map", "effective_weight"]
DataMeasure = Literal["contribution", "taylor", "ablation"]
WEIGHT_MEASURES: tuple[WeightMeasure, ...] = get_args(WeightMeasure)
DATA_MEASURES: tuple[DataMeasure, ...] = get_args(DataMeasure)
MEASURES: tuple[WeightMeasure | DataMeasure, ...] = (*WEIGHT_MEASURES, *DATA_MEASURES)
TargetKind = Literal["dense_layer", "transition", "classifier"]
Network = Checkpoint | nn.Module | Mapping[str, Tensor]

COLUMNS = (
    "block",
    "source_layer",
    "target_layer",
    "target_kind",
    "num_channels",
    *WEIGHT_MEASURES,
)


@dataclass(frozen=True)
class Target:
    """A layer that reads the feature maps of a block: one of its dense layers, or what follows it."""

    block: int  # 1-based
    layer: int  # 1..n: dense layer; n+1: what follows the block
    kind: TargetKind
    weight: str  # name of its first weight tensor, (out, in, *kernel)
    norm: str  # name of the norm before it


def connection_weights(network: Network) -> pd.DataFrame:
    """The feature-reuse table of a trained DenseNet: one row per connection.

    Args:
        network: a checkpoint, a module, or a state dict in any layout that ``load_checkpoint`` knows.

    Returns:
        Columns block (1-based), source_layer (0 = what enters the block, s = its s-th dense layer),
        target_layer (1..n = dense layer, n+1 = what follows the block), target_kind (dense_layer,
        transition, classifier), num_channels (feature maps that the source gives), and three measures of the
        weights w with which the target's first convolution reads those maps (paper, section 5, Figure 5):
        mean_abs_weight, the mean of abs(w) over input channels, output channels and kernel positions;
        l1_per_input_map, the sum of abs(w) divided by num_channels. The two differ by the factor
        (output channels x kernel positions), which is one number within a target but not across targets.
        effective_weight is the mean of abs(w) x abs(gamma), where gamma is the factor of the target's own batch norm
        for that input channel: the weight per standard deviation of the source, for that norm divides by it.

    Raises:
        CheckpointError: the network is no DenseNet.
    """
    checkpoint = as_checkpoint(network)
    spec = dense_spec(checkpoint)
    parts = [_measured(checkpoint, spec, target) for target in targets(spec)]
    return pd.DataFrame({column: np.concatenate([part[column] for part in parts]) for column in COLUMNS})


def as_checkpoint(network: Network) -> Checkpoint:
    """The same network as a checkpoint; where connections were cut, with weights of 0 in their place.

    Raises:
        CheckpointError: it is no DenseNet.
    """
    if (
        isinstance(network, nn.Module)
        and isinstance(spec := getattr(network, "spec", None), DenseNetSpec)
        and spec.cuts
    ):
        network = Checkpoint(spec, network.state_dict())
    if isinstance(network, Checkpoint):
        return with_all_connections(network)
    if isinstance(network, nn.Module):
        network = network.state_dict()
    if not isinstance(network, Mapping):
        raise CheckpointError(
            f"network is a {type(network).__name__}: give a Checkpoint, a torch module or a state dict "
            "(load_checkpoint reads files)"
        )
    return checkpoint_from_state_dict(network)


def dense_spec(checkpoint: Checkpoint) -> DenseNetSpec:
    """The checkpoint's spec.

    Raises:
        CheckpointError: it is a ResNet's, in which no layer reads another's feature maps by themselves.
    """
    if not isinstance(checkpoint.spec, DenseNetSpec):
        raise CheckpointError(f"feature reuse is read off DenseNets: this is a {checkpoint.spec.title}")
    return checkpoint.spec


def targets(spec: DenseNetSpec) -> Iterator[Target]:
    """Every layer that reads a block's feature maps, block by block."""
    last_block = len(spec.block_config)
    for block, num_layers in enumerate(spec.block_config, start=1):
        for layer in range(1, num_layers + 1):
            yield Target(block, layer, "dense_layer", *spec.target_names(block, layer))
        kind: TargetKind = "transition" if block < last_block else "classifier"
        yield Target(block, num_layers + 1, kind, *spec.target_names(block, num_layers + 1))


def connection_filter(checkpoint: Checkpoint, block: int, source_layer: int, target_layer: int) -> Tensor:
    """The weights of one connection: (output channels, num_channels of the source, *kernel).

    Raises:
        ValueError: the network has no such connection.
    """
    checkpoint = as_checkpoint(checkpoint)
    spec = dense_spec(checkpoint)
    for target in targets(spec):
        if (target.block, target.layer) == (block, target_layer) and 0 <= source_layer < target_layer:
            edges = np.cumsum([0, *spec.source_channels(block)])
            return checkpoint.state_dict[target.weight][:, edges[source_layer] : edges[source_layer + 1]]
    raise ValueError(f"block {block} has no connection from source layer {source_layer} to target layer {target_layer}")


def _measured(checkpoint: Checkpoint, spec: DenseNetSpec, target: Target) -> dict[str, np.ndarray]:
    """The table's columns for one target, an entry a source."""
    weight = checkpoint.state_dict[target.weight].detach().float().cpu().numpy()
    gamma = checkpoint.state_dict[f"{target.norm}.weight"].detach().double().abs().cpu().numpy()  # (in,)
    channels = np.array(spec.source_channels(target.block)[: target.layer])
    starts = np.cumsum(channels) - channels
    not_input = tuple(d for d in range(weight.ndim) if d != 1)
    l1_per_channel = np.abs(weight).sum(axis=not_input, dtype=np.float64)  # (in,)
    l1_per_input_map = np.add.reduceat(l1_per_channel, starts) / channels
    weights_per_map = weight.size // weight.shape[1]
    return {
        "block": np.full(target.layer, target.block),
        "source_layer": np.arange(target.layer),
        "target_layer": np.full(target.layer, target.layer),
        "target_kind": np.full(target.layer, target.kind, dtype=object),
        "num_channels": channels,
        "mean_abs_weight": l1_per_input_map / weights_per_map,
        "l1_per_input_map": l1_per_input_map,
        "effective_weight": np.add.reduceat(l1_per_channel * gamma, starts) / channels / weights_per_map,
    }
