"""The program that measures on a GPU, with tiny settings on the CPU."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.reuse.emergence import reuse_over_training
from densenet_core import load_checkpoint
from densenet_core.training.runs.files import read_metrics

pytestmark = pytest.mark.slow


sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # the scripts import each other by their names
gpu = pytest.importorskip("gpu")
from gpu_stages import checks, times, training  # noqa: E402
from gpu_stages.stage import Options, Results  # noqa: E402


def options_for(out: Path, archive: Path = Path("none")) -> Options:
    return Options(out, time.time() + 600, archive, "densenet-7-2", seed=0, tiny=True)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar file like the one of CIFAR-10: two classes, one dark and one light."""
    file = tmp_path_factory.mktemp("archive") / "images.tar.gz"
    random = np.random.default_rng(0)
    with tarfile.open(file, "w:gz") as tar:
        for split, number in (("train", 8), ("test", 2)):
            for label, name in enumerate(("dark", "light")):
                for i in range(number):
                    pixels = (random.integers(0, 80, (8, 8, 3)) + 160 * label).astype(np.uint8)
                    Image.fromarray(pixels).save(buffer := io.BytesIO(), "JPEG")
                    info = tarfile.TarInfo(f"{split}/{name}/{i:04}.jpg")
                    info.size = len(buffer.getvalue())
                    tar.addfile(info, io.BytesIO(buffer.getvalue()))
    return file


def rows_of(file: Path) -> list[dict]:
    content = json.loads(file.read_text())
    assert {"about", "hardware", "versions", "date"} <= set(content)
    return content["rows"]


def test_a_training_leaves_weights_metrics_and_the_table_of_every_epoch(archive: Path, tmp_path: Path) -> None:
    options = options_for(tmp_path, archive)
    training.run(options, Results(tmp_path, "training", "a test"))
    folder = tmp_path / "densenet-7-2-cifar10-jpeg-seed0"
    found = load_checkpoint(folder)
    assert found.record["dataset"] == "CIFAR-10 (JPEG)+"
    assert (found.record["train_images"], found.record["test_images"]) == (16, 4)
    assert found.record["epochs"] == found.record["epochs_planned"] == training.FIRST + 1
    assert sorted(reuse_over_training(folder)["epoch"].unique()) == [1, 2, 3]
    splits = [(metric.epoch, metric.split) for metric in read_metrics(folder / "metrics.csv")]
    assert splits == [(1, "train"), (2, "train"), (3, "train"), (3, "train_eval"), (3, "test")]
    assert [row["what"] for row in rows_of(tmp_path / "training.json")] == [
        "images decoded",
        "step",
        "epochs",
        "evaluated",
    ]


def test_a_training_ends_before_its_deadline(archive: Path, tmp_path: Path) -> None:
    options = Options(tmp_path, time.time() + 1, archive, "densenet-7-2", seed=0, tiny=True)
    training.run(options, Results(tmp_path, "training", "a test"))
    assert load_checkpoint(tmp_path / "densenet-7-2-cifar10-jpeg-seed0").record["epochs"] == 1


def test_checks_pass_and_a_failed_one_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(options: Options) -> str:
        raise AssertionError("too far apart")

    monkeypatch.setattr(checks, "CHECKS", {"broken": fail} | checks.CHECKS)
    checks.run(options_for(tmp_path), Results(tmp_path, "checks", "a test"))
    rows = {row["check"]: row for row in rows_of(tmp_path / "checks.json")}
    assert rows.pop("broken")["detail"] == "AssertionError: too far apart"
    assert rows.pop("resume after a kill")["outcome"] == "not run"
    assert [row["outcome"] for row in rows.values()] == ["passed"] * 5


def test_ways_are_timed_and_one_that_fails_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(case: times.Case) -> None:
        raise RuntimeError("out of memory")

    ways = {"broken": times.Way(broken), "ours, fused": times.INFERENCE["ours, fused"]}
    monkeypatch.setattr(times, "INFERENCE", ways)
    monkeypatch.setattr(times, "TRAINING", {"ours, plain": times.TRAINING["ours, plain"]})
    times.run(options_for(tmp_path), Results(tmp_path, "times", "a test"))
    ablation, failed, fused, step = rows_of(tmp_path / "times.json")
    assert failed["failed"] == "RuntimeError: out of memory"
    assert all(row["ms"] > 0 for row in (ablation, fused, step))


def test_a_stage_that_hangs_is_cut_and_the_next_one_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run_until(command: list[str], ends: float) -> str:
        seen.append((command[3], ends))
        return "finished"

    python = [sys.executable, "-S", "-c"]
    assert gpu.run_until([*python, "import time; time.sleep(60)"], time.time() + 0.2) == "cut at its deadline"
    assert gpu.run_until([*python, "raise SystemExit(3)"], time.time() + 20) == "failed with exit code 3"
    monkeypatch.setattr(gpu, "run_until", run_until)
    start = time.time()
    assert gpu.main(["--seconds", "540", "--out", str(tmp_path)]) == 0
    assert [name for name, _ in seen] == [f"gpu_stages.{name}" for name in ("checks", "training", "times", "graphs")]
    assert [round(ends - start) for _, ends in seen] == [60, 420, 480, 540]
    assert [row["outcome"] for row in json.loads((tmp_path / "gpu.json").read_text())] == ["finished"] * 4
