from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from analysis import connection_filter, connection_weights
from analysis.reuse.connections import KEYS
from analysis.reuse.measures import WEIGHT_MEASURES
from densenet_core import Checkpoint, CheckpointError, DenseNet, DenseNetSpec, load_checkpoint, load_zoo, zoo_names
from densenet_core.networks.names import spec_from_name
from tests.conftest import shared_file, trained_like

SPECS = [
    DenseNetSpec((3, 4, 2), 4, 8),
    DenseNetSpec((3, 4, 2), 4, 8, bottleneck=False, compression=1.0),
    DenseNetSpec((2,), 3, 5),
    DenseNetSpec((2, 3, 4, 2, 2), 4, 8, stem="imagenet"),
    DenseNetSpec((2, 3), 4, 8, spatial_dims=1),
    DenseNetSpec((2, 3), 4, 8, spatial_dims=3, in_channels=1),
]
NAIVE = (
    "mean_abs_weight",
    "l1_per_input_map",
    "total_abs_weight",
    "effective_weight",
    "total_effective_weight",
    "mean_abs_gamma",
)


def naive_table(checkpoint: Checkpoint) -> list[tuple[object, ...]]:
    """The table by loops over sources and channels, from the definitions."""
    state, spec, rows = checkpoint.state_dict, checkpoint.spec, []
    for block, layers in enumerate(spec.block_config, start=1):
        width_in = state[f"features.denseblock{block}.denselayer1.conv1.weight"].shape[1]
        for target in range(1, layers + 2):
            if target <= layers:
                kind, weight = "dense_layer", state[f"features.denseblock{block}.denselayer{target}.conv1.weight"]
            elif block < len(spec.block_config):
                kind, weight = "transition", state[f"features.transition{block}.conv.weight"]
            else:
                kind, weight = "classifier", state["classifier.weight"]
            first = 0
            for source in range(target):
                channels = width_in if source == 0 else spec.growth_rate
                sums = [weight[:, c].abs().double().sum().item() for c in range(first, first + channels)]
                per_map, total = weight[:, 0].numel(), sum(sums)
                gamma = state[_norm(kind, block, target)][first : first + channels].abs().tolist()
                effective = sum(s * g for s, g in zip(sums, gamma, strict=True))
                means = (total / (channels * per_map), total / channels, total, effective / (channels * per_map))
                rows.append((block, source, target, kind, channels, *means, effective, sum(gamma) / channels))
                first += channels
            assert first == weight.shape[1]  # the sources' channels add up to the target's input width
    return rows


def _norm(kind: str, block: int, target: int) -> str:
    if kind == "dense_layer":
        return f"features.denseblock{block}.denselayer{target}.norm1.weight"
    return f"features.transition{block}.norm.weight" if kind == "transition" else "features.norm5.weight"


def assert_table_is_naive(checkpoint: Checkpoint) -> None:
    table = connection_weights(checkpoint)
    expected = pd.DataFrame(naive_table(checkpoint), columns=[*KEYS, *NAIVE])
    pd.testing.assert_frame_equal(table[list(expected)], expected, check_dtype=False, rtol=1e-6)
    assert set(table) == {*KEYS, *WEIGHT_MEASURES}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.title} {spec.block_config} {spec.spatial_dims}d")
def test_the_table_is_what_loops_over_the_definition_give(spec: DenseNetSpec) -> None:
    assert_table_is_naive(Checkpoint(spec, trained_like(spec).state_dict()))


@pytest.mark.slow
def test_a_cifar10_network_that_others_trained() -> None:
    assert_table_is_naive(load_checkpoint(shared_file("checkpoints/densenet_bc_100_12_cifar10.pth.tar")))


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo_names())
def test_the_zoo(name: str) -> None:
    assert_table_is_naive(load_zoo(name))


@pytest.mark.parametrize("name", ["densenet-40-12", "densenet121"])
def test_painted_weights_read_back(name: str) -> None:
    """Weights painted with the value s in slice s read back as s."""
    spec = spec_from_name(name)
    with torch.device("meta"):
        shapes = {key: tuple(t.shape) for key, t in DenseNet(spec).state_dict().items()}
    state = {key: torch.zeros(shape) for key, shape in shapes.items()}
    for key, weight in state.items():
        if "denselayer" in key and key.endswith("conv1.weight"):
            block = int(key.split("denseblock")[1].split(".")[0])
        elif "transition" in key and key.endswith("conv.weight"):
            block = int(key.split("transition")[1].split(".")[0])
        elif key == "classifier.weight":
            block = len(spec.block_config)
        else:
            continue
        owner = np.repeat(np.arange(spec.block_config[block - 1] + 1), spec.source_channels(block))
        weight += torch.from_numpy(owner[: weight.shape[1]]).float().view(1, -1, *(1,) * (weight.ndim - 2))
    table = connection_weights(Checkpoint(spec, state))
    assert (table["mean_abs_weight"] == table["source_layer"]).all()


@pytest.mark.parametrize("spec", SPECS[:4])
def test_number_of_rows(spec: DenseNetSpec) -> None:
    counts = connection_weights(DenseNet(spec)).groupby("block").size()
    assert counts.tolist() == [n * (n + 1) // 2 + n + 1 for n in spec.block_config]


def test_signs_do_not_matter_and_scale_does(small_checkpoint: Checkpoint) -> None:
    table = connection_weights(small_checkpoint)
    flipped = {key: -2 * t if t.is_floating_point() else t for key, t in small_checkpoint.state_dict.items()}
    twice = connection_weights(flipped)
    np.testing.assert_allclose(twice["mean_abs_weight"], 2 * table["mean_abs_weight"], rtol=1e-12)


def test_a_module_a_state_dict_and_half_precision_are_taken(small_spec: DenseNetSpec) -> None:
    model = trained_like(small_spec)
    table = connection_weights(model)
    pd.testing.assert_frame_equal(connection_weights(model.state_dict()), table)
    for dtype in (torch.float16, torch.bfloat16):
        half = {k: t.to(dtype) if t.is_floating_point() else t for k, t in model.state_dict().items()}
        pd.testing.assert_frame_equal(connection_weights(half), table, rtol=1e-2)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(CheckpointError, match="network is a int: give a Checkpoint"):
        connection_weights(3)
    with pytest.raises(CheckpointError, match="no DenseNet or ResNet in a known layout"):
        connection_weights(torch.nn.Linear(2, 2))


def test_connection_filter_is_the_slice(small_checkpoint: Checkpoint) -> None:
    weight = small_checkpoint.state_dict["features.denseblock2.denselayer3.conv1.weight"]
    width = small_checkpoint.spec.block_inputs[1]
    assert np.array_equal(connection_filter(small_checkpoint, 2, 0, 3), weight[:, :width])
    assert np.array_equal(connection_filter(small_checkpoint, 2, 2, 3), weight[:, width + 4 : width + 8])
    with pytest.raises(ValueError, match="block 2 has no connection from source layer 3 to target layer 3"):
        connection_filter(small_checkpoint, 2, 3, 3)
