from __future__ import annotations

import io
import json
import os
import pickle
import random
import zipfile
from collections import OrderedDict
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from densenet_core import (
    Checkpoint,
    CheckpointError,
    DenseNet,
    DenseNetSpec,
    checkpoint_from_state_dict,
    load_checkpoint,
    load_zoo,
    save_checkpoint,
    zoo_names,
)
from densenet_core.checkpoints.zoo import ZOO_FOLDER, zoo_path
from tests.conftest import shared_file, trained_like

StateDict = dict[str, torch.Tensor]


def assert_same(found: Checkpoint, expected: Checkpoint) -> None:
    assert found.spec == expected.spec
    assert found.state_dict.keys() == expected.state_dict.keys()
    for key, tensor in expected.state_dict.items():
        assert torch.equal(found.state_dict[key], tensor), key


def test_round_trip_is_exact(small_checkpoint: Checkpoint, tmp_path: Path) -> None:
    file = tmp_path / "new" / "net.safetensors"
    save_checkpoint(small_checkpoint, file)
    found = load_checkpoint(file)
    assert_same(found, small_checkpoint)
    assert found.record == small_checkpoint.record
    assert [path.name for path in file.parent.iterdir()] == ["net.safetensors"]


def test_metadata_that_contradict_the_shapes_are_refused(small_checkpoint: Checkpoint, tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    other = DenseNetSpec((3, 4, 3), 4, 8, num_classes=5)
    save_checkpoint(Checkpoint(other, small_checkpoint.state_dict), file)
    with pytest.raises(CheckpointError, match="metadata say"):
        load_checkpoint(file)


def old_torchvision(state: StateDict) -> StateDict:
    return {
        key.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2.")
        if "denselayer" in key
        else key: tensor
        for key, tensor in state.items()
        if not key.endswith("num_batches_tracked")
    }


WRAPPINGS: dict[str, Any] = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": state},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {}}},
    "module.": lambda state: {f"module.{key}": t for key, t in state.items()},
    "Lightning": lambda state: {"state_dict": {f"model.{key}": t for key, t in state.items()}, "loops": {}},
    "chest X-ray": lambda state: {"state_dict": {f"module.densenet121.{key}": t for key, t in state.items()}},
    "Sequential head": lambda state: {key.replace("classifier.", "classifier.0."): t for key, t in state.items()},
    "before 2018": old_torchvision,
    "chest X-ray before 2018": lambda state: {
        "state_dict": {f"module.densenet121.{key}": t for key, t in old_torchvision(state).items()}
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrappers_prefixes_and_ages(wrapping: str, small_checkpoint: Checkpoint, tmp_path: Path) -> None:
    file = tmp_path / "net.pth.tar"
    torch.save(WRAPPINGS[wrapping](small_checkpoint.state_dict), file)
    found = load_checkpoint(file)
    x = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(found.to_model()(x), small_checkpoint.to_model()(x))


def test_zip_and_legacy_files_and_any_ending(small_checkpoint: Checkpoint, tmp_path: Path) -> None:
    for name, is_zip in (("a.pth", True), ("b.th", False), ("c.safetensors", True)):
        torch.save(small_checkpoint.state_dict, tmp_path / name, _use_new_zipfile_serialization=is_zip)
        assert_same(load_checkpoint(tmp_path / name), small_checkpoint)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "densenet161"])
def test_torchvisions_networks_with_the_spec_inferred(name: str) -> None:
    state = torchvision.models.get_model(name).state_dict()
    found = checkpoint_from_state_dict(state)
    assert found.spec == DenseNetSpec.imagenet(name.removeprefix("densenet"))


def test_compression_is_the_roundest_that_fits() -> None:
    for theta in (0.5, 0.7, 0.25, 1.0):
        spec = DenseNetSpec((3, 3, 3), 5, 9, compression=theta)
        assert checkpoint_from_state_dict(trained_like(spec).state_dict()).spec == spec


def test_a_checkpoint_that_others_trained() -> None:
    found = load_checkpoint(shared_file("checkpoints/densenet_bc_100_12_cifar10.pth.tar"))
    assert found.spec == DenseNetSpec.cifar(100, 12, bottleneck=True, compression=0.5)
    assert found.layout == "CIFAR style (block1.layer.0)"
    assert found.num_params == 769_162


@pytest.mark.parametrize("name", zoo_names())
def test_the_zoo_has_records(name: str) -> None:
    record = load_zoo(name).record
    assert {"dataset", "seed", "epochs", "test_error", "hardware", "recipe", "versions"} <= record.keys()
    assert record["epochs"] == record["epochs_planned"]


def test_the_zoo_is_small_enough_to_ship() -> None:
    assert zoo_names()
    assert sum(file.stat().st_size for file in ZOO_FOLDER.glob("*.safetensors")) < 12_000_000


def test_an_unknown_zoo_name_lists_the_known() -> None:
    with pytest.raises(CheckpointError, match="unknown zoo network 'x': choose from densenet-40-12-cifar10-jpeg, "):
        load_zoo("x")


class Runs:
    """A pickle that makes a folder when it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("how", ["torch.save", "legacy", "pickle"])
def test_a_malicious_pickle_does_not_run(how: str, tmp_path: Path) -> None:
    trace, file = tmp_path / "it-ran", tmp_path / "net.pth"
    content = OrderedDict(evil=Runs(trace), weight=torch.zeros(2))
    if how == "pickle":
        file.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=how == "torch.save")
    with pytest.raises(CheckpointError, match=r"wants to run code of its own \((posix|nt)\.mkdir\), which is refused"):
        load_checkpoint(file)
    assert not trace.exists()


def file_bytes(kind: str, checkpoint: Checkpoint, folder: Path) -> bytes:
    if kind == "safetensors":
        save_file(checkpoint.state_dict, folder / "whole")
        return (folder / "whole").read_bytes()
    buffer = io.BytesIO()
    torch.save(checkpoint.state_dict, buffer, _use_new_zipfile_serialization=kind == "zip")
    return buffer.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_files_cut_short_at_50_lengths(kind: str, small_checkpoint: Checkpoint, tmp_path: Path) -> None:
    whole = file_bytes(kind, small_checkpoint, tmp_path)
    lengths = [0, 1, 8, 9, len(whole) - 1, *random.Random(0).sample(range(len(whole)), 45)]
    for length in lengths:
        file = tmp_path / "cut"
        file.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="cut"):
            load_checkpoint(file)


def drop_layer(state: StateDict) -> None:
    for key in [key for key in state if "denseblock2.denselayer2." in key]:
        del state[key]


CONV, HEAD, NORM = "features.denseblock2.denselayer1.conv1.weight", "classifier.weight", "features.norm5.bias"
BREAKAGES: dict[str, tuple[Any, str]] = {
    "NaN": (lambda s: s[CONV].view(-1)[3:4].fill_(float("nan")), f"'{CONV}' holds NaN"),
    "Inf": (lambda s: s[NORM][0:1].fill_(float("inf")), f"'{NORM}' holds NaN or infinite"),
    "missing tensor": (lambda s: s.pop(NORM), f"'{NORM}' is missing"),
    "missing layer": (drop_layer, "dense layer 2 of block 2 is missing"),
    "wrong shape": (lambda s: s.update({NORM: torch.zeros(3)}), rf"'{NORM}' has shape \(3,\)"),
    "integers": (lambda s: s.update({NORM: s[NORM].long()}), "is int64"),
    "sparse": (lambda s: s.update({HEAD: s[HEAD].to_sparse()}), "sparse"),
    "no classifier": (lambda s: s.pop(HEAD), f"'{HEAD}' is missing"),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_state_dict_names_the_tensor(breakage: str, small_checkpoint: Checkpoint) -> None:
    state = {key: tensor.clone() for key, tensor in small_checkpoint.state_dict.items()}
    do, message = BREAKAGES[breakage]
    do(state)
    with pytest.raises(CheckpointError, match=message):
        checkpoint_from_state_dict(state)


@pytest.mark.slow
def test_files_that_are_no_networks(tmp_path: Path) -> None:
    cases: dict[str, tuple[Any, str]] = {
        "a tensor": (torch.zeros(3), "holds an object of type Tensor, not a state dict"),
        "numbers": ({"epoch": 3}, "holds no tensors, only 'epoch'"),
        "another network": (
            torchvision.models.mobilenet_v2().state_dict(),
            "no DenseNet or ResNet in a known layout",
        ),
    }
    for name, (content, message) in cases.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(tmp_path / name)
    (tmp_path / "text").write_text("a text file, long enough")
    with pytest.raises(CheckpointError, match=r"text: the file is text, which holds no weights"):
        load_checkpoint(tmp_path / "text")
    with pytest.raises(CheckpointError, match=r"can't read .*No such file"):
        load_checkpoint(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        load_checkpoint(tmp_path)


def test_a_compressed_archive_is_unpacked(small_checkpoint: Checkpoint, tmp_path: Path) -> None:
    torch.save(small_checkpoint.state_dict, tmp_path / "whole.pth")
    with zipfile.ZipFile(tmp_path / "whole.pth") as old, zipfile.ZipFile(tmp_path / "new.pth", "w", 8) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member), zipfile.ZIP_DEFLATED)
    assert_same(load_checkpoint(tmp_path / "new.pth"), replace(small_checkpoint, record={}))


def test_torchscript_is_recognized(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "script.pt")
    recwarn.clear()
    with pytest.raises(CheckpointError, match="TorchScript archive, which holds code"):
        load_checkpoint(tmp_path / "script.pt")
    assert not recwarn


@pytest.mark.parametrize(("key", "shape"), [("features.conv0.weight", (2**40, 3, 3, 3)), (HEAD, (2**50, 2))])
def test_a_tiny_file_that_claims_huge_tensors(key: str, shape: tuple[int, ...], small_checkpoint: Checkpoint) -> None:
    state = small_checkpoint.state_dict | {key: torch.zeros(1).expand(shape)}
    with pytest.raises(CheckpointError, match=f"'{key}' claims shape"):
        checkpoint_from_state_dict(state)


def test_a_network_on_the_meta_device(small_spec: DenseNetSpec) -> None:
    with torch.device("meta"):
        state = DenseNet(small_spec).state_dict()
    with pytest.raises(CheckpointError, match="is on the meta device"):
        checkpoint_from_state_dict(state)


@pytest.mark.parametrize(
    ("field", "value"), [("growth_rate", 4.0), ("num_classes", 10**18), ("block_config", [2.0, 2])]
)
def test_metadata_of_impossible_sizes(field: str, value: object, small_checkpoint: Checkpoint, tmp_path: Path) -> None:
    about = {"family": "DenseNet", "spec": asdict(small_checkpoint.spec) | {field: value}, "record": {}}
    save_file(small_checkpoint.state_dict, tmp_path / "net.safetensors", {"densenet_lens": json.dumps(about)})
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "net.safetensors")


def test_tensors_that_share_memory_are_saved(small_checkpoint: Checkpoint, tmp_path: Path) -> None:
    state = dict(small_checkpoint.state_dict)
    state["features.norm5.bias"] = state["features.norm5.weight"]
    save_checkpoint(Checkpoint(small_checkpoint.spec, state), tmp_path / "net.safetensors")
    assert torch.equal(
        load_checkpoint(tmp_path / "net.safetensors").state_dict["features.norm5.bias"], state["features.norm5.bias"]
    )


def test_two_networks_in_one_file_are_refused(small_checkpoint: Checkpoint) -> None:
    both = {f"{name}.{key}": t for name in ("student", "teacher") for key, t in small_checkpoint.state_dict.items()}
    with pytest.raises(CheckpointError, match=r"holds 2 networks, 'student', 'teacher': choose one with --weights"):
        checkpoint_from_state_dict(both)


def test_extra_tensors_are_reported(small_checkpoint: Checkpoint) -> None:
    state = {f"encoder.{key}": t for key, t in small_checkpoint.state_dict.items()} | {"head.weight": torch.zeros(2)}
    assert checkpoint_from_state_dict(state).ignored == ("head.weight",)


def test_zoo_path_is_a_file() -> None:
    assert all(zoo_path(name).is_file() for name in zoo_names())
