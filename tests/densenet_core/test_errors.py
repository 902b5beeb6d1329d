"""Errors keep their class and their facts: pickled between processes, and when a file's name is put in front."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from densenet_core import CheckpointError, DenseNetSpec, load_checkpoint
from densenet_core.errors import DamagedFileError, OpenNormsError, SeveralNetworksError, reworded
from densenet_core.networks.build import build_model
from densenet_core.training.loop import NotFiniteError

ERRORS = (
    CheckpointError("a"),
    DamagedFileError("the header is empty"),
    SeveralNetworksError(["student", "teacher"]),
    OpenNormsError("a"),
    NotFiniteError(float("inf"), 2, 7, 0.1, " in runs/a"),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_it_crosses_processes_unchanged(error: ValueError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), back.args, vars(back)) == (type(error), error.args, vars(error))


def test_another_message_keeps_class_and_facts() -> None:
    error = SeveralNetworksError(["student", "teacher"])
    other = reworded(error, "a.pth: two networks")
    assert (type(other), str(other), other.names) == (SeveralNetworksError, "a.pth: two networks", error.names)
    assert str(error).startswith("the file holds 2 networks")


@pytest.mark.parametrize("blocks", [(1,), (2, 2)], ids=["not read", "only its concatenations"])
def test_norms_that_a_file_leaves_open_are_an_error_of_their_own(blocks: tuple[int, ...], tmp_path: Path) -> None:
    spec = DenseNetSpec(blocks, 4, 8, compression=1.0, norm="group", norm_groups=4)
    torch.save(build_model(spec).state_dict(), tmp_path / "a.pth")
    with pytest.raises(OpenNormsError, match="choose with --norm"):
        _ = load_checkpoint(tmp_path / "a.pth").architecture
    assert load_checkpoint(tmp_path / "a.pth", norm="group-4").architecture == spec


def test_a_network_that_is_no_densenet_is_another_error(tmp_path: Path) -> None:
    state = build_model(DenseNetSpec((2, 2), 4, 8)).state_dict()
    state["features.denseblock1.extra.weight"] = torch.ones(3, 5, 3, 3)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError) as raised:
        _ = load_checkpoint(tmp_path / "a.pth").architecture
    assert not isinstance(raised.value, OpenNormsError)
