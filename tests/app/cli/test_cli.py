from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image

from analysis import connection_weights
from analysis.claims.figure_5 import FIGURE_5
from app.cli.main import run
from densenet_core import Checkpoint, ResNetSpec, load_checkpoint, load_zoo, save_checkpoint
from densenet_core.networks.build import build_model

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_reuse_writes_figure_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure, table = tmp_path / "fig5.pdf", tmp_path / "weights.csv"
    assert run(["reuse", "densenet-40-12-digits", "--figure", str(figure), "--table", str(table)]) == 0
    assert figure.read_bytes().startswith(b"%PDF")
    expected = connection_weights(load_zoo("densenet-40-12-digits"))
    pd.testing.assert_frame_equal(pd.read_csv(table), expected, check_dtype=False, rtol=1e-12)
    assert not figure.with_suffix(".csv").exists()
    out = capsys.readouterr().out
    assert "DenseNet (L=40, k=12): 273 connections in 3 blocks" in out
    assert out.count("    holds if ") == len(FIGURE_5)
    assert out.count("    holds: ") + out.count("    holds, as it does untrained: ") + out.count(
        "does not hold: "
    ) == len(FIGURE_5)


@pytest.mark.slow
def test_train_then_reuse_evaluate_and_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["train", "--arch", "densenet-7-2", "--dataset", "digits", "--epochs", "2", "--seed", "0", "--name", "demo"]
    assert run([*line, "--runs", str(tmp_path)]) == 0
    assert "test error" in capsys.readouterr().out
    demo = str(tmp_path / "demo")
    assert run([*line, "--runs", str(tmp_path)]) == 0  # the same line again
    capsys.readouterr()
    assert run(["reuse", demo, "--figure", str(tmp_path / "f.svg"), "--columns", "1", "--color-map", "viridis"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"demo", "f.svg", "f.csv"}
    capsys.readouterr()
    assert run(["evaluate", demo]) == 0
    record = load_checkpoint(demo).record
    assert f"Top-1 error  {record['test_error']:.2f} %" in capsys.readouterr().out
    assert run(["inspect", demo, "--layers"]) == 0
    out = capsys.readouterr().out
    assert "DenseNet (L=7, k=2)" in out
    assert "features.denseblock1.denselayer1.conv1.weight" in out


def test_evaluate_class_folders(
    tmp_path: Path, small_checkpoint: Checkpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(small_checkpoint, tmp_path / "net.safetensors")
    for label in range(5):
        folder = tmp_path / "images" / str(label)
        folder.mkdir(parents=True)
        Image.new("RGB", (16, 16), (50 * label, 0, 0)).save(folder / "a.png")
    options = ["--dataset", "folder", "--data", str(tmp_path / "images"), "--normalize", "cifar10"]
    assert run(["evaluate", str(tmp_path / "net.safetensors"), *options]) == 0
    out = capsys.readouterr().out
    assert "Images       5" in out
    assert "Top-5 error  0.00 %" in out


def test_inspect_says_what_a_resnets_tensors_do_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = ResNetSpec.stochastic(8)
    network = Checkpoint(spec, build_model(spec).state_dict(), {"epochs": 3, "started_from": {"epochs": 6}})
    torch.save(network.state_dict, tmp_path / "bare.pth")
    save_checkpoint(network, tmp_path / "own.safetensors")
    assert run(["inspect", str(tmp_path / "bare.pth")]) == 0
    assert "stochastic depth leaves no trace" in capsys.readouterr().out
    assert run(["inspect", str(tmp_path / "own.safetensors")]) == 0
    out = capsys.readouterr().out
    assert "ResNet-8 with stochastic depth" in out
    assert "Identified by      the metadata saved with it" in out
    assert "6 + 3" in out  # epochs before, and in the training from there
    assert "no trace" not in out


def test_zoo_lists_every_network(capsys: pytest.CaptureFixture[str]) -> None:
    from densenet_core import zoo_names

    assert run(["zoo"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in zoo_names())
    assert re.search(r"^densenet-40-12-cifar10-jpeg .*  6 \+ 3  ", out, re.MULTILINE)  # began with other weights


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run([sys.executable, "-m", "app", *words], env=variables, capture_output=True, timeout=120)


@pytest.mark.slow
def test_a_terminal_without_unicode_gets_names_of_symbols() -> None:
    found = command("reuse", "densenet-40-12-digits", LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert found.returncode == 0
    help_text = command("claims", "--help", LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert help_text.returncode == 0 and b"Error" not in help_text.stderr


def test_symbols_have_names() -> None:
    assert "mean |w γ| → ±".encode("ascii", "ascii_symbols") == b"mean |w gamma| -> +/-"
    assert "한".encode("ascii", "ascii_symbols") == b"\\ud55c"


@pytest.mark.slow
def test_a_reader_that_closes_the_pipe_is_no_error() -> None:
    words = f"{sys.executable} -m app inspect densenet-40-12-digits --layers | head -1; exit ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", words], cwd=ROOT, capture_output=True, timeout=120)
    assert run.stderr == b"" and run.returncode in (0, 141)


@pytest.mark.slow
def test_json_is_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["zoo"], ["inspect", "densenet-40-12-digits", "--layers"], ["evaluate", "densenet-40-12-digits"]):
        assert run([*words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_help_needs_no_heavy_import() -> None:
    runs = "[run(words) for words in (['--help'], ['reuse', '--help'], ['train', '--help'])]"
    code = f"import sys; from app.cli.main import run; {runs}; sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Usage: densenet-lens") == 3


@pytest.mark.slow
def test_a_torchvision_file_of_the_largest_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(torchvision.models.densenet201().state_dict(), tmp_path / "densenet201.pth")
    assert run(["reuse", str(tmp_path / "densenet201.pth"), "--figure", str(tmp_path / "f.pdf")]) == 0
    assert "DenseNet-BC (L=201, k=32): 1905 connections in 4 blocks" in capsys.readouterr().out


@pytest.mark.slow
def test_a_sweep_writes_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("g.toml").write_text('archs = ["densenet-7-2"]\nseeds = [0, 1]\n[training]\ndataset = "digits"\nepochs = 1\n')
    assert run(["sweep", "g.toml"]) == 0
    assert pd.read_csv("runs/g/results.csv")["seed"].tolist() == [0, 1]
