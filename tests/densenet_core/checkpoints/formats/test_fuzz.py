"""Files that were damaged or made to harm: always a CheckpointError with a reason, never another exception."""

from __future__ import annotations

import io
import json
import resource
import struct
import tempfile
import time
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from densenet_core import Checkpoint, CheckpointError, DenseNetSpec, load_checkpoint, save_checkpoint
from tests.conftest import trained_like

SPEC = DenseNetSpec((2, 1), 2, 4, num_classes=3)
STATE = trained_like(SPEC).state_dict()


def torch_file(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def own_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Checkpoint(SPEC, STATE), Path(folder) / "a.safetensors")
        return (Path(folder) / "a.safetensors").read_bytes()


SEEDS = (torch_file(STATE), torch_file({"state_dict": STATE, "epoch": 3}), save(STATE), own_file())


def damaged(data: st.DataObject) -> bytes:
    """One of the seeds, cut, with bytes flipped, overwritten, doubled or taken out."""
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, min(len(content) - 1, 4000))))
        kind = data.draw(st.sampled_from(("cut", "flip", "write", "double", "remove")))
        if kind == "cut":
            content = content[:place]
        elif kind == "flip" and content:
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "write":
            content[place : place + 8] = data.draw(st.binary(min_size=8, max_size=8))
        elif kind == "double":
            content[place:place] = content[place : place + 64]
        else:
            del content[place : place + data.draw(st.integers(1, 64))]
    return bytes(content)


@pytest.mark.slow
@settings(max_examples=60, deadline=5000, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_with_a_reason(data: st.DataObject, tmp_path_factory: object) -> None:
    file = Path(str(tmp_path_factory.getbasetemp())) / "damaged"  # type: ignore[attr-defined]
    file.write_bytes(damaged(data))
    try:
        found = load_checkpoint(file)
    except CheckpointError as error:
        assert str(error).startswith("damaged: ")
        assert len(str(error)) < 500
    else:
        assert all(tensor.isfinite().all() for key, tensor in found.state_dict.items() if tensor.is_floating_point())


def header(tensors: dict[str, object]) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


def hostile_zip(size: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * size)
    return buffer.getvalue()


HUGE = {"dtype": "F32", "shape": [2**30, 2**30], "data_offsets": [0, 2**60]}
HOSTILE = {
    "a header of 2^60 bytes": struct.pack("<Q", 2**60) + b"{" + b" " * 100,
    "a tensor of 2^60 numbers": header({"features.conv0.weight": HUGE}) + b"\0" * 64,
    "a negative shape": header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}) + b"\0" * 4,
    "offsets that overlap": header({k: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for k in "ab"})
    + b"\0" * 4,
    "deep nesting": struct.pack("<Q", 200_001) + b"{" + b'"a":{' * 40_000,
    "a zip bomb": hostile_zip(300_000_000),
    "an empty archive": hostile_zip(0),
    "a pickle that calls": b"\x80\x02cos\nsystem\nU\x04true\x85R.",
    "text": b"not a checkpoint at all, but long enough",
    "nothing": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_costs_neither_time_nor_memory(what: str, tmp_path: Path) -> None:
    (tmp_path / "file.pth").write_bytes(HOSTILE[what])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(CheckpointError, match=r"file\.pth: "):
        load_checkpoint(tmp_path / "file.pth")
    assert time.monotonic() - start < 5
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < 2 * len(HOSTILE[what]) + 200_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "is_read"),
    [
        (torch.float16, True),
        (torch.bfloat16, True),
        (torch.float64, True),
        (torch.float8_e4m3fn, True),
        (torch.int8, False),
    ],
)
def test_other_types_of_numbers_are_read_or_refused_by_name(dtype: torch.dtype, is_read: bool, tmp_path: Path) -> None:
    state = {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in STATE.items()}
    torch.save(state, tmp_path / "a.pth")
    if is_read:
        load_checkpoint(tmp_path / "a.pth")
        return
    with pytest.raises(CheckpointError, match=str(dtype).removeprefix("torch.")):
        load_checkpoint(tmp_path / "a.pth")


def test_sparse_tensors_are_refused(tmp_path: Path) -> None:
    state = dict(STATE)
    state["classifier.weight"] = state["classifier.weight"].to_sparse()
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth: "):
        load_checkpoint(tmp_path / "a.pth")
