"""Keras's weight files (the extra ``keras``): .h5, .weights.h5 and .keras, as state dicts in PyTorch's layout.

Kernels are turned from (*kernel, in, out) to (out, in, *kernel). Batch norms keep their function under PyTorch's
epsilon of 1e-5: the difference to the network's own is added to the running variance.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.formats.limits import check_number
from densenet_core.checkpoints.identify.layouts import OUR_EPSILON
from densenet_core.errors import CheckpointError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
KERAS_WEIGHTS = "model.weights.h5"  # inside a .keras archive
KERAS_EPSILON = 1e-3
APPLICATIONS_EPSILON = 1.001e-5  # of keras.applications' DenseNets
APPLICATIONS_NORM = "conv2_block1_0_bn"
_PARTS = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean"}
_PARTS |= {"moving_variance": "running_var", "bias": "bias"}
_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def is_keras_archive(file: Path) -> bool:
    """Whether a file is what Keras writes as .keras."""
    try:
        with zipfile.ZipFile(file) as archive:
            return KERAS_WEIGHTS in archive.namelist()
    except Exception:  # zipfile raises many kinds on damaged files
        return False


def read_keras(file: Path) -> dict[str, Array]:
    """The weights of a Keras network by its layers' names.

    Only what lies in the file itself is read: no links to other files, and nothing that was compressed.

    Raises:
        CheckpointError: h5py is not installed, the file is damaged, or a tensor is not stored plainly.
    """
    try:
        import h5py
    except ImportError:
        raise CheckpointError("Keras files need h5py: pip install 'densenet-lens[keras]'") from None
    try:
        source, config = _opened(file)
        with h5py.File(source, "r") as stream:
            layers = _layers(h5py, stream)
            epsilons = _epsilons(config or stream.attrs.get("model_config", "{}"))
    except CheckpointError:
        raise
    except Exception as error:  # HDF5's readers raise many kinds on damaged files
        raise CheckpointError(f"the HDF5 file is cut short or damaged: {str(error)[:200]}") from None
    usual = APPLICATIONS_EPSILON if APPLICATIONS_NORM in layers else KERAS_EPSILON
    tensors = {}
    for layer, arrays in layers.items():
        for part, array in arrays.items():
            epsilon = epsilons.get(layer, usual) if part == "moving_variance" else OUR_EPSILON
            tensors[f"{layer}.{_PARTS[part]}"] = _in_torchs_layout(array, epsilon)
    return dict(sorted(tensors.items()))  # HDF5 keeps no order


def _opened(file: Path) -> tuple[Path | io.BytesIO, str]:
    """What h5py can open, and the network's configuration where an archive has it."""
    if not zipfile.is_zipfile(file):
        return file, ""
    with zipfile.ZipFile(file) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise CheckpointError("the archive was compressed by another program: save it anew with Keras")
        config = archive.read("config.json").decode() if "config.json" in archive.namelist() else ""
        return io.BytesIO(archive.read(KERAS_WEIGHTS)), config


def _layers(h5py: Any, stream: Any) -> dict[str, dict[str, Array]]:
    """Each layer's arrays by Keras's names of them; what links lead to is not visited."""
    found: dict[str, dict[str, Array]] = {}

    visited = count(1)

    def visit(path: str, item: Any) -> None:
        check_number(next(visited))
        if isinstance(item, h5py.Dataset) and not path.startswith("optimizer"):
            layer, part = _place(path, item)
            found.setdefault(layer, {})[part] = _plain(path, item)

    stream.visititems(visit)
    if not any("kernel" in arrays or "0" in arrays for arrays in found.values()):
        raise CheckpointError("the HDF5 file holds no layer with a kernel: save the network's weights with Keras")
    return {layer: _named(arrays) for layer, arrays in found.items()}


def _place(path: str, item: Any) -> tuple[str, str]:
    """The layer and the part of it that a data set is."""
    parts = path.removeprefix("model_weights/").split("/")
    if parts[-2:-1] == ["vars"]:  # Keras 3: layers/conv2d_4/vars/0; the layer's own name is an attribute
        return str(item.parent.attrs.get("name", parts[-3])).replace("/", "_"), parts[-1]
    half = len(parts) // 2  # before: conv1/conv/conv1/conv/kernel:0
    layer = parts[:half] if parts[:half] == parts[half:-1] else parts[-2:-1]
    return "_".join(layer), parts[-1].removesuffix(":0")


def _plain(path: str, item: Any) -> Array:
    if item.external or item.is_virtual or item.id.get_storage_size() < item.nbytes:
        raise CheckpointError(f"tensor {path!r} is compressed, or lies elsewhere than in the file: save it plainly")
    if item.dtype.kind != "f":
        raise CheckpointError(f"tensor {path!r} is {item.dtype}: floating point is needed")
    array: Array = item[()]
    return array


def _named(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Numbered arrays by the names that they have in Keras; others are kept, if they are weights at all."""
    if "0" not in arrays:
        return {part: array for part, array in arrays.items() if part in _PARTS}
    numbered = [arrays[number] for number in sorted(arrays, key=int)]
    names: Sequence[str] = _NORM if len(numbered) == 4 and numbered[0].ndim == 1 else ("kernel", "bias")
    return dict(zip(names, numbered, strict=False))


def _epsilons(config: str | bytes) -> dict[str, float]:
    """Of each batch norm, as far as the network's configuration tells."""
    layers = json.loads(config).get("config", {}).get("layers", [])
    found = {layer["config"].get("name"): layer["config"].get("epsilon") for layer in layers}
    return {name.replace("/", "_"): float(epsilon) for name, epsilon in found.items() if name and epsilon is not None}


def _in_torchs_layout(array: Array, epsilon: float) -> Array:
    if array.ndim > 1:
        return np.ascontiguousarray(array.transpose(-1, -2, *range(array.ndim - 2)))
    moved: Array = array + array.dtype.type(epsilon - OUR_EPSILON)
    return moved
