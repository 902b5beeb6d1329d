"""Files and folders of other formats are named for what they are, with the way out."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from densenet_core import CheckpointError, load_checkpoint

FILES: dict[str, tuple[bytes, str]] = {
    "flax_model.msgpack": (
        b"\x82\xa6params\x81\xa4conv\x81",
        "a msgpack file, such as a Flax checkpoint: .*numpy.savez",
    ),
    "checkpoint_1000": (b"\x82\xa6params\x81\xa4conv\x81", "a msgpack file"),
    "model.ckpt.data-00000-of-00001": (bytes(range(144, 256)), "the numbers of a TensorFlow checkpoint"),
    "model.ckpt.meta": (b"\n\x98\x8a\x03" + bytes(20), "the graph of a TensorFlow checkpoint"),
    "net.pdmodel": (b"\n\x98\x8a\x03" + bytes(20), r"a Paddle program: give the \.pdparams"),
    "net": (b"\n\x98\x8a\x03" + bytes(20), "a Caffe model or a TensorFlow graph"),
    "net.mlmodel": (b"\x08\x05\x12\x40\x0a\x10" + bytes(20), "a Core ML model"),
    "net.t7": (struct.pack("<iii", 4, 1, 3) + b"V 1" + bytes(20), "of Lua Torch"),
    "net.mat": (b"MATLAB 7.3 MAT-file" + bytes(600), "a MATLAB file"),
    "net.ort": (b"\x20\0\0\0ORTM" + bytes(20), r"ONNX Runtime: give the \.onnx"),
    "darknet.weights": (struct.pack("<iiiq", 0, 2, 5, 32) + bytes(range(144, 200)), "weights of Darknet"),
    "config.json": (json.dumps({"architecture": "densenet121"}).encode(), "is text, which holds no weights"),
    "densenet.py": ("# Netze für Bilder\nimport torch\n".encode() * 40, "is text, which holds no weights"),
    "noise": (bytes(range(144, 256)), "neither safetensors nor a file of torch.save"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_named(name: str, tmp_path: Path) -> None:
    content, what = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=what):
        load_checkpoint(tmp_path / name)


FOLDERS: dict[str, tuple[list[str], str]] = {
    "MLflow": (["MLmodel", "data/model.pth"], "holds 'data/model.pth': give one file"),
    "several": (["best.ckpt", "last.ckpt", "notes.txt"], "holds 'best.ckpt' and 1 more: give one file"),
    "Orbax": (["_CHECKPOINT_METADATA", "ocdbt.process_0/d/1"], "an Orbax checkpoint of JAX"),
    "nothing": (["notes.txt"], r"holds no model\.safetensors"),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_a_folder_names_what_it_holds(what: str, tmp_path: Path) -> None:
    names, message = FOLDERS[what]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"0123456789")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path)
