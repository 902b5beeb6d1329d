"""Networks in several files, and files of other libraries' arrays: the same network as from one file of torch.save."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from densenet_core import CheckpointError, DenseNetSpec, load_checkpoint
from densenet_core.checkpoints.formats import folders
from tests.conftest import trained_like

SPEC = DenseNetSpec((2, 1), 2, 4, num_classes=3)
STATE = trained_like(SPEC).state_dict()
KEYS = list(STATE)
HALF = len(KEYS) // 2
PARTS = ({key: STATE[key] for key in KEYS[:HALF]}, {key: STATE[key] for key in KEYS[HALF:]})


def assert_same(path: Path) -> None:
    found = load_checkpoint(path)
    assert (found.spec, found.ignored) == (SPEC, ())
    for key, array in found.arrays.items():
        np.testing.assert_array_equal(array, STATE[key].numpy())


def sharded(folder: Path, name: str, save: Callable[[dict[str, torch.Tensor], Path], object]) -> Path:
    """As transformers' save_pretrained with a small max_shard_size."""
    stem, _, ending = name.rpartition(".")
    names = [f"{stem}-{n}-of-00002.{ending}" for n in ("00001", "00002")]
    for part, file in zip(PARTS, names, strict=True):
        save(part, folder / file)
    placed = {key: file for part, file in zip(PARTS, names, strict=True) for key in part}
    index = folder / f"{name}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": placed}))
    return index


SHARDED: dict[str, Callable[[dict[str, torch.Tensor], Path], object]] = {
    "model.safetensors": save_file,
    "pytorch_model.bin": torch.save,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARDED)
def test_a_folder_of_hugging_face(name: str, tmp_path: Path) -> None:
    index = sharded(tmp_path, name, SHARDED[name])
    assert_same(tmp_path)
    assert_same(index)
    held = load_checkpoint(tmp_path).held
    assert held is not None and held.format == "sharded"


def test_a_folder_in_hugging_faces_cache_holds_links(tmp_path: Path) -> None:
    (tmp_path / "snapshot").mkdir()
    sharded(tmp_path, "model.safetensors", save_file)
    for file in [file for file in tmp_path.iterdir() if file.is_file()]:
        (tmp_path / "snapshot" / file.name).symlink_to(file)
    assert_same(tmp_path / "snapshot")


def test_one_file_of_hugging_face(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "pytorch_model.bin")
    assert_same(tmp_path)


def changed(index: Path, change: Callable[[dict[str, str]], object]) -> None:
    content = json.loads(index.read_text())
    change(content["weight_map"])
    index.write_text(json.dumps(content))


DAMAGED: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "a missing shard": (
        lambda index, folder: (folder / "model-00002-of-00002.safetensors").unlink(),
        "the folder lacks 'model-00002-of-00002.safetensors'",
    ),
    "a shard elsewhere": (
        lambda index, folder: changed(index, lambda names: names.update({KEYS[0]: "../secret.safetensors"})),
        "the folder lacks '../secret.safetensors'",
    ),
    "a tensor that is not there": (
        lambda index, folder: changed(index, lambda names: names.update({"more": names[KEYS[0]]})),
        "lacks tensor 'more', which the index names",
    ),
    "an index that names itself": (
        lambda index, folder: changed(index, lambda names: names.update({KEYS[0]: index.name})),
        "its index names another index, 'model.safetensors.index.json'",
    ),
    "no map": (lambda index, folder: index.write_text("{}"), "has no weight_map"),
    "numbers for names": (
        lambda index, folder: changed(index, lambda names: names.update({KEYS[0]: 3})),  # type: ignore[dict-item]
        "does not name files",
    ),
    "2,000 shards": (
        lambda index, folder: changed(index, lambda names: names.update({str(n): str(n) for n in range(2000)})),
        "at most 1,000 are read",
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_folder_is_one_sentence(what: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    save_file(STATE, tmp_path / "secret.safetensors")
    index = sharded(tmp_path / "in", "model.safetensors", save_file)
    damage, reason = DAMAGED[what]
    damage(index, tmp_path / "in")
    with pytest.raises(CheckpointError, match=reason):
        load_checkpoint(tmp_path / "in")


def test_files_that_take_too_long_together_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sharded(tmp_path, "model.safetensors", save_file)
    monkeypatch.setattr(folders, "MAX_PARTS_SECONDS", -1)
    with pytest.raises(CheckpointError, match="reading its 2 files takes more than -1 s"):
        load_checkpoint(tmp_path)


@pytest.mark.slow
def test_a_distributed_checkpoint(tmp_path: Path) -> None:
    import torch.distributed.checkpoint as distributed

    content = {"model": STATE, "optimizer": {"exp_avg": torch.zeros(5)}, "epoch": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a single process
        distributed.save(content, checkpoint_id=tmp_path / "step")
    assert_same(tmp_path / "step")
    held = load_checkpoint(tmp_path / "step").held
    assert held is not None and (held.format, held.others) == ("distributed", ("optimizer",))


def split_over_two_processes(folder: Path) -> None:
    """As two processes write a network of which each holds half of every tensor's rows."""
    from torch.distributed.checkpoint.filesystem import _StorageInfo
    from torch.distributed.checkpoint.metadata import (
        ChunkStorageMetadata,
        Metadata,
        MetadataIndex,
        TensorProperties,
        TensorStorageMetadata,
    )

    files = [(folder / f"__{rank}_0.distcp").open("wb") for rank in range(2)]
    tensors, places = {}, {}
    for key, tensor in STATE.items():
        parts = [tensor] if tensor.ndim == 0 or len(tensor) < 2 else list(tensor.split(len(tensor) // 2 + 1))
        chunks, begin = [], 0
        for rank, part in enumerate(parts):
            offsets = torch.Size([begin, *[0] * (tensor.ndim - 1)][: tensor.ndim])
            chunks.append(ChunkStorageMetadata(offsets, part.shape))
            start = files[rank].tell()
            torch.save(part.clone(), files[rank])
            info = _StorageInfo(files[rank].name.rpartition("/")[2], start, files[rank].tell() - start)
            places[MetadataIndex(key, offsets, rank)] = info
            begin += len(part) if part.ndim else 0
        tensors[key] = TensorStorageMetadata(TensorProperties(tensor.dtype), tensor.shape, chunks)
    for file in files:
        file.close()
    (folder / ".metadata").write_bytes(pickle.dumps(Metadata(tensors, None, places)))


@pytest.mark.slow
def test_tensors_that_were_split_over_processes_are_put_together(tmp_path: Path) -> None:
    split_over_two_processes(tmp_path)
    assert len(list(tmp_path.glob("*.distcp"))) == 2
    assert_same(tmp_path)
    with pytest.raises(CheckpointError, match="part of a distributed checkpoint: pass the folder"):
        load_checkpoint(tmp_path / "__0_0.distcp")
    (tmp_path / "__1_0.distcp").unlink()
    with pytest.raises(CheckpointError, match=r"lacks '__1_0\.distcp', one of the network's files"):
        load_checkpoint(tmp_path)


def test_half_of_a_tensor_is_refused(tmp_path: Path) -> None:
    split_over_two_processes(tmp_path)
    metadata = pickle.loads((tmp_path / ".metadata").read_bytes())
    metadata.storage_data = {i: info for i, info in metadata.storage_data.items() if i.index == 0}
    (tmp_path / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(CheckpointError, match="parts of it are missing"):
        load_checkpoint(tmp_path)


def paddle(folder: Path) -> Path:
    (folder / "a.pdparams").write_bytes(pickle.dumps({key: (key, t.numpy()) for key, t in STATE.items()}, protocol=4))
    return folder / "a.pdparams"


def npz(folder: Path, compressed: bool = False) -> Path:
    (np.savez_compressed if compressed else np.savez)(folder / "a.npz", **{k: t.numpy() for k, t in STATE.items()})
    return folder / "a.npz"


def torch_of_numpy(folder: Path) -> Path:
    torch.save({"params": {key: t.numpy() for key, t in STATE.items()}}, folder / "a.pth")
    return folder / "a.pth"


ARRAYS: dict[str, Callable[[Path], Path]] = {
    "numpy": npz,
    "numpy, compressed": lambda folder: npz(folder, compressed=True),
    "torch.save of numpy arrays": torch_of_numpy,
    "Paddle": paddle,
}


@pytest.mark.parametrize("what", ARRAYS)
def test_files_of_arrays(what: str, tmp_path: Path) -> None:
    assert_same(ARRAYS[what](tmp_path))


def test_onnx_with_its_weights_beside_it(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from tests.fuzz.hostile import onnx_file

    model = onnx.load_from_string(onnx_file(STATE))
    onnx.save(model, tmp_path / "whole.onnx")
    for held in model.graph.initializer:
        held.raw_data = onnx.numpy_helper.to_array(held).tobytes()
        held.ClearField("float_data")
    onnx.save(model, tmp_path / "a.onnx", save_as_external_data=True, location="a.onnx.data", size_threshold=0)
    whole, apart = load_checkpoint(tmp_path / "whole.onnx"), load_checkpoint(tmp_path / "a.onnx")
    assert whole.spec == apart.spec
    for key, array in whole.arrays.items():
        np.testing.assert_array_equal(array, apart.arrays[key])
    (tmp_path / "a.onnx.data").rename(tmp_path / "moved")
    with pytest.raises(CheckpointError, match=r"in another file, 'a\.onnx\.data', which is not beside it"):
        load_checkpoint(tmp_path / "a.onnx")
    (tmp_path / "a.onnx.data").symlink_to(tmp_path / "moved")
    with pytest.raises(CheckpointError, match="not beside it"):
        load_checkpoint(tmp_path / "a.onnx")


OTHERS = {
    "TensorFlow SavedModel": ["saved_model.pb", "variables/variables.index"],
    "OpenVINO network": ["net.xml", "net.bin"],
    "TensorFlow checkpoint": ["checkpoint", "model.ckpt.index"],
    "first epoch has ended": ["config.json"],
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_folders_are_named(what: str, tmp_path: Path) -> None:
    for name in OTHERS[what]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"0123456789")
    with pytest.raises(CheckpointError, match=what):
        load_checkpoint(tmp_path)
