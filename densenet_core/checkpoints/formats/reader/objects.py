"""The objects of a pickle that are interpreted: torch's tensors, numpy's arrays and plain containers."""

from __future__ import annotations

from typing import Any, NamedTuple

from .unpickle import Global, Inert, Rebuild

TORCH_TYPES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8",
    "BoolStorage": "BOOL", "ComplexFloatStorage": "C64", "ComplexDoubleStorage": "C128", "UntypedStorage": "U8",
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "complex64": "C64", "complex128": "C128",
}  # fmt: skip
_NUMPY_KINDS = {"f": "F", "i": "I", "u": "U"}


class Storage(NamedTuple):
    """A storage of a torch file, by its key in the file."""

    dtype: str
    key: str
    first: int = 0  # element at which a view of it begins
    location: str = "cpu"
    content: bytes | None = None  # where the pickle itself holds its bytes


class Tensor(NamedTuple):
    """A strided view of a storage."""

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    first: int


class Quantized(NamedTuple):
    """A tensor of whole numbers: it stands for (whole - zero_points) * scales."""

    whole: Tensor
    scales: Any  # a number, or the tensor of the scales of each index of ``axis``
    zero_points: Any
    axis: int


class Unreadable(NamedTuple):
    """A tensor of a kind that can't be read."""

    reason: str


class NumpyType:
    """A numpy dtype, as text."""

    def __init__(self, text: str) -> None:
        self.text, self.order = text, "<"

    def set_state(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    @property
    def name(self) -> str | None:
        """Return its name in the index, or None for text, objects and structures."""
        text = self.text.lstrip("<>|=")
        if text in ("b1", "?", "bool"):
            return "BOOL"
        if text[:1] in _NUMPY_KINDS and text[1:] in ("1", "2", "4", "8") and text != "f1":
            return f"{_NUMPY_KINDS[text[:1]]}{8 * int(text[1:])}"
        return None


class NumpyArray:
    """A numpy array whose bytes are in the pickle, as bytes or latin-1 text."""

    def __init__(
        self, shape: tuple[int, ...] = (), type_: Any = None, is_fortran: bool = False, content: Any = b""
    ) -> None:
        self.shape, self.is_fortran, self.content = shape, is_fortran, content
        self.type = type_ if isinstance(type_, NumpyType) else None

    def set_state(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 5:
            _, self.shape, type_, self.is_fortran, self.content = state
            self.type = type_ if isinstance(type_, NumpyType) else None


def _tensor(args: Any) -> Any:
    storage, first, shape, strides = args[:4]
    if not isinstance(storage, Storage):
        return Unreadable("its storage is not in the file")
    return Tensor(storage, storage.dtype, tuple(shape), tuple(strides), storage.first + first)


def _typed_tensor(args: Any) -> Any:
    """Return a tensor of a type that has no storage class of its own."""
    found, dtype = _tensor(args), args[6]
    name = TORCH_TYPES.get(dtype.name.removeprefix("torch.")) if isinstance(dtype, Global) else None
    if not isinstance(found, Tensor) or name is None:
        return Unreadable(f"its type {getattr(dtype, 'name', dtype)} is not known")
    return Tensor(found.storage, name, found.shape, found.strides, found.first)


def _unreadable(kind: str) -> Rebuild:
    return lambda args: Unreadable(f"{kind}: dense floating point is needed")


def _quantized_tensor(args: Any) -> Any:
    """Return a tensor of torch.quantize_per_tensor or torch.quantize_per_channel."""
    storage, quantizer = args[0], args[4]
    kind = storage.dtype if isinstance(storage, Storage) else "quantized"
    scheme = quantizer[0].name if isinstance(quantizer, tuple) and isinstance(quantizer[0], Global) else ""
    if kind not in _QUANTIZED.values() or scheme not in ("torch.per_tensor_affine", "torch.per_channel_affine"):
        return Unreadable(f"{kind}: floating point is needed, so save the state dict from before the quantization")
    whole = _tensor((storage._replace(dtype=_WHOLE[kind]), *args[1:4]))
    return Quantized(whole, quantizer[1], quantizer[2], quantizer[3] if len(quantizer) > 3 else 0)


def _from_type(args: Any) -> Any:
    """Return a tensor of a subclass: function, class, arguments, state."""
    rebuild = REBUILDS.get(args[0].name) if isinstance(args[0], Global) else None
    if rebuild is not None and isinstance(args[2], tuple):
        return rebuild(args[2])
    kind = args[1].name if isinstance(args[1], Global) else "another class"
    return Unreadable(f"a tensor of {kind[:100]}: save it as a plain tensor")


def _dict(args: Any) -> Any:
    pairs = args[-1] if args else ()
    if isinstance(pairs, dict):
        return dict(pairs)
    if not isinstance(pairs, (list, tuple)):
        return {}
    return {pair[0]: pair[1] for pair in pairs if isinstance(pair, (list, tuple)) and isinstance(pair[0], str)}


def _default_dict(args: Any) -> Any:
    return _dict(args[1:])


def _plain(args: Any) -> Any:
    """Return a tuple for a tuple, list or set."""
    return tuple(args[0]) if args and isinstance(args[0], (list, tuple)) else ()


def _latin1(args: Any) -> Any:
    return args[0] if len(args) == 2 and isinstance(args[0], str) and args[1] in ("latin1", "latin-1") else b""


def _numpy_type(args: Any) -> Any:
    return NumpyType(args[0]) if isinstance(args[0], str) else Inert("numpy.dtype", args)


def _numpy_buffer(args: Any) -> Any:
    content, type_, shape, order = args
    return NumpyArray(tuple(shape), type_, order == "F", content)


def _on_device(args: Any) -> Any:
    return args[0]


REBUILDS: dict[str, Rebuild] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _on_device,
    "torch._utils._rebuild_parameter_with_state": _on_device,
    "torch._utils._rebuild_device_tensor_from_numpy": _on_device,
    "torch._utils._rebuild_sparse_tensor": _unreadable("sparse"),
    "torch._utils._rebuild_nested_tensor": _unreadable("nested"),
    "torch._utils._rebuild_meta_tensor_no_storage": _unreadable("on the meta device, which holds no numbers"),
    "torch._utils._rebuild_qtensor": _quantized_tensor,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch.Size": _plain,
    "builtins.tuple": _plain,
    "builtins.list": lambda args: list(_plain(args)),
    "builtins.dict": _dict,
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _default_dict,
    "_codecs.encode": _latin1,
    "numpy.dtype": _numpy_type,
    "numpy.core.multiarray._reconstruct": lambda args: NumpyArray(),
    "numpy._core.multiarray._reconstruct": lambda args: NumpyArray(),
    "numpy.core.numeric._frombuffer": _numpy_buffer,
    "numpy._core.numeric._frombuffer": _numpy_buffer,
}
_QUANTIZED = {"QInt8Storage": "torch.qint8", "QUInt8Storage": "torch.quint8", "QInt32Storage": "torch.qint32"}
_WHOLE = {"torch.qint8": "I8", "torch.quint8": "U8", "torch.qint32": "I32"}


def storage_of(pid: Any) -> Any:
    """Return the storage of torch's persistent id ("storage", class, key, device, number of elements, [view])."""
    if not isinstance(pid, tuple) or not pid:
        return Inert("persistent object", pid)
    if pid[0] == "module":  # of files from before 2021: (class, source file, source)
        return pid[1]
    if pid[0] != "storage" or len(pid) < 5:
        return Inert("persistent object", pid)
    kind = pid[1].name.rsplit(".", 1)[-1] if isinstance(pid[1], Global) else ""
    view = pid[5] if len(pid) > 5 and isinstance(pid[5], tuple) else (None, 0)
    dtype = TORCH_TYPES.get(kind) or _QUANTIZED.get(kind, kind)
    return Storage(dtype, str(pid[2]), int(view[1]), str(pid[3]))
