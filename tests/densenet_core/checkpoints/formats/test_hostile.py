"""Files that were made to harm, beyond those of test_fuzz.py, and a few of the many that `make fuzz` damages."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from densenet_core import CheckpointError, DenseNetSpec, load_checkpoint
from densenet_core.checkpoints.checkpoint import read_header
from tests.conftest import trained_like
from tests.fuzz import hostile, mutate

SPEC = hostile.SPEC
STATE = trained_like(SPEC).state_dict()
FLOATS = {key: tensor for key, tensor in STATE.items() if tensor.is_floating_point()}
NAMES = {"family": "DenseNet", "record": {}}
SMALL = {"growth_rate": 1, "num_init_features": 1}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")


def quantised() -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights = torch.quantize_per_channel(torch.ones(9, 4), torch.ones(9), torch.zeros(9), 0, torch.quint4x2)
        return hostile.torch_file({**FLOATS, "classifier.weight": weights})


def exported() -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), buffer)
    return buffer.getvalue()


def members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(hostile.torch_file(STATE))) as source:
        return {name: source.read(name) for name in source.namelist()}


def with_pickle(content: bytes) -> bytes:
    return hostile.archive({name: content if name.endswith("data.pkl") else kept for name, kept in members().items()})


def with_link() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as stream:
        for name, content in members().items():
            link = zipfile.ZipInfo(name)
            if name.endswith("data.pkl"):
                link.external_attr, content = 0o120777 << 16, b"/etc/passwd"  # a symbolic link
            stream.writestr(link, content)
    return buffer.getvalue()


def doubled_member() -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(hostile.archive(members())), "a") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stream.writestr(next(name for name in stream.namelist() if name.endswith("data.pkl")), CALLS)
    return buffer.getvalue()


def own(spec: dict[str, Any]) -> bytes:
    return save(STATE, {"densenet_lens": json.dumps(NAMES | {"spec": spec})})


def shared_numbers() -> bytes:
    numbers = torch.zeros(2_000_000)
    return hostile.torch_file({f"features.denseblock1.denselayer{i}.norm1.weight": numbers for i in range(1, 2000)})


CALLS = b"\x80\x02cos\nsystem\nU\x04true\x85R."
TOO_MUCH = "has more parts than any network's"
FEW = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
MADE: dict[str, tuple[Callable[[], bytes], str]] = {
    "quantised to 4 bits": (quantised, "QUInt4x2Storage: floating point is needed"),
    "complex": (lambda: hostile.torch_file({k: t.to(torch.complex64) for k, t in FLOATS.items()}), "is complex64"),
    "a .pt2 archive": (exported, r"a \.pt2 archive of torch\.export, which holds a program"),
    "a symbolic link in an archive": (with_link, "damaged"),
    "a second pickle of the same name": (doubled_member, "holds two files named 'archive/data.pkl'"),
    "names that climb": (
        lambda: hostile.archive({f"../../{n}": c for n, c in members().items()}),
        "not a file of torch",
    ),
    "a pickle that calls in an archive": (lambda: with_pickle(CALLS), r"wants to run code of its own \(os\.system\)"),
    "a pickle that evaluates": (lambda: with_pickle(b"c__builtin__\neval\n(S'1'\ntR."), r"\(__builtin__\.eval\)"),
    "a large pickle in an archive": (lambda: with_pickle(b"\x80\x02" + b"(" * 5_000_000 + b"."), TOO_MUCH),
    "a deep pickle": (lambda: b"\x80\x02" + b"(" * 20_000_000 + b".", TOO_MUCH),
    "nested lists": (lambda: b"\x80\x02" + b"]" * 3_000_000 + b"a" * 2_999_999 + b".", TOO_MUCH),
    "a number of 2^31 bytes": (lambda: b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"\xff" * 100, "damaged"),
    "a string of 2^60 bytes": (lambda: b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"x.", "damaged"),
    "a frame of 2^62 bytes": (lambda: b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b".", "damaged"),
    "a tensor of 2^40 numbers in 4 bytes": (
        lambda: hostile.torch_file({"features.conv0.weight": torch.zeros(1).expand(2**40)}),
        "claim 4,398,046,511,104 bytes and share 4",
    ),
    "2,000 tensors of the same numbers": (shared_numbers, "and share 8,000,000"),
    "a billion layers in the metadata": (lambda: own(SMALL | {"block_config": [10**9]}), "at most 2,000 are supported"),
    "a million blocks in the metadata": (
        lambda: own(SMALL | {"block_config": [1] * 10**6}),
        "at most 2,000 are supported",
    ),
    "a width of 2^62 in the metadata": (lambda: own(SMALL | {"block_config": [1], "growth_rate": 2**62}), "unexpected"),
    "500,000 cuts in the metadata": (
        lambda: own(SMALL | {"block_config": [2000], "cuts": [[1, 0, 2]] * 500_000}),
        "header is larger than",
    ),
    "metadata that are no fields": (lambda: own({"no": 1}), "metadata can't be read"),
    "deep metadata": (lambda: save(STATE, {"densenet_lens": "[" * 100_000}), "metadata can't be read"),
    "300,000 tensors": (
        lambda: hostile.safetensors_file(
            {f"a{i}": FEW | {"data_offsets": [4 * i, 4 * i + 4]} for i in range(300_000)}, bytes(1_200_000)
        ),
        "which no network needs",
    ),
    "a name of 20 million letters": (
        lambda: hostile.safetensors_file({"x" * 20_000_000: FEW}, bytes(4)),
        "which no network needs",
    ),
    "a state dict in itself": (lambda: hostile.torch_file(in_itself()), "holds no tensors"),
    "keys that are no names": (
        lambda: hostile.torch_file({(1, 2): torch.zeros(1), None: torch.ones(1)}),
        "holds no tensors",
    ),
}
LARGE = ("300,000 tensors", "a million blocks in the metadata", "a .pt2 archive", "500,000 cuts in the metadata")


def in_itself() -> dict[str, Any]:
    content: dict[str, Any] = {}
    content["state_dict"] = content
    return content


@pytest.fixture(scope="module", autouse=True)
def libraries_that_are_read_with_are_imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("seeds")
    for number, content in enumerate(hostile.seeds()):
        (folder / str(number)).write_bytes(content)
        load_checkpoint(folder / str(number))


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=pytest.mark.slow) if what in LARGE else what for what in MADE]
)
def test_it_is_refused_at_once_with_its_reason(what: str, tmp_path: Path) -> None:
    make, reason = MADE[what]
    (tmp_path / "file.pth").write_bytes(make())
    with pytest.raises(CheckpointError, match=reason) as refused:
        load_checkpoint(tmp_path / "file.pth")
    assert len(str(refused.value)) < 1100
    assert mutate.read(tmp_path / "file.pth") == "refused"


def test_a_name_that_stands_twice_is_read_once(tmp_path: Path) -> None:
    content = save(STATE)
    (size,) = struct.unpack("<Q", content[:8])
    text = content[8 : 8 + size].rstrip()
    entry = json.dumps(json.loads(text)["classifier.bias"]).encode()
    doubled = text[:-1] + b',"classifier.bias":' + entry + b"}"
    (tmp_path / "a.safetensors").write_bytes(hostile.safetensors_file(doubled, content[8 + size :]))
    found = load_checkpoint(tmp_path / "a.safetensors")
    assert torch.equal(found.state_dict["classifier.bias"], STATE["classifier.bias"])
    twice = pickle.dumps({"a": 1}, protocol=2).replace(b"s.", b"sX\x01\x00\x00\x00aK\x02s.")
    assert pickle.loads(twice) == {"a": 2}
    (tmp_path / "a.pth").write_bytes(with_pickle(twice))
    with pytest.raises(CheckpointError, match="holds no tensors, only 'a'"):
        load_checkpoint(tmp_path / "a.pth")


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".h5", ".onnx", ".keras", ".png", ""])
def test_a_files_ending_says_nothing(ending: str, tmp_path: Path) -> None:
    for content in (
        hostile.torch_file(STATE),
        save(STATE),
        hostile.torch_file(STATE, _use_new_zipfile_serialization=False),
    ):
        (tmp_path / f"a{ending}").write_bytes(content)
        found = load_checkpoint(tmp_path / f"a{ending}")
        assert torch.equal(found.state_dict["classifier.weight"], STATE["classifier.weight"])


def test_the_headers_of_runs_are_held_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(own(SMALL | {"block_config": [10**9]}))
    with pytest.raises(CheckpointError, match="at most 2,000 are supported"):
        read_header(tmp_path / "a.safetensors")


@pytest.mark.slow
def test_large_networks_of_the_papers_are_within_the_limits(tmp_path: Path) -> None:
    from densenet_core.networks.build import create_model
    from densenet_core.networks.names import MODEL_NAMES, spec_from_name

    assert all(spec_from_name(name) for name in MODEL_NAMES)
    with torch.device("meta"):
        deepest = create_model("resnet-1202").state_dict()
    state = {key: torch.zeros(shape := tensor.shape) + (1 if "var" in key else 0) for key, tensor in deepest.items()}
    del shape
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        torch.save(state, tmp_path / "a.pth", **options)
        assert load_checkpoint(tmp_path / "a.pth").spec.depth == 1202


def test_cuts_are_the_same_by_either_count() -> None:
    spec = DenseNetSpec((3, 2), 2, 4, cuts=((1, 0, 2), (1, 2, 3), (2, 0, 3)))
    for block, layers in enumerate(spec.block_config, start=1):
        for target in range(1, layers + 2):
            naive = tuple(s for s in range(target) if (block, s, target) not in spec.cuts)
            assert spec.sources(block, target) == naive
    assert asdict(spec)["cuts"] == spec.cuts
    with pytest.raises(ValueError, match="without a source"):
        DenseNetSpec((1,), 2, 4, cuts=((1, 0, 1), (1, 0, 1)))


@pytest.mark.slow
def test_some_damaged_files(recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    number = int(os.environ.get("DAMAGED_FILES", "60"))
    counts = mutate.run(number, seed=7)
    assert sum(counts.values()) == number
    assert counts["read"] and counts["refused"]


def test_the_watch_sees_what_must_not_happen(tmp_path: Path) -> None:
    with hostile.watched() as found:
        subprocess.run(["true"], check=True)
        (tmp_path / "x").write_text("")
        (tmp_path / "x").read_text()
        exec("1 + 1")
    assert {text.split()[0] for text in found} >= {"subprocess.Popen", "open", "compile", "exec"}
    assert sum(text.startswith("open") for text in found) == 1
    count = len(found)
    (tmp_path / "y").write_text("")
    assert len(found) == count
