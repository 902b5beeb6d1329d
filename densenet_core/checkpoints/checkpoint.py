"""Checkpoints: read safely from other people's files, written as safetensors with spec and record inside."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from densenet_core.arrays import Array, as_array, as_tensor
from densenet_core.checkpoints.formats.keras_file import HDF5_MAGIC, is_keras_archive, read_keras
from densenet_core.checkpoints.formats.limits import MOST_HEADER, check_number
from densenet_core.checkpoints.formats.onnx_file import ONNX_MAGIC, walk_onnx
from densenet_core.checkpoints.identify.concat_order import Order
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.checkpoints.identify.state_dict import ReadStateDict, read_graph, read_state_dict
from densenet_core.errors import CheckpointError
from densenet_core.files import write_whole
from densenet_core.networks.families import FAMILY_BY_NAME, family_of
from densenet_core.networks.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

    from densenet_core.networks.network import Network

NUMPY_TYPES = {"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}  # of safetensors'
MOST_SAID = 1000  # signs of an error's words
RUN_WEIGHTS = "model.safetensors"  # the weights' name in a run folder
_METADATA_KEY = "densenet_lens"
BY_METADATA = "the metadata saved with it"  # the evidence of files that ``save_checkpoint`` wrote


@dataclass(frozen=True)
class Checkpoint:
    """A trained network: its architecture, its weights in torchvision's names, and where it comes from."""

    spec: Spec | ConcatSpec
    weights: Mapping[str, Tensor | Array]  # a state dict in torchvision's names, of tensors or arrays
    record: dict[str, Any] = field(default_factory=dict)  # data set, recipe, seed, epochs, error, hardware
    layout: str = "torchvision"  # the names that the file used
    ignored: tuple[str, ...] = ()  # tensors of the file that are no part of the network
    order: Order | None = None  # in which the file's network concatenated, where it was seen or told; ours: old first
    evidence: str = "the names of its tensors"  # by which each layer was taken for what it is

    @cached_property
    def state_dict(self) -> dict[str, Tensor]:
        """The weights as tensors."""
        return {key: as_tensor(weights) for key, weights in self.weights.items()}

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """The weights as numpy arrays; in float32 where numpy has no such numbers."""
        return {key: as_array(weights) for key, weights in self.weights.items()}

    @property
    def architecture(self) -> Spec:
        """The spec of a network that can be built.

        Raises:
            CheckpointError: only what it concatenates is known.
        """
        if isinstance(self.spec, ConcatSpec):
            raise CheckpointError(f"of this {self.spec.title} only the feature reuse is known: {self.spec.why}")
        return self.spec

    def to_model(self) -> Network:
        """The network with these weights, in evaluation mode.

        Raises:
            CheckpointError: only what it concatenates is known.
        """
        import torch

        from densenet_core.networks.build import build_model

        with torch.device("meta"):
            model = build_model(self.architecture)
        counters = {key: torch.tensor(0) for key in model.state_dict() if key.endswith("num_batches_tracked")}
        model.to_empty(device="cpu").load_state_dict(counters | self.state_dict)  # files from before 2018 have none
        return model.eval()

    @property
    def num_params(self) -> int:
        """Number of trained weights; the running statistics of batch norm are not counted."""
        buffers = ("running_mean", "running_var", "num_batches_tracked")
        return sum(array.size for key, array in self.arrays.items() if not key.endswith(buffers))


def load_checkpoint(path: str | os.PathLike[str], order: Order | None = None) -> Checkpoint:
    """Reads a trained DenseNet or ResNet from a file or a run folder.

    What the file is, its content says, not its name. Nothing in it is run (``weights_only=True``), and a file of
    ``torch.save`` is mapped, so that only the network's own tensors are read. Of networks that concatenate and can't
    be built here only this is known: their ``spec`` is a ``ConcatSpec``.

    Args:
        path: a file of safetensors, ``torch.save``, Keras or ONNX, or a run folder. A state dict may lie under
            "state_dict", "model" or "model_state_dict", and its names may carry any prefix.
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
        words = str(error)
        if len(words) > MOST_SAID:  # names in a file may be of any length
            words = f"{words[:MOST_SAID]} …"
        raise CheckpointError(f"{file.name}: {words}") from None


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
        with safe_open(file, framework="np") as stream:
            metadata = stream.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"can't read {str(file)!r}: {error}") from None
    if _METADATA_KEY not in metadata:
        raise CheckpointError(f"{str(file)!r} has no record: it was not written by save_checkpoint")
    return _own_metadata(metadata[_METADATA_KEY])


def checkpoint_from_state_dict(
    tensors: Mapping[str, Tensor], record: dict[str, Any] | None = None, order: Order | None = None
) -> Checkpoint:
    """A checkpoint from a state dict in memory, in any known layout; ``order`` as in ``load_checkpoint``.

    Raises:
        CheckpointError: the tensors are not those of a DenseNet or ResNet.
    """
    from densenet_core.checkpoints.formats.tensors import checked_arrays

    found = read_state_dict(checked_arrays(tensors), order=order)
    return _checkpoint(found, record or {})


def save_checkpoint(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> None:
    """Writes safetensors with the spec and the record in the file's metadata; ``load_checkpoint`` gives them back.

    The file appears whole or not at all: it is written under a temporary name beside ``path`` and renamed.
    """
    from safetensors.torch import save

    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    about = {**_described(checkpoint.architecture), "record": checkpoint.record}
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
        if MOST_HEADER < int.from_bytes(head[:8], "little") <= file.stat().st_size:
            raise CheckpointError(f"its header is larger than {MOST_HEADER:,} bytes, which no network needs")
        return _read_safetensors(file, order)
    if head[:8] == HDF5_MAGIC or is_keras_archive(file):
        return _checkpoint(read_state_dict(read_keras(file), order=order), {})
    if head[:1] == ONNX_MAGIC:
        return _checkpoint(read_graph(*walk_onnx(file)), {})
    if head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        from densenet_core.checkpoints.formats.torch_file import read_torch

        return _checkpoint(read_state_dict(read_torch(file), order=order), {})
    raise CheckpointError(
        "neither safetensors nor a file of torch.save, Keras or ONNX: save the network's state_dict() as one of them"
    )


def _read_safetensors(file: Path, order: Order | None) -> Checkpoint:
    try:
        with safe_open(file, framework="np") as stream:
            metadata = stream.metadata() or {}
            check_number(len(stream.keys()))
            types = {stream.get_slice(key).get_dtype() for key in stream.keys()}  # noqa: SIM118 (no Mapping)
        with safe_open(file, framework="np" if types <= NUMPY_TYPES else "pt") as stream:
            tensors = {key: as_array(stream.get_tensor(key)) for key in stream.keys()}  # noqa: SIM118
    except CheckpointError:
        raise
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the safetensors file is cut short or damaged: {error}") from None
    if _METADATA_KEY not in metadata:
        return _checkpoint(read_state_dict(tensors, order=order), {})
    spec, record = _own_metadata(metadata[_METADATA_KEY])
    try:
        return replace(_checkpoint(read_state_dict(tensors, spec), record), evidence=BY_METADATA)
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
    return {"family": family_of(spec).name, "spec": described}


def _spec(content: Mapping[str, Any]) -> Spec:
    """The spec that ``_described`` described."""
    values: dict[str, Any] = {}
    for key, value in content["spec"].items():
        values[key] = _spec(value) if isinstance(value, dict) else tuple(value) if isinstance(value, list) else value
    return FAMILY_BY_NAME[content.get("family", "DenseNet")].spec(**values)


def _checkpoint(found: ReadStateDict, record: dict[str, Any]) -> Checkpoint:
    return Checkpoint(found.spec, found.arrays, record, found.layout, found.ignored, found.order, found.evidence)
