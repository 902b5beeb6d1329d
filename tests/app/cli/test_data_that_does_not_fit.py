"""Every command that reads images says in one sentence why they do not fit its network."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.cli.main import run
from app.dashboard.keys import ImagesKey, file_key
from app.dashboard.loading import check_images
from densenet_core import Checkpoint, DataError, DenseNetSpec, save_checkpoint
from densenet_core.networks.build import build_model
from densenet_core.networks.relatives.highway_spec import HighwaySpec

FITTING = DenseNetSpec((1, 1), 2, 4, in_channels=1)
NETWORKS = {  # for the digits: 8x8 pixels, one channel, 10 classes
    "channels": (replace(FITTING, in_channels=3), "the images have 1 channel, the network expects 3"),
    "classes": (replace(FITTING, num_classes=3), "the data set has 10 classes, the network predicts 3"),
    "dimensions": (replace(FITTING, spatial_dims=3), "the images have 2 dimensions, DenseNet-BC (L=7, k=2) expects 3"),
    "size": (
        replace(FITTING, block_config=(1, 1, 1), stem="imagenet"),
        "the images have 8 pixels a side: input size 8 is too small for DenseNet-BC (L=10, k=2): the smallest that",
    ),
}
COMMANDS = {
    "evaluate": ["evaluate", "NETWORK"],
    "reuse, effects": ["reuse", "NETWORK", "--measure", "contribution", "--table", "made.csv"],
    "reuse, ablation": ["reuse", "NETWORK", "--measure", "ablation", "--figure", "made.pdf"],
    "agreement": ["agreement", "NETWORK", "--figure", "made.pdf"],
    "claims": ["claims", "NETWORK", "--table", "made.csv"],
    "prune": ["prune", "NETWORK", "--out", "made.safetensors"],
    "prune and fine-tune": ["prune", "NETWORK", "--finetune", "1", "--out", "made.safetensors"],
    "lens": ["lens", "NETWORK", "--figure", "made.pdf"],
    "classes": ["classes", "NETWORK", "--table", "made.csv"],
}


def refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.startswith("densenet-lens: ") and said.count("\n") == 1 and len(said) < 300


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("networks")
    for name, (spec, _) in NETWORKS.items():
        save_checkpoint(Checkpoint(spec, build_model(spec).state_dict()), folder / f"{name}.safetensors")
    return {name: str(folder / f"{name}.safetensors") for name in NETWORKS}


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_what_does_not_fit(
    command: str,
    network: str,
    networks: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [networks[network] if word == "NETWORK" else word for word in COMMANDS[command]]
    refused([*words, "--dataset", "digits"], NETWORKS[network][1], capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("network", NETWORKS)
def test_a_page_says_what_does_not_fit(network: str, networks: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["streamlit", "--root", str(Path(networks[network]).parent)])
    with pytest.raises(DataError, match=re.escape(NETWORKS[network][1])):
        check_images(ImagesKey("digits", "data", None, 10), file_key(Path(networks[network])))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spatial_dims": 3}, "3-dimensional inputs, channels: 1"),
        ({"in_channels": 5}, "2-dimensional inputs, channels: 5"),
    ],
)
def test_a_picture_does_not_fit(
    change: dict[str, int], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    spec = replace(FITTING, **change)
    save_checkpoint(Checkpoint(spec, build_model(spec).state_dict()), tmp_path / "a.safetensors")
    refused(["explain", str(tmp_path / "a.safetensors"), str(tmp_path / "a.png")], words, capsys)


def test_gates_of_other_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = HighwaySpec.parse("highway-10-8", 10, 3, 0.0)
    assert spec is not None
    save_checkpoint(Checkpoint(spec, build_model(spec).state_dict()), tmp_path / "a.safetensors")
    refused(
        ["short-paths", str(tmp_path / "a.safetensors"), "--gates", "--dataset", "digits"],
        "the images have 1 channel, the network expects 3",
        capsys,
    )


def test_a_network_for_photographs_does_not_train_on_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(
        ["train", "--arch", "densenet121", "--dataset", "digits"], "too small for DenseNet-BC (L=121, k=32)", capsys
    )
    assert list(tmp_path.iterdir()) == []
