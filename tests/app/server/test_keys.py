"""A network's key changes when any of the files that it lies in does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file

from app.dashboard.keys import file_key
from densenet_core.checkpoints.formats.parts import files_of
from tests.densenet_core.checkpoints.formats import test_folders


def shards(folder: Path) -> tuple[Path, list[str]]:
    test_folders.sharded(folder, "model.safetensors", save_file)
    return folder, sorted(file.name for file in folder.iterdir())


def shards_by_their_index(folder: Path) -> tuple[Path, list[str]]:
    return folder / "model.safetensors.index.json", shards(folder)[1]


def onnx_with_data_beside(folder: Path) -> tuple[Path, list[str]]:
    onnx = pytest.importorskip("onnx")
    weight = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [300], bytes(1200), raw=True)
    node = onnx.helper.make_node("Relu", ["w"], ["y"])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [300])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [out], [weight]))
    onnx.save(model, folder / "a.onnx", save_as_external_data=True, location="numbers", size_threshold=0)
    return folder / "a.onnx", ["a.onnx", "numbers"]


def run_folder(folder: Path) -> tuple[Path, list[str]]:
    save_file(test_folders.STATE, folder / "model.safetensors")
    return folder, ["model.safetensors"]


@pytest.mark.parametrize("make", [shards, shards_by_their_index, onnx_with_data_beside, run_folder])
def test_a_change_of_any_file_changes_the_key(make: Callable[[Path], tuple[Path, list[str]]], tmp_path: Path) -> None:
    path, names = make(tmp_path)
    assert [file.name for file in files_of(path)] == names
    keys = [file_key(path)]
    for name in names:
        os.utime(tmp_path / name, ns=(1, len(keys)))  # a new time, the same size
        keys.append(file_key(path))
        with (tmp_path / name).open("ab") as file:
            file.write(b" ")
        os.utime(tmp_path / name, ns=(1, len(keys) - 1))  # a new size, the same time
        keys.append(file_key(path))
    assert len(set(keys)) == len(keys)
    assert file_key(path) == keys[-1]


def test_files_beside_other_files_are_none_of_theirs(tmp_path: Path) -> None:
    path, _ = run_folder(tmp_path)
    key = file_key(path), file_key(path / "model.safetensors")
    (tmp_path / "metrics.csv").write_text("epoch\n1\n")
    assert (file_key(path), file_key(path / "model.safetensors")) == key


def test_what_is_not_there_has_a_key_and_no_stamp(tmp_path: Path) -> None:
    for name in ("none.onnx", "none.pth", "none/model.safetensors.index.json"):
        assert file_key(tmp_path / name).stamp == (0, 0)
