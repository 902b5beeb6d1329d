"""A DenseNet among much larger tensors: only what the network uses is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from analysis import connection_weights
from densenet_core import Checkpoint, CheckpointError, load_checkpoint
from densenet_core.checkpoints import read_network
from densenet_core.checkpoints.formats import content
from densenet_core.checkpoints.formats.content import FileContent, Stretch

SIDE, LARGE = 200, 100_000  # bytes: more than any tensor of the small network, less than the others


@pytest.fixture
def read_lengths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all stretches that are read, with a smaller limit."""
    lengths: list[int] = []
    whole = FileContent._bytes

    def spied(self: FileContent, stretch: Stretch) -> np.ndarray:
        lengths.append(stretch.length)
        return whole(self, stretch)

    monkeypatch.setattr(content, "LARGE", LARGE)
    monkeypatch.setattr(FileContent, "_bytes", spied)
    return lengths


def saved(tensors: Mapping[str, torch.Tensor], kind: str, folder: Path) -> Path:
    file = folder / f"net.{kind}"
    save_file(dict(tensors), file) if kind == "safetensors" else torch.save({"model": dict(tensors)}, file)
    return file


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "pth"])
@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_large_tensors_beside_the_network_are_not_read(
    kind: str, value: float, small_checkpoint: Checkpoint, tmp_path: Path, read_lengths: list[int]
) -> None:
    others = {f"decoder.{i}.weight": torch.full((SIDE, SIDE), value) for i in range(3)}
    found = load_checkpoint(saved({**small_checkpoint.state_dict, **others}, kind, tmp_path))
    assert 0 < max(read_lengths) <= LARGE < SIDE * SIDE * 4
    assert not others.keys() & found.arrays.keys()
    expected = connection_weights(small_checkpoint)["mean_abs_weight"]
    np.testing.assert_array_equal(connection_weights(found)["mean_abs_weight"], expected)


def test_large_tensors_of_the_network_are_read(
    tmp_path: Path, small_checkpoint: Checkpoint, read_lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "LARGE", 2_000)
    file = saved(small_checkpoint.state_dict, "safetensors", tmp_path)
    times = []
    identify = read_network.read_state_dict
    monkeypatch.setattr(
        read_network, "read_state_dict", lambda *args, **about: times.append(1) or identify(*args, **about)
    )
    found = load_checkpoint(file)
    assert len(times) == 1  # the network is identified once
    for key, array in found.arrays.items():
        np.testing.assert_array_equal(array, small_checkpoint.state_dict[key].numpy())
    broken = small_checkpoint.state_dict["features.denseblock1.denselayer1.conv1.weight"].clone().fill_(torch.nan)
    weights = {**small_checkpoint.state_dict, "features.denseblock1.denselayer1.conv1.weight": broken}
    with pytest.raises(CheckpointError, match=r"denselayer1\.conv1\.weight.* holds NaN"):
        load_checkpoint(saved(weights, "safetensors", tmp_path))


def test_large_tensors_that_others_are_computed_from_are_read(
    tmp_path: Path, small_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "LARGE", 2_000)
    state = dict(small_checkpoint.state_dict)
    key = "features.denseblock1.denselayer2.conv1.weight"
    state |= {f"{key}_orig": state[key], f"{key}_mask": torch.ones_like(state.pop(key))}
    state[f"{key}_mask"][0] = 0
    found = load_checkpoint(saved(state, "safetensors", tmp_path)).arrays[key]
    np.testing.assert_array_equal(found, (state[f"{key}_orig"] * state[f"{key}_mask"]).numpy())
