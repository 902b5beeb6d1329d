"""What holds for every relative alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.reuse.connections import connection_weights
from densenet_core import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from densenet_core.networks.build import build_model, create_model
from densenet_core.networks.names import spec_from_name
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from densenet_core.training.runs.files import read_metrics
from tests.densenet_core.training.test_distributed import TRAIN, finish, start_two

RANDOM = ("resnet-sd-8", "fractalnet-2-2-4", "dsn-fractalnet-2-2-4")  # what they drop in training is drawn
ALL = (*RANDOM, "highway-7-4", "dsn-resnet-8", "plain-8", "wrn-10-2")


@pytest.mark.slow
@pytest.mark.parametrize("arch", RANDOM)
def test_a_broken_off_training_ends_with_the_same_numbers(arch: str, tmp_path: Path) -> None:
    config = TrainingConfig(arch, "digits", "broken", epochs=3, batch_size=256, runs_dir=str(tmp_path))

    def stop(folder: Path, model: torch.nn.Module, metrics: list[Any]) -> None:
        if metrics[-1].epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, show_progress=False, on_epoch=stop)
    found = [
        [(m.epoch, m.split, m.loss, m.error) for m in read_metrics(train(c, show_progress=False) / "metrics.csv")]
        for c in (config, replace(config, name="unbroken"))
    ]
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["dsn-fractalnet-2-2-4", "resnet-sd-8"])
def test_two_processes_train_one(arch: str, tmp_path: Path) -> None:
    """Every weight has a gradient in both, whatever each of them drops."""
    finish(start_two(tmp_path, (*TRAIN, "--arch", arch, "--runs", tmp_path, "--epochs", 2)))
    assert read_metrics(tmp_path / "demo" / "metrics.csv")[-1].epoch == 2


@pytest.mark.parametrize("arch", ALL)
def test_a_saved_network_loads_unchanged(arch: str, tmp_path: Path) -> None:
    model = create_model(arch, num_classes=5).eval()
    save_checkpoint(Checkpoint(model.spec, model.state_dict(), {"seed": 1}), tmp_path / "net.safetensors")
    loaded = load_checkpoint(tmp_path / "net.safetensors")
    assert (loaded.spec, loaded.record) == (model.spec, {"seed": 1})
    x = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(loaded.to_model()(x), model(x))


@pytest.mark.parametrize("arch", ["highway-7-4", "fractalnet-2-2-4", "dsn-resnet-8"])
def test_a_file_that_lacks_a_tensor_says_which(arch: str, tmp_path: Path) -> None:
    model = create_model(arch)
    state = model.state_dict()
    del state[missing := next(iter(state))]
    save_checkpoint(Checkpoint(model.spec, state), tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match=f"the metadata say .*, but tensor '{missing}' is missing"):
        load_checkpoint(tmp_path / "net.safetensors")


@pytest.mark.parametrize("arch", ALL)
def test_feature_reuse_is_refused_by_name(arch: str) -> None:
    spec = spec_from_name(arch)
    network = Checkpoint(spec, build_model(spec).state_dict())
    with pytest.raises(CheckpointError, match="feature reuse is measured on DenseNets: this is a "):
        connection_weights(network)
    with pytest.raises(
        ValueError, match=f"memory_efficient=True is only supported for DenseNets, and {spec.title.split()[0]}"
    ):
        build_model(spec, memory_efficient=True)


@pytest.mark.parametrize("arch", ["highway-7-4", "fractalnet-2-2-4", "dsn-highway-7-4", "resnet-sd-8"])
def test_dropout_is_refused_by_name(arch: str) -> None:
    with pytest.raises(ValueError, match=r"drop_rate 0\.2 is only supported for DenseNets and Wide ResNets"):
        create_model(arch, drop_rate=0.2)
