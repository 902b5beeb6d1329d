"""Checkpoints: read safely from other people's files, written as safetensors with spec and record inside."""

from __future__ import annotations

import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from densenet_core.concat_order import Order
from densenet_core.errors import CheckpointError
from densenet_core.files import write_whole
from densenet_core.layouts import ReadStateDict, read_state_dict
from densenet_core.models import Network, Spec, build_model
from densenet_core.relatives.deeply_supervised import DeeplySupervisedSpec
from densenet_core.relatives.fractalnet import FractalNetSpec
from densenet_core.relatives.highway import HighwaySpec
from densenet_core.resnet_spec import ResNetSpec
from densenet_core.spec import DenseNetSpec

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
RUN_WEIGHTS = "model.safetensors"  # the weights' name in a run folder
_METADATA_KEY = "densenet_lens"
_WAY_OUT = "load it where it was made and save model.state_dict()"
_FAMILIES: dict[str, Callable[..., Spec]] = {
    "DenseNet": DenseNetSpec,
    "ResNet": ResNetSpec,
    "Highway": HighwaySpec,
    "FractalNet": FractalNetSpec,
    "DeeplySupervised": DeeplySupervisedSpec,
}


@dataclass(frozen=True)
class Checkpoint:
    """A trained network: its architecture, its weights in torchvision's names, and where it comes from."""

    spec: Spec
    state_dict: dict[str, Tensor]
    record: dict[str, Any] = field(default_factory=dict)  # data set, recipe, seed, epochs, error, hardware
    layout: str = "torchvision"  # the names that the file used
    ignored: tuple[str, ...] = ()  # tensors of the file that are no part of the network
    order: Order | None = None  # in which the file's network concatenated, where it was seen or told; ours: old first

    def to_model(self) -> Network:
        """The network with these weights, in evaluation mode."""
        with torch.device("meta"):
            model = build_model(self.spec)
        model.to_empty(device="cpu").load_state_dict(self._missing_counters(model) | self.state_dict)
        return model.eval()

    @staticmethod
    def _missing_counters(model: Network) -> dict[str, Tensor]:
        """Batch norm's counters, which files from before 2018 do not have, at 0."""
        return {key: torch.tensor(0) for key in model.state_dict() if key.endswith("num_batches_tracked")}

    @property
    def num_params(self) -> int:
        """Number of trained weights; the running statistics of batch norm are not counted."""
        buffers = ("running_mean", "running_var", "num_batches_tracked")
        return sum(t.numel() for key, t in self.state_dict.items() if not key.endswith(buffers))


def load_checkpoint(path: str | os.PathLike[str], order: Order | None = None) -> Checkpoint:
    """Reads a trained DenseNet or ResNet from a file or a run folder.

    What the file is, its content says, not its name: safetensors, or what ``torch.save`` wrote. Nothing
    in the file is run (``weights_only=True``), and it is mapped, so that only the network's own tensors are read.

    Args:
        path: a .safetensors, .pt, .pth, .th, .ckpt or .tar file, or a run folder. The state dict may lie
            under "state_dict", "model" or "model_state_dict", and its names may carry any prefix.
        order: in which another's DenseNet concatenates: "old_first", as torchvision, or "new_first". By default as its
            batch norms' running statistics show; where they show nothing, old maps first. A network that puts new maps
            first is turned into ours, which is the same function.

    Raises:
        CheckpointError: there is no such file, it is damaged, wants to run code, or is neither.
    """
    file = Path(path)
    try:
        if file.is_dir():
            file = _run_weights(file)
        if file.exists() and not file.is_file():
            raise CheckpointError(f"{str(path)!r} is no file: give a checkpoint file or a run folder")
        with file.open("rb") as stream:
            head = stream.read(9)
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CheckpointError(f"can't read {str(path)!r}: {reason}") from None
    try:
        return _read(file, head, order)
    except CheckpointError as error:
        raise CheckpointError(f"{file.name}: {error}") from None


def read_header(path: str | os.PathLike[str]) -> tuple[Spec, dict[str, Any]]:
    """The spec and record of a file or run folder that ``save_checkpoint`` wrote, without reading its tensors.

    Raises:
        CheckpointError: the file is not there, damaged, or not one of the suite's own.
    """
    file = Path(path)
    file = _run_weights(file) if file.is_dir() else file
    if not file.is_file():
        raise CheckpointError(f"there is no run or file {str(file)!r}")
    try:
        with safe_open(file, framework="pt") as stream:
            metadata = stream.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"can't read {str(file)!r}: {error}") from None
    if _METADATA_KEY not in metadata:
        raise CheckpointError(f"{str(file)!r} has no record: it was not written by save_checkpoint")
    return _own_metadata(metadata[_METADATA_KEY])


def checkpoint_from_state_dict(tensors: Mapping[str, Tensor], record: dict[str, Any] | None = None) -> Checkpoint:
    """A checkpoint from a state dict in memory, in any known layout.

    Raises:
        CheckpointError: the tensors are not those of a DenseNet or ResNet.
    """
    found = read_state_dict(tensors)
    return _checkpoint(found, record or {})


def save_checkpoint(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> None:
    """Writes safetensors with the spec and the record in the file's metadata; ``load_checkpoint`` gives them back.

    The file appears whole or not at all: it is written under a temporary name beside ``path`` and renamed.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    about = {**_described(checkpoint.spec), "record": checkpoint.record}
    metadata = {_METADATA_KEY: json.dumps(about)}
    content = save({key: tensor.clone().contiguous() for key, tensor in checkpoint.state_dict.items()}, metadata)
    write_whole(file, lambda temporary: temporary.write_bytes(content))


def _run_weights(folder: Path) -> Path:
    file = folder / RUN_WEIGHTS
    if not file.is_file():
        raise CheckpointError(
            f"folder {str(folder)!r} holds no {RUN_WEIGHTS}: give a checkpoint file, "
            "or a run folder whose first epoch has ended"
        )
    return file


def _read(file: Path, head: bytes, order: Order | None) -> Checkpoint:
    if len(head) < 9:
        raise CheckpointError(f"the file has {len(head)} bytes: it is empty or cut short")
    if head[8:9] == b"{":
        return _read_safetensors(file, order)
    if head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return _checkpoint(read_state_dict(_unwrap(_read_torch(file)), order=order), {})
    raise CheckpointError("neither safetensors nor a file of torch.save: save the network's state_dict() with either")


def _read_safetensors(file: Path, order: Order | None) -> Checkpoint:
    try:
        with safe_open(file, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 (no Mapping)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the safetensors file is cut short or damaged: {error}") from None
    if _METADATA_KEY not in metadata:
        return _checkpoint(read_state_dict(tensors, order=order), {})
    spec, record = _own_metadata(metadata[_METADATA_KEY])
    try:
        return _checkpoint(read_state_dict(tensors, spec), record)
    except CheckpointError as error:
        raise CheckpointError(f"the metadata say {spec.title}, but {error}") from None


def _own_metadata(text: str) -> tuple[Spec, dict[str, Any]]:
    """The spec and record that ``save_checkpoint`` wrote."""
    try:
        content = json.loads(text)
        return _spec(content), dict(content["record"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"the file's metadata can't be read ({error}): save the state_dict() anew") from None


def _described(spec: Any) -> dict[str, Any]:
    """A spec as JSON holds it; one that holds another's holds it in the same form."""
    values = {field.name: getattr(spec, field.name) for field in fields(spec)}
    described = {key: _described(value) if is_dataclass(value) else value for key, value in values.items()}
    return {"family": type(spec).__name__.removesuffix("Spec"), "spec": described}


def _spec(content: Mapping[str, Any]) -> Spec:
    """The spec that ``_described`` described."""
    values: dict[str, Any] = {}
    for key, value in content["spec"].items():
        values[key] = _spec(value) if isinstance(value, dict) else tuple(value) if isinstance(value, list) else value
    return _FAMILIES[content.get("family", "DenseNet")](**values)


def _read_torch(file: Path) -> Any:
    if zipfile.is_zipfile(file):
        _check_archive(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch.load, on files that it then refuses anyway
            return _load(file)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_pickle_problem(str(error))) from None
    except Exception as error:  # torch's readers raise many kinds on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"the file is cut short or damaged: {reason[:200]}") from None


def _load(file: Path) -> Any:
    if file.suffix == ".safetensors":  # torch.load goes by a path's ending, not by the content
        with file.open("rb") as stream:
            return torch.load(stream, map_location="cpu", weights_only=True)
    return torch.load(file, map_location="cpu", mmap=zipfile.is_zipfile(file) or None, weights_only=True)


def _check_archive(file: Path) -> None:
    """Refuses archives that ``torch.save`` does not write: compressed ones would be mapped as garbage, or be bombs."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise CheckpointError(f"the file is a TorchScript archive, which holds code: {_WAY_OUT}")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointError("the archive was compressed by another program: load it where it was made, save it anew")


def _pickle_problem(message: str) -> str:
    for line in message.splitlines():
        for sign in ("Unsupported global: GLOBAL ", "Trying to load unsupported GLOBAL ", "Unsupported class "):
            if sign in line:
                wanted = line.split(sign, 1)[1].split(" ", 1)[0]
                return f"the file wants to run code of its own ({wanted}), which is refused: {_WAY_OUT}"
    return f"the file is cut short, damaged or no plain state dict: {_WAY_OUT}"


def _unwrap(content: Any) -> dict[str, Tensor]:
    """The state dict inside what ``torch.save`` was given, under any of ``WRAPPERS``."""
    for _ in WRAPPERS:
        if not isinstance(content, Mapping):
            break
        inner = [content[name] for name in WRAPPERS if isinstance(content.get(name), Mapping)]
        if not inner:
            break
        content = inner[0]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"the file holds a {type(content).__name__}, not a state dict: save model.state_dict()")
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        keys = ", ".join(repr(str(key)) for key in list(content)[:5]) or "nothing"
        raise CheckpointError(f"the file holds no tensors, only {keys}: save model.state_dict()")
    return tensors


def _checkpoint(found: ReadStateDict, record: dict[str, Any]) -> Checkpoint:
    return Checkpoint(found.spec, found.state_dict, record, found.layout, found.ignored, found.order)
