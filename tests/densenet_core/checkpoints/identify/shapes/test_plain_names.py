"""DenseNets under the names of other libraries and frameworks compute the same, and what can't be known is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from analysis import connection_weights
from densenet_core import CheckpointError, DenseNetSpec, checkpoint_from_state_dict, load_checkpoint
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.errors import SeveralNetworksError
from densenet_core.networks.build import build_model
from tests.densenet_core.checkpoints.formats.foreign import ForeignDenseNet, trained
from tests.densenet_core.checkpoints.identify.shapes.test_by_shape import EVEN, assert_same_reuse

State = Mapping[str, Tensor]
MODEL = trained(ForeignDenseNet())
STATE = {key: tensor for key, tensor in MODEL.state_dict().items() if not key.endswith("num_batches_tracked")}
SPEC = DenseNetSpec((3, 2), 4, 8, num_classes=5)
IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def renamed(weight: str, bias: str, mean: str, variance: str, join: str = ".") -> dict[str, Tensor]:
    """With other names for the parts of norms."""
    parts = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": variance}
    found = {}
    for key, tensor in STATE.items():
        module, _, part = key.rpartition(".")
        part = parts[part] if f"{module}.running_mean" in STATE else part
        found[f"{module}{join}{part}"] = tensor
    return found


def flax() -> dict[str, Tensor]:
    """In Flax's collections, with kernels as (height, width, in, out)."""
    found = {}
    for key, tensor in renamed("scale", "bias", "mean", "var").items():
        module, _, part = key.rpartition(".")
        collection = "batch_stats" if part in ("mean", "var") else "params"
        if tensor.ndim > 1:
            part, tensor = "kernel", tensor.permute(*range(2, tensor.ndim), 1, 0).contiguous()
        found[f"{collection}.{module}.{part}"] = tensor
    return found


FILES: dict[str, Callable[[], State]] = {
    "Paddle": lambda: renamed("weight", "bias", "_mean", "_variance"),
    "MXNet's Gluon": lambda: renamed("gamma", "beta", "running_mean", "running_var"),
    "MXNet's symbols": lambda: {
        f"net0_{key.replace('.', '_')}": tensor
        for key, tensor in renamed("gamma", "beta", "moving_mean", "moving_var").items()
    },
    "Flax": flax,
    "FSDP and activation checkpointing": lambda: {
        key.replace("stages.", "_fsdp_wrapped_module.stages.").replace(".pre.", "._checkpoint_wrapped_module.pre."): t
        for key, t in STATE.items()
    },
    "torch.optim.swa_utils.AveragedModel": lambda: torch.optim.swa_utils.AveragedModel(MODEL).state_dict(),
}


def assert_same_network(file: Path) -> None:
    found = load_checkpoint(file)
    assert found.spec == SPEC and found.order == "old_first"
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(IMAGES), MODEL(IMAGES), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("what", FILES)
def test_it_computes_the_same(what: str, tmp_path: Path) -> None:
    torch.save(dict(FILES[what]()), tmp_path / "a.pth")
    assert_same_network(tmp_path / "a.pth")


def test_paths_with_slashes_are_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{key.replace(".", "/"): tensor.numpy() for key, tensor in STATE.items()})
    assert_same_network(tmp_path / "a.npz")


def low_rank(names: tuple[str, str]) -> dict[str, Tensor]:
    key = "stages.0.1.squeeze"
    return STATE | {f"{key}.{names[0]}": torch.randn(2, 12, 1, 1), f"{key}.{names[1]}": torch.randn(16, 2, 1, 1)}


@pytest.mark.parametrize("names", [("lora_A.default.weight", "lora_B.default.weight"), ("lora_A", "lora_B")])
def test_updates_of_low_rank_are_refused_as_their_factor_is_unknown(names: tuple[str, str]) -> None:
    with pytest.raises(CheckpointError, match=r"updates of low rank, .*lora_A.*merge_and_unload"):
        checkpoint_from_state_dict(low_rank(names))


def test_counters_are_no_part_of_the_network() -> None:
    found = checkpoint_from_state_dict({**STATE, "initted": torch.tensor(True), "ema_steps": torch.tensor([7])})
    assert (found.spec, found.ignored) == (SPEC, ("initted", "ema_steps"))


def test_what_stands_beside_a_network_of_known_names_is_said() -> None:
    state = build_model(SPEC).state_dict()
    wrapped = {"0.mean": torch.zeros(3), "0.steps": torch.tensor(3)} | {f"1.{key}": t for key, t in state.items()}
    found = checkpoint_from_state_dict(wrapped)
    assert found.assumed == ("the network under '1.' alone, without '0.mean'",)
    assert {*found.ignored} == {"0.mean", "0.steps"}


def test_a_factor_of_unknown_meaning_is_named_and_nothing_is_evaluated() -> None:
    found = checkpoint_from_state_dict({**STATE, "stages.0.1.squeeze.gain": torch.ones(16, 1, 1, 1)})
    assert isinstance(found.spec, ConcatSpec) and found.ignored == ("stages.0.1.squeeze.gain",)
    assert "'stages.0.1.squeeze.gain' have no place in a DenseNet" in found.spec.why


def test_two_networks_of_unknown_names_are_chosen_from(tmp_path: Path) -> None:
    other = trained(ForeignDenseNet((2, 2), (6, 6)))
    pairs = (("wrapper.one", STATE), ("wrapper.two", other.state_dict()))
    torch.save({f"{name}.{key}": tensor for name, state in pairs for key, tensor in state.items()}, tmp_path / "a.pth")
    with pytest.raises(SeveralNetworksError) as refused:
        load_checkpoint(tmp_path / "a.pth")
    assert refused.value.names == ("wrapper.one", "wrapper.two")
    assert load_checkpoint(tmp_path / "a.pth", weights="wrapper.one").spec == SPEC
    assert load_checkpoint(tmp_path / "a.pth", weights="wrapper.two").architecture.growth_rate == 6  # type: ignore[attr-defined]


def test_of_an_encoder_under_unknown_names_the_table_is_known() -> None:
    encoder = {f"encoder.{key}": tensor for key, tensor in STATE.items() if not key.startswith("outs")}
    decoder = nn.Sequential(nn.Conv2d(18 + 20, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 3)).state_dict()
    state = encoder | {f"decoder.{key}": tensor for key, tensor in decoder.items()}
    found = checkpoint_from_state_dict(state)
    assert isinstance(found.spec, ConcatSpec)
    assert found.spec.why.startswith("'encoder' is part of a network that goes on with 'decoder'")
    assert {key for key in state if key.startswith("decoder")} <= {*found.ignored}
    table = connection_weights(found)
    rows = [row for row in MODEL.naive_reuse(EVEN) if row[:2] != (2, 0) and not (row[0] == 2 and row[2] == 3)]
    expected = sorted(row[4] for row in rows)
    table = table[~((table["block"] == 2) & (table["source_layer"] == 0))]
    assert sorted(table["mean_abs_weight"]) == pytest.approx(expected, rel=1e-5)


def test_a_gate_behind_the_last_block_is_no_head() -> None:
    gate = {"gate.0": nn.Linear(18, 3), "gate.2": nn.Linear(3, 18)}
    state = {f"{name}.{key}": tensor for name, layer in gate.items() for key, tensor in layer.state_dict().items()}
    found = checkpoint_from_state_dict({**STATE, **state})
    assert isinstance(found.spec, ConcatSpec)
    assert "heads" not in found.spec.why and "'gate.0.weight'" in found.spec.why
    assert_same_reuse(connection_weights(found), MODEL, EVEN)
