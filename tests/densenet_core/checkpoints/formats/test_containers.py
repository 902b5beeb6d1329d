"""A network's tensors in lists, objects, pickles that torch.save did not write, and files of numpy."""

from __future__ import annotations

import collections
import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from densenet_core import CheckpointError, DenseNetSpec, load_checkpoint
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.checkpoints.identify.positional import UNNAMED
from densenet_core.errors import SeveralNetworksError
from tests.conftest import trained_like

SPEC = DenseNetSpec((2, 3), 4, 8, num_classes=5)
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
State = dict[str, Tensor]


@dataclasses.dataclass
class Record:
    epoch: int
    weights: State


@dataclasses.dataclass(slots=True)
class Slots:
    epoch: int
    weights: State


@dataclasses.dataclass(slots=True, frozen=True)
class Frozen:
    epoch: int
    weights: State


class Named(collections.namedtuple("Named", "epoch weights")):
    __slots__ = ()


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return trained_like(SPEC).eval()


def assert_same_network(file: Path, model: nn.Module) -> Any:
    found = load_checkpoint(file)
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)
    return found


def floats(state: State) -> State:
    return {key: tensor for key, tensor in state.items() if tensor.dtype.is_floating_point}


def nested(state: State) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, tensor in state.items():
        *path, part = key.split(".")
        own = found
        for name in path:
            own = own.setdefault(name, {})
        own[part] = tensor
    return found


def split(model: nn.Module, make: Callable[[Any], Any]) -> dict[str, Any]:
    return {"weights": make(model.named_parameters()), "rest": make(model.named_buffers())}


CONTAINERS: dict[str, Callable[[nn.Module], Any]] = {
    "pairs": lambda m: list(m.state_dict().items()),
    "pairs in a tuple, as lists": lambda m: tuple([key, tensor] for key, tensor in m.state_dict().items()),
    "pairs of arrays": lambda m: [(key, tensor.numpy()) for key, tensor in m.state_dict().items()],
    "pairs in a mapping": lambda m: {"epoch": 3, "weights": list(m.state_dict().items())},
    "parameters and buffers as pairs": lambda m: split(m, list),
    "parameters and buffers as mappings": lambda m: split(m, dict),
    "name, shape and tensor": lambda m: [(key, tuple(t.shape), t) for key, t in m.state_dict().items()],
    "mappings of a name and a tensor": lambda m: [{"name": key, "data": t} for key, t in m.state_dict().items()],
    "a list of names beside": lambda m: {"names": list(m.state_dict()), "tensors": list(m.state_dict().values())},
    "names, tensors": lambda m: (list(m.state_dict()), list(m.state_dict().values())),
    "named state dicts": lambda m: [("student", m.state_dict()), ("epoch", 3)],
    "whole numbers as keys": lambda m: {7: {"state_dict": m.state_dict(), "loss": 0.1}},
    "paths as keys": lambda m: {tuple(key.split(".")): tensor for key, tensor in m.state_dict().items()},
    "a deque": lambda m: collections.deque([m.state_dict()]),
    "a dataclass": lambda m: Record(3, m.state_dict()),
    "a dataclass with slots": lambda m: Slots(3, m.state_dict()),
    "a frozen dataclass with slots": lambda m: Frozen(3, m.state_dict()),
    "a named tuple": lambda m: Named(3, m.state_dict()),
    "an array of objects": lambda m: np.array(list(m.state_dict().items()), dtype=object),
    "copies": lambda m: [m.state_dict(), m.state_dict()][:1] * 2,
    "a long history beside": lambda m: {
        "net": m.state_dict(),
        "losses": [torch.tensor(0.1)] * 900,
        "times": [[epoch, 0.5] for epoch in range(9000)],
    },
    "a mapping of each module": lambda m: nested(m.state_dict()),
    "body and head": lambda m: {"features": m.features.state_dict(), "classifier": m.classifier.state_dict()},
    "body and head as modules": lambda m: {"models": {"backbone": m.features, "head": m.classifier}, "epoch": 3},
    "a thousand numbers beside": lambda m: {
        "net": m.state_dict(),
        "log": {f"loss {epoch}": torch.tensor(0.1) for epoch in range(1000)},
    },
    "momentum beside": lambda m: {"net": m.state_dict(), "momentum": [torch.zeros_like(p) for p in m.parameters()]},
}


@pytest.mark.slow
@pytest.mark.parametrize("what", CONTAINERS)
def test_a_network_is_found_in(what: str, model: nn.Module, tmp_path: Path) -> None:
    torch.save(CONTAINERS[what](model), tmp_path / "a.pth")
    found = assert_same_network(tmp_path / "a.pth", model)
    assert found.assumed == () or what == "body and head as modules"  # of known names and unknown ones


UNNAMED_TENSORS: dict[str, Callable[[State], list[Tensor]]] = {
    "all": lambda s: list(s.values()),
    "without counters": lambda s: list(floats(s).values()),
    "as Keras's get_weights": lambda s: [
        t.permute(*range(2, t.ndim), *range(t.ndim)[1::-1]) for t in floats(s).values()
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("what", UNNAMED_TENSORS)
@pytest.mark.parametrize("is_numpy", [True, False])
def test_tensors_without_names_are_named_by_their_places(
    what: str, is_numpy: bool, model: nn.Module, tmp_path: Path
) -> None:
    tensors, file = UNNAMED_TENSORS[what](model.state_dict()), tmp_path / "a.npz"
    np.savez(file, *[t.numpy() for t in tensors]) if is_numpy else torch.save(tensors, file)
    found = assert_same_network(file, model)
    assert UNNAMED in found.notes


def test_unnamed_tensors_of_unclear_layers_have_no_names(model: nn.Module, tmp_path: Path) -> None:
    cut = [tensor for key, tensor in model.state_dict().items() if key != "features.norm5.bias"]
    np.savez(tmp_path / "a.npz", *[tensor.numpy() for tensor in cut])
    with pytest.raises(CheckpointError, match="'arr_0', 'arr_1'"):
        load_checkpoint(tmp_path / "a.npz")


PICKLED: dict[str, Callable[[nn.Module], Any]] = {
    "a state dict": lambda m: m.state_dict(),
    "a module": lambda m: m,
    "a mapping": lambda m: {"epoch": 3, "net": m.state_dict(), "none": None},
    "arrays": lambda m: {key: np.asfortranarray(tensor.numpy()) for key, tensor in m.state_dict().items()},
}


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [0, 5])
@pytest.mark.parametrize("what", PICKLED)
def test_a_pickle_that_torch_did_not_write(what: str, protocol: int, model: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(PICKLED[what](model), protocol))
    assert_same_network(tmp_path / "a.pkl", model)


@pytest.mark.slow
def test_objects_in_files_of_numpy(model: nn.Module, tmp_path: Path) -> None:
    arrays = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    np.save(tmp_path / "a.npy", np.array(arrays, dtype=object))
    np.savez(tmp_path / "b.npz", weights=np.array(arrays, dtype=object), epoch=np.array(3))
    np.savez_compressed(tmp_path / "c.npz", weights=np.array(list(arrays.items()), dtype=object))
    for name in ("a.npy", "b.npz", "c.npz"):
        assert_same_network(tmp_path / name, model)
    np.save(tmp_path / "d.npy", np.ones((3, 4)))
    with pytest.raises(CheckpointError, match="one numpy array of 3x4: save all arrays of the network"):
        load_checkpoint(tmp_path / "d.npy")


def test_several_networks_in_a_list_are_chosen_by_number(model: nn.Module, tmp_path: Path) -> None:
    other = {key: tensor + 1 for key, tensor in floats(model.state_dict()).items()}
    torch.save([{"fold": 0, "net": model.state_dict()}, {"fold": 1, "net": other}], tmp_path / "a.pth")
    with pytest.raises(SeveralNetworksError, match=r"'0\.net', '1\.net'"):
        load_checkpoint(tmp_path / "a.pth")
    assert load_checkpoint(tmp_path / "a.pth", weights="1.net").num_params


def test_an_optimizer_is_no_network(model: nn.Module, tmp_path: Path) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.0, momentum=0.9)
    model(IMAGES).sum().backward()
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="no tensors, only 'state', 'param_groups'"):
        load_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("compress", [0, 3])
def test_files_of_joblib_are_named(compress: int, tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    joblib.dump({"a": np.ones(9)}, tmp_path / "a.joblib", compress=compress)
    with pytest.raises(CheckpointError, match=r"joblib.*save its arrays with numpy\.savez"):
        load_checkpoint(tmp_path / "a.joblib")


@pytest.mark.parametrize("length", [2**40, 3, -1])
def test_a_storage_in_a_pickle_can_not_claim_more_than_it_holds(length: int, tmp_path: Path) -> None:
    pickled = pickle.dumps([("a.weight", torch.arange(6.0).reshape(2, 3))])
    place = pickled.rindex((6).to_bytes(8, "little"))  # the number of elements in front of them
    damaged = pickled[:place] + length.to_bytes(8, "little", signed=True) + pickled[place + 8 :]
    (tmp_path / "a.pkl").write_bytes(damaged)
    words = "holds fewer numbers" if length < 6 else "no DenseNet or ResNet"  # what is not there is not read
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(tmp_path / "a.pkl")


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"dilation": (2, 2), "padding": (2, 2)}, {"stride": (2, 2)}, {"padding": (0, 0)}])
def test_a_pickled_module_shows_how_its_convolutions_step(change: dict[str, Any], tmp_path: Path) -> None:
    model = trained_like(SPEC).eval()
    for name, value in change.items():
        setattr(model.get_submodule("features.denseblock2.denselayer3.conv2"), name, value)
    torch.save(model, tmp_path / "a.pth")
    found = load_checkpoint(tmp_path / "a.pth")
    assert isinstance(found.spec, ConcatSpec)
    assert "other strides, paddings or dilations than a DenseNet's: 'features.denseblock2.den" in found.spec.why
