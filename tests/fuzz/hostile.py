"""What every fuzzer of the reader shares: seeds, damage, and what must not happen while a file is read."""

from __future__ import annotations

import io
import json
import random
import struct
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors.torch import save

from densenet_core import Checkpoint, DenseNetSpec, save_checkpoint
from tests.conftest import trained_like

SPEC = DenseNetSpec((2, 1), 2, 4, num_classes=3)


def torch_file(content: object, **options: Any) -> bytes:
    """What ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def own_file(state: dict[str, torch.Tensor], record: dict[str, Any]) -> bytes:
    """What ``save_checkpoint`` writes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.safetensors"
        save_checkpoint(Checkpoint(SPEC, state, record), file)
        return file.read_bytes()


def keras_file(state: dict[str, torch.Tensor]) -> bytes:
    """A small file of HDF5 with layers as Keras names them."""
    import h5py

    buffer = io.BytesIO()
    parts = {"weight": "kernel", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    with h5py.File(buffer, "w") as stream:
        for key, tensor in state.items():
            layer, part = key.rsplit(".", 1)
            if part in parts:
                name = "gamma" if part == "weight" and tensor.ndim == 1 else parts[part]
                turned = tensor.permute(*range(2, tensor.ndim), 1, 0) if tensor.ndim > 1 else tensor
                stream[f"{layer.replace('.', '_')}/{name}:0"] = turned.numpy()
    return buffer.getvalue()


def onnx_file(state: dict[str, torch.Tensor]) -> bytes:
    """A small graph of a convolution that reads a concatenation."""
    from onnx import TensorProto, helper

    weights = [("w0", (4, 3, 3, 3)), ("w1", (2, 4, 3, 3)), ("w2", (2, 6, 3, 3))]
    tensors = [helper.make_tensor(name, TensorProto.FLOAT, shape, [0.1] * _product(shape)) for name, shape in weights]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "w1"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("Concat", ["a", "b"], ["c"], axis=1),
        helper.make_node("Conv", ["c", "w2"], ["y"], pads=[1, 1, 1, 1]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2, 8, 8))
    content: bytes = helper.make_model(helper.make_graph(nodes, "g", [x], [y], tensors)).SerializeToString()
    return content


def _product(shape: tuple[int, ...]) -> int:
    return int(torch.tensor(shape).prod())


def seeds() -> list[bytes]:
    """A file of every format, with names known and unknown."""
    state = trained_like(SPEC).state_dict()
    unknown = {f"x{number:03d}.{key.rsplit('.', 1)[1]}": t for number, (key, t) in enumerate(state.items())}
    files = [torch_file(state), torch_file({"state_dict": state, "epoch": 3}), save(state), save(unknown)]
    files += [torch_file(state, _use_new_zipfile_serialization=False), torch_file(unknown)]
    files += [own_file(state, {"dataset": "noise", "epochs": 3}), own_file(state, {})]
    for make in (keras_file, onnx_file):
        try:
            files.append(make(state))
        except ImportError:
            continue  # an extra that is not installed
    return files


INTERESTING = [struct.pack("<Q", n) for n in (0, 1, 2**31, 2**32 - 1, 2**60, 2**63, 2**64 - 1)]
INTERESTING += [b"-1", b"1e9", b"99999999", b"null", b"[]", b"{}", b"NaN", b"\x00" * 8, b"\xff" * 8, b"cos\nsystem\n"]


def damaged(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """The file, damaged in one to six places: most of them where a format keeps its header or its directory."""
    mutated = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        size = len(mutated)
        near = chance.choice((min(size, 300), min(size, 4000), size)) or 1
        place = chance.randrange(near) if chance.random() < 0.7 else max(0, size - 1 - chance.randrange(near))
        kind = chance.choice(("flip", "flip", "byte", "write", "write", "cut", "double", "remove", "splice"))
        if kind == "flip" and size:
            mutated[place] ^= 1 << chance.randrange(8)
        elif kind == "byte" and size:
            mutated[place] = chance.randrange(256)
        elif kind == "write":
            value = chance.choice(INTERESTING)
            mutated[place : place + len(value)] = value
        elif kind == "cut" and chance.random() < 0.3:
            del mutated[place:]
        elif kind == "double":
            mutated[place:place] = mutated[place : place + chance.randint(1, 256)]
        elif kind == "remove":
            del mutated[place : place + chance.randint(1, 64)]
        elif kind == "splice":
            other = chance.choice(others)
            start = chance.randrange(len(other))
            mutated[place : place + 64] = other[start : start + chance.randint(1, 256)]
    return bytes(mutated)


FORBIDDEN = (
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.startfile", "os.remove", "os.rename",
    "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate", "os.kill", "os.putenv",
    "subprocess.Popen", "pty.spawn", "shutil.", "socket.", "ftplib.", "smtplib.", "urllib.", "http.", "webbrowser.",
    "ctypes.dlopen",
)  # fmt: skip
_WRITING = set("wax+")
_watched: list[str] | None = None
_is_hooked = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is None or (text := _forbidden(event, arguments)) is None:
        return
    if not _is_in("checkpoints/formats/process.py"):  # which starts the reader without rights
        _watched.append(text)


def _forbidden(event: str, arguments: tuple[Any, ...]) -> str | None:
    """What must not happen, in words; None where it may."""
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        is_writing = bool(set(mode) & _WRITING) if isinstance(mode, str) else bool(flags & 0o3)
        return f"open {arguments[0]!r} for writing" if is_writing else None
    if event in ("exec", "compile"):  # but for a module of a library, when it is first needed
        return None if _is_in("<frozen importlib") else f"{event} {str(arguments)[:100]}"
    is_forbidden = any(event == name or (name.endswith(".") and event.startswith(name)) for name in FORBIDDEN)
    return f"{event} {str(arguments)[:100]}" if is_forbidden else None


def _is_in(file: str) -> bool:
    """Whether a function of this file is running."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if file in frame.f_code.co_filename.replace("\\", "/"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def watched() -> Iterator[list[str]]:
    """What Python does meanwhile that reading a file has no need of: processes, sockets, writing, code."""
    global _watched, _is_hooked
    if not _is_hooked:
        sys.addaudithook(_hook)
        _is_hooked = True
    _watched = found = []
    try:
        yield found
    finally:
        _watched = None


def archive(members: dict[str, bytes]) -> bytes:
    """A zip archive, nothing compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as stream:
        for name, content in members.items():
            stream.writestr(name, content)
    return buffer.getvalue()


def safetensors_file(header: dict[str, Any] | bytes, body: bytes = b"") -> bytes:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body
