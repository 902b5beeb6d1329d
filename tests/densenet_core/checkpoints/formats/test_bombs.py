"""Files that ask for a lot of time, memory or other people's data are refused while other threads go on."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as save_torch

from app.cli.main import run
from densenet_core import CheckpointError, load_checkpoint
from densenet_core.checkpoints.formats.limits import READER_SECONDS
from densenet_core.errors import SeveralNetworksError
from tests.fuzz import hostile
from tests.fuzz.bombs import BOMBS, graph, node

MAX_SECONDS = 5.0
MAX_PAUSE = 2.0  # of another thread, on a machine that does other work too
MAX_MEMORY = 300_000_000  # bytes beside twice the file


@contextmanager
def other_thread() -> Iterator[list[float]]:
    """Yield the times at which another thread was awake; it wants to be every 10 ms."""
    awake, is_done = [time.monotonic()], threading.Event()

    def tick() -> None:
        while not is_done.wait(0.01):
            awake.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        yield awake
    finally:
        is_done.set()
        thread.join()
        awake.append(time.monotonic())


@pytest.mark.slow
@pytest.mark.parametrize("what", BOMBS)
def test_it_is_refused_while_another_thread_goes_on(what: str, tmp_path: Path) -> None:
    make, reason = BOMBS[what]
    (tmp_path / "file").write_bytes(make())
    start = time.monotonic()
    with other_thread() as awake, pytest.raises(CheckpointError, match=reason) as refused:
        load_checkpoint(tmp_path / "file")
    assert time.monotonic() - start < MAX_SECONDS
    assert max(later - earlier for earlier, later in pairwise(awake)) < MAX_PAUSE
    assert len(str(refused.value)) < 1100 and not isinstance(refused.value, SeveralNetworksError)


MEASURE = """
import resource, sys
from pathlib import Path
from app.cli.main import run
from densenet_core import CheckpointError, load_checkpoint
from densenet_core.checkpoints.identify.shapes import by_shape, shape_search
for file in sorted(Path(sys.argv[1]).iterdir()):
    try:
        load_checkpoint(file)
    except CheckpointError:
        pass
    lines = Path("/proc/self/status").read_text().splitlines()
    own = int(next(line for line in lines if line.startswith("VmHWM")).split()[1])  # getrusage's is the parent's
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(file.name, file.stat().st_size, 1024 * max(own, child))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")
def test_no_bomb_takes_more_than_twice_its_size_and_300_mb(tmp_path: Path) -> None:
    """In a process of their own, smallest file first: what was used stays the peak of those behind it."""
    for number, (make, _) in enumerate(BOMBS.values()):
        (tmp_path / f"{number:02}").write_bytes(make())
    for order, file in enumerate(sorted(tmp_path.iterdir(), key=lambda file: file.stat().st_size)):
        file.rename(tmp_path / f"{order:02}-{file.name}")
    line = [sys.executable, "-c", MEASURE, str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=120)
    names = list(BOMBS)
    for name, size, peak in (row.split() for row in done.stdout.splitlines()):
        assert int(peak) < 2 * int(size) + MAX_MEMORY, names[int(name.rpartition("-")[2])]
    assert len(done.stdout.splitlines()) == len(BOMBS)


def test_a_constant_of_another_file_of_the_working_folder_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx")
    outside = onnx.TensorProto(name="w", data_type=1, dims=[4, 3, 1, 1], data_location=onnx.TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="secret.bin")
    (tmp_path / "secret.bin").write_bytes(b"S" * 48)
    (tmp_path / "in").mkdir()
    content = [node("Constant", "", "w", value=outside), node("Conv", "x w", "a"), node("Concat", "a x", "b", axis=1)]
    content.append(node("Conv", "b v", "y"))
    (tmp_path / "in" / "a.onnx").write_bytes(graph(content, [1, 3, 8, 8], {"v": (4, 7, 1, 1)}))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"in another file, 'secret\.bin', which is not beside it"):
        load_checkpoint("in/a.onnx")


@pytest.mark.slow
def test_a_compressed_storage_is_unpacked_no_further_than_the_archive_says(tmp_path: Path) -> None:
    source = zipfile.ZipFile(io.BytesIO(hostile.torch_file({"a.weight": torch.zeros(3, 3, 3, 3)})))
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name) if "/data/" not in name else bytes(140_000_000))
    with pytest.raises(CheckpointError, match="unpacks to far more than its size"):
        load_checkpoint(tmp_path / "a.pth")


def test_a_number_of_400_digits_in_a_record_is_shown_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = hostile.trained_like(hostile.SPEC).state_dict()
    about = {"family": "DenseNet", "spec": asdict(hostile.SPEC), "record": {"test_error": 10**400, "epochs": 3}}
    (tmp_path / "a.safetensors").write_bytes(save_torch(state, {"densenet_lens": json.dumps(about)}))
    assert load_checkpoint(tmp_path / "a.safetensors").record == {"test_error": str(10**400), "epochs": 3}
    assert run(["inspect", str(tmp_path / "a.safetensors")]) == 0
    assert "1" + 100 * "0" in capsys.readouterr().out


def test_the_reader_has_few_seconds() -> None:
    assert READER_SECONDS < MAX_SECONDS
