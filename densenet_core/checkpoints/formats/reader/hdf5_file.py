"""HDF5 files (h5py): the place of each data set and the names of the groups. Links are not followed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import count
from typing import Any

from ..limits import MAX_DEPTH, MAX_MEMBERS, MAX_NAME, READER_OUTPUT
from .output import Output, Refused, check_names, tensor

_KINDS = {"f": "F", "i": "I", "u": "U"}
_NAME, _FEW = 60, 20  # characters, and functions
_USUAL = ("linear", "relu", "softmax", "sigmoid")  # of a DenseNet and its head
_OTHER_LAYERS = {
    "LeakyReLU", "PReLU", "ELU", "ThresholdedReLU", "SeparableConv2D", "DepthwiseConv2D", "GroupNormalization",
    "LayerNormalization", "UnitNormalization", "GlobalMaxPooling2D",
}  # fmt: skip
_LARGE_ATTRIBUTE = 4_000_000  # characters: the configuration of DenseNet-201 has 0.2 million


def read_hdf5(h5py: Any, content: Any, base: int, output: Output, config: str = "") -> dict[str, Any]:
    """Return the data sets of a file except an optimizer's, the layers' own names, and the network's configuration.

    Args:
        content: a mapped file, or the bytes of one.
        base: offset of ``content`` in the checkpoint file; negative if it was unpacked.
        config: the configuration that a .keras archive holds beside the weights.
    """
    tensors: dict[str, Any] = {}
    layers: dict[str, str] = {}

    visited = count()

    def visit(path: str, item: Any) -> None:
        if path.count("/") > MAX_DEPTH or next(visited) > MAX_MEMBERS:
            raise Refused("its groups are nested more deeply, or are more, than any network's")
        if isinstance(item, h5py.Dataset):
            if not path.startswith("optimizer"):
                check_names([path])
                tensors[path] = _entry(item, output, base)
        elif path.endswith("vars") and "name" in item.attrs:
            layers[path] = str(item.attrs["name"])[:MAX_NAME]

    with h5py.File(content if isinstance(content, io.BytesIO) else _Mapped(content), "r") as stream:
        if stream.userblock_size:
            base = -1
        stream.visititems(visit)
        config = config or _text(stream.attrs.get("model_config", ""))
    check_names(list(tensors))
    candidates = [{"name": "", "made_by": "", "tensors": tensors}]
    return {"format": "hdf5", "candidates": candidates, "others": [], "layers": layers, **_settings(config)}


class _Mapped:
    """A mapped file with the methods that h5py needs."""

    def __init__(self, content: Any) -> None:
        self._content = content
        self.read, self.seek, self.tell = content.read, content.seek, content.tell

    def readinto(self, buffer: Any) -> int:
        piece = self._content.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def _entry(item: Any, output: Output, base: int) -> Any:
    if item.external or item.is_virtual:
        return "is stored outside the file: save the network in one file"
    if item.dtype.kind not in _KINDS or item.dtype.itemsize not in (1, 2, 4, 8):
        return f"is {str(item.dtype)[:50]}: floating point is needed"
    name, shape = f"{_KINDS[item.dtype.kind]}{8 * item.dtype.itemsize}", tuple(map(int, item.shape or ()))
    is_plain = item.compression is None and item.id.get_create_plist().get_nfilters() == 0
    if is_plain and item.id.get_storage_size() < item.nbytes:
        return f"claims shape {shape} and holds fewer numbers"
    offset = item.id.get_offset()
    if is_plain and offset is not None and base >= 0 and item.dtype.byteorder != ">":
        return tensor(name, shape, output.stretch(base + offset, int(item.nbytes)))
    if item.nbytes > output.file_size + READER_OUTPUT:
        raise Refused("its compressed content unpacks to far more than its size: save it uncompressed")
    return tensor(name, shape, output.store(item[()].astype(item.dtype.newbyteorder("<")).tobytes()))


def _settings(config: str) -> dict[str, Any]:
    """Return the settings of the norms, by name, and the dimension order of the kernels in a configuration."""
    norms: dict[str, Any] = {}
    functions: set[str] = set()
    order = ""
    try:
        waiting = [json.loads(config)] if config else []
    except (ValueError, RecursionError):
        waiting = []
    while waiting:
        value = waiting.pop()
        waiting += value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
        if isinstance(value, dict) and isinstance(value.get("class_name"), str):
            functions.update(_other_functions(value["class_name"][:_NAME], value.get("config")))
        if isinstance(value, dict) and isinstance(name := value.get("name"), str):
            order = value["dim_ordering"] if value.get("dim_ordering") in ("th", "tf") else order
            if isinstance(epsilon := value.get("epsilon"), (int, float)):
                norms[name] = [float(epsilon), value.get("scale") is not False, value.get("center") is not False]
    found = {"norms": norms, "dim_ordering": order}
    return found | {"functions": sorted(functions)[:_FEW]} if norms else found


def _other_functions(layer: str, config: Any) -> Iterator[str]:
    """Yield what a layer has that DenseNets do not: other functions than ReLU, max pooling by 2, uneven padding."""
    if not isinstance(config, dict):
        return
    activation = config.get("activation")
    if isinstance(activation, str) and activation not in _USUAL:
        yield activation[:_NAME]
    if layer in _OTHER_LAYERS or any(config.get(name) for name in ("max_value", "negative_slope", "alpha")):
        yield layer
    sizes = [config.get(name) for name in ("kernel_size", "pool_size", "strides")]
    kernel, stride = next((size for size in sizes[:2] if size), None), sizes[2]
    if isinstance(kernel, list) and isinstance(stride, list) and len(kernel) == len(stride) and kernel and stride:
        kernel, stride = kernel[0], stride[0]
    if not isinstance(kernel, int) or not isinstance(stride, int):
        return
    if layer.startswith("MaxPool") and kernel == 2:
        yield layer
    if config.get("padding") == "same" and kernel > stride > 1:
        yield f"{layer} with strides and padding 'same'"


def _text(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= _LARGE_ATTRIBUTE else ""
