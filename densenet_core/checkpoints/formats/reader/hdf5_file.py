"""HDF5 files (h5py): the place of each data set and the names of the groups. Links are not followed."""

from __future__ import annotations

import io
import json
import math
import zlib
from collections.abc import Iterator
from typing import Any

from ..limits import MAX_DEPTH, MAX_MEMBERS, MAX_NAME, READER_OUTPUT
from .output import UNPACKS, Damaged, Output, Refused, check_names, tensor

_CLASSES = {  # of HDF5's types, by their numbers, that are no plain numbers
    2: "a time", 3: "text", 4: "a set of bits", 5: "of an opaque type", 7: "a reference", 9: "a list of varying length",
}  # fmt: skip
_SMALL = 32_000_000  # bytes
_FILTER = "which is not installed here: save the network without it, or with gzip"
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

    with _open(h5py, content) as stream:
        if stream.userblock_size:
            base = -1
        for path, is_tensors in _walk(h5py, stream.id):
            if is_tensors and not path.startswith("optimizer"):
                check_names([path])
                tensors[path] = _entry(h5py, path, h5py.h5d.open(stream.id, path.encode()), output, base)
            elif not is_tensors and path.endswith("vars") and "name" in stream[path].attrs:
                layers[path] = str(stream[path].attrs["name"])[:MAX_NAME]
        config = config or _text(stream.attrs.get("model_config", ""))
    check_names(list(tensors))
    candidates = [{"name": "", "made_by": "", "tensors": tensors}]
    return {"format": "hdf5", "candidates": candidates, "others": [], "layers": layers, **_settings(config)}


def _open(h5py: Any, content: Any) -> Any:
    """Open a file; in memory if it is small, which takes a third less time."""
    whole = content.getvalue() if isinstance(content, io.BytesIO) else content
    if len(whole) <= _SMALL:
        return h5py.File(h5py.h5f.open_file_image(bytes(whole)))
    return h5py.File(content if isinstance(content, io.BytesIO) else _Mapped(content), "r")


class _Mapped:
    """A mapped file with the methods that h5py needs."""

    def __init__(self, content: Any) -> None:
        self._content = content
        self.read, self.seek, self.tell = content.read, content.seek, content.tell

    def readinto(self, buffer: Any) -> int:
        piece = self._content.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def _walk(h5py: Any, root: Any) -> list[tuple[str, bool]]:
    """Return the path of every group and data set, and whether it is a data set."""
    found: list[tuple[str, bool]] = []

    def visit(name: bytes, about: Any) -> None:
        if name.count(b"/") > MAX_DEPTH or len(found) > MAX_MEMBERS:
            raise Refused("its groups are nested more deeply, or are more, than any network's")
        found.append((name.decode(), about.type == h5py.h5o.TYPE_DATASET))

    h5py.h5o.visit(root, visit, info=True)
    return found


def _entry(h5py: Any, path: str, item: Any, output: Output, base: int) -> Any:
    """Return the tensor of a data set, opened by h5py's low-level interface, or why it can't be read.

    Every object of HDF5 that is asked for takes time, so a contiguous data set is asked for little.
    """
    type_ = item.get_type()
    if (kind := _CLASSES.get(type_.get_class())) is not None:
        return f"is {kind}: floating point is needed"
    dtype, sides = type_.dtype, item.shape
    if dtype.kind not in _KINDS or dtype.itemsize not in (1, 2, 4, 8):
        return f"is {str(dtype)[:_NAME]}: floating point is needed"
    if sides is None:
        return "holds no numbers: save the network again"
    name, shape = f"{_KINDS[dtype.kind]}{8 * dtype.itemsize}", tuple(map(int, sides))
    size, offset = dtype.itemsize * math.prod(shape), item.get_offset()  # in one piece, or None
    if offset is not None and base >= 0 and dtype.byteorder != ">" and item.get_storage_size() >= size:
        return tensor(name, shape, output.stretch(base + offset, size))
    plan = item.get_create_plist()
    if plan.get_external_count() or plan.get_layout() == h5py.h5d.VIRTUAL:
        return "is stored outside the file: save the network in one file"
    num_filters = plan.get_nfilters()
    if not num_filters and item.get_storage_size() < size:
        return f"claims shape {shape} and holds fewer numbers"
    for code, *_, label in map(plan.get_filter, range(num_filters)):
        if not h5py.h5z.filter_avail(code):
            return f"is compressed by filter {code} ({label.decode('ascii', 'replace')[:_NAME]!r}), {_FILTER}"
    if size > output.file_size + READER_OUTPUT:
        raise Refused(UNPACKS)
    try:
        numbers = h5py.Dataset(item)[()]
    except OSError as error:  # of a filter or a checksum
        if _is_bomb(item, plan):
            raise Refused(UNPACKS) from error
        raise Damaged(f"the packed content of tensor {path!r} is damaged") from error
    return tensor(name, shape, output.store(numbers.astype(dtype.newbyteorder("<")).tobytes()))


def _is_bomb(item: Any, plan: Any) -> bool:
    """Return whether a piece that can't be unpacked has far more bytes than it should."""
    size = 2 * item.dtype.itemsize * math.prod(plan.get_chunk())
    for number in range(item.get_num_chunks()):
        _, stored = item.read_direct_chunk(item.get_chunk_info(number).chunk_offset)
        try:
            if len(zlib.decompressobj().decompress(stored, size + 1)) > size:
                return True
        except zlib.error:
            continue
    return False


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
            if isinstance(epsilon := value.get("epsilon"), (int, float)) and 0 <= epsilon < 1:
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
