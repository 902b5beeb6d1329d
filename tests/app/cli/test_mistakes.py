"""What is wrong with a command line is one sentence on stderr, and the exit code says so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from analysis.figures.export import save_table
from app.cli.main import run
from densenet_core import Checkpoint, load_zoo, save_checkpoint

MISTAKES = {
    "no such file": (["reuse", "nope.pt"], "'nope.pt' is neither a file, a run folder nor in the zoo (densenet-40-12"),
    "wrong flag": (["reuse", "x", "--figur", "f.pdf"], "No such option: --figur"),
    "wrong command": (["resue"], "No such command 'resue'"),
    "no architecture": (["train"], "Missing option '--arch'"),
    "wrong architecture": (["train", "--arch", "densenet-41-12"], "nearest are 40 and 43"),
    "wrong data set": (["train", "--arch", "densenet-40-12", "--dataset", "mnist"], "unknown data set 'mnist'"),
    "wrong measure": (
        ["reuse", "densenet-40-12-digits", "--figure", "f.pdf", "--measure", "l2"],
        "measure 'l2' is unknown: choose from mean_abs_weight",
    ),
    "wrong figure": (
        ["reuse", "densenet-40-12-digits", "--figure", "f.jpg"],
        "'f.jpg' does not end in .pdf, .svg, .png",
    ),
    "wrong table": (["reuse", "densenet-40-12-digits", "--table", "t.xls"], "'t.xls' does not end in .csv"),
    "data that do not fit": (["evaluate", "densenet-40-12-digits", "--dataset", "folder", "--data", "."], "no class"),
    "missing data": (["evaluate", "densenet-40-12-digits", "--dataset", "svhn"], "svhn is not under 'data'"),
    "input too small": (["cost", "121", "--input", "8"], "the smallest that works is 29"),
    "unknown figure": (["figure", "7"], "unknown figure '7': choose from 1, 2, 3, 4-left"),
    "figure 1 of a ResNet": (["figure", "1", "resnet-20"], "figure 1 is of DenseNets: 'resnet-20' is a ResNet-20"),
    "figure 1 of no name": (["figure", "1", "densenet-41-12"], "nearest are 40 and 43"),
    "figure 1 of no block": (["figure", "1", "121", "--block", "5"], "block 5 does not exist"),
    "figure 2 of nothing": (["figure", "2"], "figure 2 needs one network"),
    "figure 2 of a small image": (["figure", "2", "121", "--input", "8"], "the smallest that works is 29"),
    "figure 2 has no block": (["figure", "2", "121", "--block", "1"], "--block is for figure 1"),
    "figure 5 has no input": (["figure", "5", "densenet-40-12-digits", "--input", "8"], "--input is for figure 2"),
    "short paths of two kinds": (["short-paths", "densenet-40-12", "fractalnet-21"], "draw them separately"),
    "short paths of a companion": (
        ["short-paths", "dsn-resnet-56"],
        "exist in DenseNets and ResNets, not in Deeply Supervised",
    ),
    "short paths of one twice": (["short-paths", "121", "densenet121"], "appears 2 times"),
    "short paths of two sizes": (["short-paths", "densenet-40-12", "resnet50"], "different numbers of blocks"),
    "gates of a name": (["short-paths", "highway-19"], "pass the checkpoint of a trained network"),
    "gates of a DenseNet": (["short-paths", "densenet-40-12-digits", "--gates"], "only Highway Networks have gates"),
    "gates beside others": (["short-paths", "highway-19", "resnet-20"], "are drawn alone: 2 networks are given"),
    "figure 5 of nothing": (["figure", "5"], "figure 5 needs one checkpoint"),
    "figure 4 of no run": (["figure", "4-left", "nothing"], "there is no run or file 'nothing'"),
    "unknown table": (["table", "9"], "table 9 is unknown: choose 1, 2 or 3"),
    "unknown format": (["table", "2", "--format", "html"], "format 'html' must be text, latex or csv"),
    "unknown network": (["cost", "resnet-21"], "nearest are 20 and 26"),
    "no number": (
        ["cost", "121", "--input", "nan"],
        "--input 'nan' is not a whole number (see densenet-lens cost --help)",
    ),
    "no number of a table": (["table", "x"], "1|2|3 'x' is not a whole number (see densenet-lens table --help)"),
    "no share": (["sweep", "x.toml", "--cpus", "two"], "--cpus 'two' is not a number (see densenet-lens sweep --help)"),
    "missing argument": (["reuse"], "Missing argument 'CHECKPOINT' (see densenet-lens reuse --help)"),
    "missing value": (["train", "--arch"], "requires an argument (see densenet-lens train --help)"),
    "no file of a network": (["cost", "nope.pth"], "there is no file or folder 'nope.pth'"),
    "no file beside a network": (["compare", "121", "runs/nope"], "there is no file or folder 'runs/nope'"),
    "epochs of a file": (["reuse", __file__, "--epochs", "1", "2"], "is a file, give a run folder"),
    "one seed": (["reuse", "densenet-40-12-digits", "--seeds"], "1 network is given: give two or more seeds"),
    "a folder of images": (["explain", "densenet-40-12-digits", "."], "image '.' is a folder: give the files in it"),
    "a table of no format": (["table", "1", "--out", "t.safetensors"], "'t.safetensors' does not end in .txt, .tex"),
    "no sweep": (["sweep", "nothing.toml"], "can't read 'nothing.toml'"),
    "unwritable": (["reuse", "densenet-40-12-digits", "--table", "/proc/t.csv"], "/proc/t.csv"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_on_stderr(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, message = MISTAKES[mistake]
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("densenet-lens: ")
    assert list(tmp_path.iterdir()) == []


def test_a_bug_is_reported_as_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("analysis.reuse.connections.connection_weights", lambda network: 1 / 0)
    assert run(["reuse", "densenet-40-12-digits"]) == 1
    said = capsys.readouterr().err
    assert "internal error, please report it" in said and "ZeroDivisionError" in said and "Traceback" not in said
    assert run(["reuse", "densenet-40-12-digits", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("size", [2**50, 2**62])
def test_too_little_memory_is_no_bug(
    size: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for fail in (lambda *_: torch.empty(size, 4), lambda *_: bytearray(size)):
        monkeypatch.setattr("analysis.reuse.connections.connection_weights", fail)
        assert run(["reuse", "densenet-40-12-digits"]) == 2
        assert "there is not enough memory: use a smaller network" in capsys.readouterr().err


def test_a_mistake_keeps_its_cause_for_debugging(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--debug", "cost", "resnet-21"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said and said.splitlines()[-1].startswith("densenet-lens: ")


def test_without_a_record_a_data_set_is_asked_for(
    tmp_path: Path, small_checkpoint: Checkpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(small_checkpoint, tmp_path / "a.safetensors")
    for words in (["evaluate"], ["agreement"], ["reuse", "--measure", "ablation"], ["prune", "--out", "b.safetensors"]):
        assert run([words[0], str(tmp_path / "a.safetensors"), *words[1:]]) == 2
        assert "does not name the data set it was trained on: give --dataset" in capsys.readouterr().err


@pytest.mark.slow
def test_the_exit_code_reaches_the_shell() -> None:
    result = subprocess.run([sys.executable, "-m", "app", "reuse", "nope"], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("densenet-lens: checkpoint 'nope'")
    assert result.stdout == ""


def test_a_pruned_network_does_not_replace_the_one_that_is_read(tmp_path, capsys):
    save_checkpoint(load_zoo("densenet-40-12-digits"), file := tmp_path / "model.safetensors")
    content = file.read_bytes()
    for checkpoint in (tmp_path, file):
        assert run(["prune", str(checkpoint), "--out", str(file), "--keep", "0.9"]) == 2
        assert "is the file of the network that is read: give another name" in capsys.readouterr().err
    assert file.read_bytes() == content


def test_a_full_disk_leaves_the_old_figure(tmp_path, monkeypatch):
    (file := tmp_path / "a.csv").write_text("old")
    monkeypatch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        save_table(pd.DataFrame({"a": [1]}), file)
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_the_result_of_a_measure_is_printed(capsys):
    assert run(["reuse", "densenet-40-12-digits", "--measure", "taylor", "--images", "4"]) == 0
    assert re.search(
        r"Largest values of taylor \(nats\):\n(  block \d: \d+ -> \d+  [\d.e-]+\n){5}", capsys.readouterr().out
    )
