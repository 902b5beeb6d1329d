"""Errors are in the suite's own words: another library's text about a damaged file means nothing to a user."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.prediction.image_files import open_image
from analysis.prediction.volumes import open_volume
from analysis.reuse.emergence import reuse_over_training
from densenet_core import Checkpoint, CheckpointError, DenseNetSpec, load_checkpoint
from densenet_core.data.folders import read_image
from densenet_core.training.config import config_from
from densenet_core.training.runs.files import read_config, read_metrics
from densenet_core.training.runs.state import newest_state
from densenet_core.training.sweep import load_sweep

FOREIGN = (  # of json, tomllib, zipfile, pickle, Pillow, NumPy, pyarrow, csv and Python itself
    "recursion", "Expecting", "Extra data", "codec", "Expected", "magic", "zip file", "unpickl", "pickle data",
    "identify", "truncated", "Parquet magic", "positional argument", "embedded null", "unexpected keyword",
    "'str' object", "cannot", "buffer", "NoneType", "dictionary update", "Errno",
)  # fmt: skip


def safetensors(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


def metadata(text: str) -> bytes:
    return safetensors(json.dumps({"__metadata__": {"densenet_lens": text}}).encode())


CHECKPOINTS: dict[str, tuple[bytes, str]] = {
    "nested": (safetensors(b'{"a":' + b"[" * 200_000), "header is nested too deeply: copy or download it again"),
    "no JSON": (safetensors(b'{"a": tru}'), "its header is not JSON"),
    "no text": (safetensors(b'{"\xff\xfe": 1}'), "its header is not JSON"),
    "no shape": (safetensors(b'{"a": {"dtype": "F32", "data_offsets": [0, 0]}}'), "has no whole dtype, shape"),
    "no offsets": (safetensors(b'{"a": {"dtype": "F32"}}'), "has no whole dtype, shape and data_offsets"),
    "a name like a way out": (
        safetensors(b'{"train.copy": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'),
        "'train.copy' extends beyond its end: copy or download it again$",
    ),
    "metadata: no JSON": (metadata("{"), "the file's metadata can't be read: save"),
    "metadata: nested": (metadata("[" * 100_000), "the file's metadata can't be read: save"),
    "metadata: a field": (metadata('{"record": {}, "spec": {"no": 1}}'), "the file's metadata can't be read: save"),
    "metadata: a record": (
        metadata('{"record": "ab", "spec": {"block_config": [2], "growth_rate": 2, "num_init_features": 4}}'),
        "the file's metadata can't be read: save",
    ),
    "pickle": (b"\x80\x02}q\x00(X\x03\x00\x00", "its pickle is cut short or damaged: load it where"),
    "zip": (b"PK\x03\x04" + bytes(64), "damaged"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + b"\x07" * 64, "damaged"),
    "onnx": (b"\x08\x07\x3a\xff\xff\xff\x7f" + bytes(20), "damaged"),
}


def assert_own(words: str, expected: str) -> None:
    assert re.search(expected, words), words
    assert not [foreign for foreign in FOREIGN if foreign in words], words


@pytest.mark.parametrize("what", CHECKPOINTS)
def test_of_damaged_checkpoints(what: str, tmp_path: Path) -> None:
    content, expected = CHECKPOINTS[what]
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path / "a")
    assert_own(str(error.value), expected)


def network() -> Checkpoint:
    return Checkpoint(DenseNetSpec((1,), 2, 4, spatial_dims=3), {})


def in_zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "b")


def array_of_objects() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([None] * 3), allow_pickle=True)
    return stream.getvalue()


FILES: dict[str, tuple[str, bytes, Callable[[Path], object], str]] = {
    "an image": (
        "a.png",
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        lambda file: open_image(file),
        "cut short or damaged, or of another",
    ),
    "an image of a folder": (
        "a.png",
        b"no image",
        lambda file: read_image(str(file)),
        "cut short or damaged, or of a format",
    ),
    "a cut image": ("a.gif", b"GIF89a\x05", lambda file: read_image(str(file)), "cut short or damaged, or of a format"),
    "a volume": (
        "a.npy",
        b"\x93NUMPY\x01\x00\x10\x00{'descr': 1}",
        lambda file: open_volume(file.read_bytes(), network()),
        "cut short or",
    ),
    "an array of objects": (
        "a.npy",
        array_of_objects(),
        lambda file: open_volume(file.read_bytes(), network()),
        "an array of object with the shape",
    ),
    "a sweep": ("a.toml", b"archs = [\n'a'\nb]", load_sweep, "is not a TOML file: line 3, column 1 can't be read"),
    "a sweep of bytes": ("a.toml", b"\xff\xfe", load_sweep, "is not a TOML file"),
    "settings": (
        "config.json",
        b'{"a": 1,}',
        lambda file: read_config(file.parent),
        r"it is not JSON \(line 1, column",
    ),
    "settings of bytes": ("config.json", b'{"\xff": 1}', lambda file: read_config(file.parent), "it is not text"),
    "metrics": ("metrics.csv", b"a,b\n" + b"x" * 200_000, read_metrics, "it is not a table"),
    "a state": ("last.ckpt", b"PK\x03\x04" + bytes(50), lambda file: newest_state(file.parent), "cut short or damaged"),
    "emergence": (
        "reuse.parquet",
        b"PAR1abc",
        lambda file: reuse_over_training(file.parent),
        "not a whole Parquet file",
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_of_other_damaged_files(what: str, tmp_path: Path) -> None:
    name, content, read, expected = FILES[what]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as error:
        read(tmp_path / name)
    words = str(error.value).replace(str(tmp_path), "")
    assert_own(words.replace("Parquet file", ""), expected.replace("Parquet file", "").strip())


def test_of_states_that_torch_can_not_read(tmp_path: Path) -> None:
    in_zip(tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match="cut short or damaged"):
        newest_state(tmp_path)
    torch.save([1], tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"last\.ckpt: it is not the state of a training"):  # own words stay
        newest_state(tmp_path)


def test_of_settings_and_names() -> None:
    with pytest.raises(ValueError, match="the setting 'name' is missing"):
        config_from({"arch": "densenet-10-4", "dataset": "digits"})
    with pytest.raises(ValueError, match="its name has a NUL character"):
        load_checkpoint("a\0b")
