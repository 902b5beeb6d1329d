"""Files and folders of other formats: what they are, and what to do instead."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

_STATE_DICT = "load it where it was made and save model.state_dict() with torch.save"
_ONNX = "export the network as ONNX"
_KERAS = "save the Keras network as .weights.h5"
_NUMPY = "save its arrays with numpy.savez, or as safetensors"
# (offset, bytes at the offset, what the file is, what to do)
_SIGNS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull` where it lies"),
    (0, b"<!doctype html", "an HTML page, not the file that it links to", "download the file itself"),
    (0, b"<html", "an HTML page, not the file that it links to", "download the file itself"),
    (0, b"%pdf-", "a PDF document", "give the checkpoint itself"),
    (0, b"\x1f\x8b", "compressed with gzip", "unpack it and give the checkpoint inside"),
    (0, b"bzh", "compressed with bzip2", "unpack it and give the checkpoint inside"),
    (0, b"\xfd7zxz", "compressed with xz", "unpack it and give the checkpoint inside"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it and give the checkpoint inside"),
    (0, b"\x78\x9c", "compressed with zlib, as joblib does", "load it and save its arrays with numpy.savez"),
    (0, b"\x78\x5e", "compressed with zlib, as joblib does", "load it and save its arrays with numpy.savez"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive", "unpack it and give the checkpoint inside"),
    (0, b"rar!", "a RAR archive", "unpack it and give the checkpoint inside"),
    (257, b"ustar", "a tar archive", "unpack it and give the checkpoint inside"),
    (0, b"\x89png", "a picture", "give the checkpoint itself"),
    (0, b"\xff\xd8\xff", "a picture", "give the checkpoint itself"),
    (0, b"gguf", "a GGUF file of a language model", "give the checkpoint of a DenseNet"),
    (0, b"matlab 5.0", "a MATLAB file", f"{_ONNX}, or save its arrays with numpy.savez"),
    (0, b"matlab 7.3", "a MATLAB file", f"{_ONNX}, or save its arrays with numpy.savez"),
    (8, b"\x03\0\0\0v 1", "a .t7 file of Lua Torch", f"load it where it was made, or with torchfile, and {_NUMPY}"),
    (0, b"\x12\x01\0\0\0\0\0\0", "an MXNet .params file", f"{_ONNX}, or save its arrays with numpy.savez"),
    (4, b"tfl3", "a TensorFlow Lite model, which holds a program", _KERAS),
    (4, b"et1", "an ExecuTorch .pte program", _STATE_DICT),
    (4, b"ortm", "an .ort file of ONNX Runtime", "give the .onnx file that it was made from"),
    (0, b"ftrt", "a TensorRT engine, which holds a program", _STATE_DICT),
    (0, b"\x08\x01\x12", "a TensorFlow SavedModel, which holds a program", _KERAS),
)
_ENDINGS = {
    ".caffemodel": ("a Caffe model", f"convert it: {_ONNX}, or save its arrays with numpy.savez"),
    ".pte": ("an ExecuTorch .pte program", _STATE_DICT),
    ".pb": ("a TensorFlow graph, which holds a program", _KERAS),
    ".meta": ("the graph of a TensorFlow checkpoint, which holds a program", _KERAS),
    ".data-": ("the numbers of a TensorFlow checkpoint", _KERAS),
    ".pdmodel": ("a Paddle program", "give the .pdparams file"),
    ".pdiparams": ("the numbers of a Paddle program", "give the .pdparams file"),
    ".weights": ("weights of Darknet, which are numbers without names", _ONNX),
    ".bin": (
        "the weights of an OpenVINO network, or raw numbers",
        f"give the network that it was made from, or {_ONNX}",
    ),
    ".index": ("the index of a TensorFlow checkpoint", _KERAS),
    ".tflite": ("a TensorFlow Lite model", _KERAS),
    ".mlmodel": ("a Core ML model", _STATE_DICT),
    ".msgpack": ("a Flax checkpoint", _NUMPY),
}
_PROTOBUF = ("a protobuf file, such as a Caffe model or a TensorFlow graph", _ENDINGS[".caffemodel"][1])
_CHECKPOINTS = (".pth", ".pt", ".ckpt", ".tar", ".safetensors", ".bin", ".h5", ".keras", ".onnx", ".npz", ".pdparams")
_MAX_SEARCHED = 2_000  # files of a folder


def other_format(head: bytes, ending: str = "") -> str | None:
    """Return what a file of another format is and what to do, or None if it may be a readable one.

    Args:
        head: its first 512 bytes.
        ending: the extension of its name, which says what raw numbers may be.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower() or head
    for place, sign, what, way_out in _SIGNS:
        if (text if sign[:1] == b"<" else head.lower())[place : place + len(sign)] == sign:
            return f"the file is {what}: {way_out}"
    if text[:5] == b"<?xml":
        return (
            "the file is an HTML page or XML (OpenVINO's networks are described so), which holds no weights: "
            f"{_ONNX}, or download the checkpoint itself"
        )
    if ending == ".distcp":
        return "the file is part of a distributed checkpoint: pass the folder that contains it"
    is_map, is_text = 0x81 <= head[0] <= 0x8F, 0xA1 <= head[1] <= 0xBF  # of msgpack
    if head[:1] == b"\n" or (head[:1] == b"\x08" and ending == ".mlmodel"):  # protobuf's first field
        what, way_out = _ENDINGS.get(ending, _PROTOBUF)
        return f"the file is {what}: {way_out}"
    return f"the file is a msgpack file, such as a Flax checkpoint: {_NUMPY}" if is_map and is_text else None


def by_ending(ending: str, head: bytes) -> str | None:
    """Return what a file of unknown content may be, by its extension or because it is text."""
    ending = ending[:6] if ending.startswith(".data-") else ending
    if ending not in _ENDINGS:
        text = head.decode("utf-8", "ignore")
        is_text = len(text.encode()) > len(head) - 4 and "".join(text.split()).isprintable()  # a letter may be cut
        return "the file is text, which holds no weights: give the checkpoint itself" if is_text else None
    what, way_out = _ENDINGS[ending]
    return f"the file seems to be {what}: {way_out}"


def other_folder(folder: Path) -> str | None:
    """Return what a folder is, if it holds a network in a format that is not read."""
    if (folder / "saved_model.pb").exists():
        return f"the folder is a TensorFlow SavedModel, which holds a program: {_KERAS}"
    if any(folder.glob("*.xml")) and any(folder.glob("*.bin")):
        return f"the folder holds an OpenVINO network: give the network that it was made from, or {_ONNX}"
    if any(folder.glob("*.ckpt.index")) or (folder / "checkpoint").is_file():
        return f"the folder is a TensorFlow checkpoint: {_KERAS}"
    if (folder / "_METADATA").is_file() or (folder / "_CHECKPOINT_METADATA").is_file():
        return f"the folder is an Orbax checkpoint of JAX: {_NUMPY}"
    return _name_checkpoints(folder)


def _name_checkpoints(folder: Path) -> str | None:
    """Return which files below a folder may be checkpoints, in words."""
    files = (Path(root, name) for root, _, names in os.walk(folder) for name in names)
    found = sorted(str(f.relative_to(folder)) for f in islice(files, _MAX_SEARCHED) if f.suffix.lower() in _CHECKPOINTS)
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"the folder is not a checkpoint, but holds {found[0][:200]!r}{more}: give one file" if found else None
