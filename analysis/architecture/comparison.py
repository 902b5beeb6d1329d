"""Two or more networks side by side: sizes and costs, in total and by stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from analysis.architecture.as_spec import SpecLike, as_specs
from analysis.architecture.cost import count_cost, default_input_size, total_cost
from analysis.architecture.memory import training_activation_bytes
from analysis.architecture.paths import path_counts
from densenet_core.networks.layers import network_layers
from densenet_core.networks.spec import Spec


def compare(networks: Mapping[str, SpecLike] | Iterable[SpecLike], input_size: int | None = None) -> pd.DataFrame:
    """Return sizes and costs of networks on the same input: one row per quantity, one column per network.

    >>> compare(["densenet121", "resnet50"]).loc["params"].to_list()
    [7978856, 25557032]

    Args:
        networks: specs, checkpoints, networks or their names; in a dict by the names to show, or in a list.
        input_size: height and width in pixels; by default the first network's own.

    Raises:
        ValueError: ``networks`` is empty or has something else, or the input is too small for one of them.
    """
    specs = as_specs(networks)
    size = default_input_size(next(iter(specs.values()))) if input_size is None else input_size
    return pd.DataFrame({name: _quantities(spec, size) for name, spec in specs.items()})


def _quantities(spec: Spec, input_size: int) -> dict[str, int | str]:
    total = total_cost(count_cost(spec, input_size))
    return {
        "network": spec.title,
        "input_size": input_size,
        "depth": spec.depth,
        "params": total["params"],
        "mult_adds": total["mult_adds"],
        "other_ops": total["other_ops"],
        "weight_bytes": total["weight_bytes"],
        "training_activation_bytes": training_activation_bytes(spec, input_size),
        "receptive_field": receptive_field(spec),
        "shortest_path": shortest_path(spec),
    }


def compare_stages(
    networks: Mapping[str, SpecLike] | Iterable[SpecLike], input_size: int | None = None
) -> pd.DataFrame:
    """Return the parameters and mult_adds of networks by stage.

    Returns:
        Columns network, stage, feature_maps and resolution (height in pixels) of the stage's output, params, mult_adds.
    """
    specs = as_specs(networks)
    size = default_input_size(next(iter(specs.values()))) if input_size is None else input_size
    parts = []
    for name, spec in specs.items():
        cost = count_cost(spec, size)
        stages = cost.groupby("stage", sort=False).agg(
            shape=("output_shape", "last"), params=("params", "sum"), mult_adds=("mult_adds", "sum")
        )
        stages["feature_maps"] = [shape[0] for shape in stages["shape"]]
        stages["resolution"] = [shape[1] if len(shape) > 1 else 1 for shape in stages["shape"]]
        parts.append(stages.reset_index().assign(network=name))
    columns = ["network", "stage", "feature_maps", "resolution", "params", "mult_adds"]
    return pd.concat(parts, ignore_index=True)[columns]


def receptive_field(spec: Spec) -> int:
    """Return the side in pixels of the area that one value before the global pooling depends on, by the longest path.

    It can be larger than the input: the rest is padding.
    """
    field, step = 1, 1
    for layer in network_layers(spec, default_input_size(spec)):
        if layer.kind in ("conv", "max_pool", "avg_pool") and not layer.is_branch:
            field += (layer.kernel - 1) * step
            step *= layer.stride
    return field


def shortest_path(spec: Spec) -> int:
    """Return the number of layers with weights on the shortest path from the input to the scores, both ends counted.

    In a DenseNet the path takes only the transitions between, in a ResNet only the shortcuts' projections.
    """
    return int(path_counts(spec)["length"].min())
