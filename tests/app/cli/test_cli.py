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
from analysis.architecture.cost import count_cost, total_cost
from app.cli.main import run
from densenet_core import Checkpoint, DenseNetSpec, ResNetSpec, load_checkpoint, load_zoo, save_checkpoint
from densenet_core.networks.build import build_model
from tests.conftest import trained_like

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
    assert out.count("    holds if ") == 5
    assert out.count("    holds: ") + out.count("    holds, as it does untrained: ") + out.count("does not hold: ") == 5


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


def test_without_a_record_a_data_set_is_asked_for(
    tmp_path: Path, small_checkpoint: Checkpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(small_checkpoint, tmp_path / "a.safetensors")
    for words in (["evaluate"], ["agreement"], ["reuse", "--measure", "ablation"], ["prune", "--out", "b.safetensors"]):
        assert run([words[0], str(tmp_path / "a.safetensors"), *words[1:]]) == 2
        assert "does not name the data set it was trained on: give --dataset" in capsys.readouterr().err


@pytest.mark.slow
def test_help_needs_no_heavy_import() -> None:
    runs = "[run(words) for words in (['--help'], ['reuse', '--help'], ['train', '--help'])]"
    code = f"import sys; from app.cli.main import run; {runs}; sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Usage: densenet-lens") == 3


@pytest.mark.slow
def test_the_exit_code_reaches_the_shell() -> None:
    result = subprocess.run([sys.executable, "-m", "app", "reuse", "nope"], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("densenet-lens: checkpoint 'nope'")
    assert result.stdout == ""


@pytest.mark.slow
def test_a_torchvision_file_of_the_largest_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(torchvision.models.densenet201().state_dict(), tmp_path / "densenet201.pth")
    assert run(["reuse", str(tmp_path / "densenet201.pth"), "--figure", str(tmp_path / "f.pdf")]) == 0
    assert "DenseNet-BC (L=201, k=32): 1905 connections in 4 blocks" in capsys.readouterr().out


def test_cost_of_a_name_a_shorthand_and_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for network in ("121", "densenet121"):
        assert run(["cost", network, "--input", "224"]) == 0
        out = capsys.readouterr().out
        assert "2,834,161,664" in out
        assert "7,978,856" in out
    assert run(["cost", "densenet-40-12-digits", "--layers", "--csv", str(tmp_path / "cost.csv")]) == 0
    assert "features.denseblock3.denselayer12.conv1" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "cost.csv")["params"].sum() == load_zoo("densenet-40-12-digits").num_params


@pytest.mark.slow
def test_compare(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "densenet-bc-40-12", "resnet-20", "--measure"]) == 0
    out = capsys.readouterr().out
    assert "176,122" in out
    assert "269,722" in out
    assert "forward_ms" in out
    assert run(["compare", "resnet-20", "resnet-20"]) == 0


@pytest.mark.slow
def test_tables_by_their_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["table", "2", "--format", "latex"]) == 0
    assert "\\toprule" in capsys.readouterr().out
    assert run(["table", "3", "--format", "csv", "--out", str(tmp_path / "t.csv")]) == 0
    errors = pd.read_csv(tmp_path / "t.csv")["top-1, single crop (10-crop)"]
    assert [text.split()[0] for text in errors] == ["25.02", "23.80", "22.58", "22.15"]
    assert run(["table", "1"]) == 0


@pytest.mark.slow
def test_a_sweep_writes_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("g.toml").write_text('archs = ["densenet-7-2"]\nseeds = [0, 1]\n[training]\ndataset = "digits"\nepochs = 1\n')
    assert run(["sweep", "g.toml"]) == 0
    assert pd.read_csv("runs/g/results.csv")["seed"].tolist() == [0, 1]


SMALL = "densenet-40-12-digits"


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "densenet-lens"


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """The file of a network of 20 connections for the digits."""
    model = build_model(DenseNetSpec((3, 3), 4, 8, in_channels=1))
    record = {"dataset": "Digits (8x8)", "recipe": {"dataset": "digits"}}
    save_checkpoint(Checkpoint(model.spec, model.state_dict(), record), tmp_path / "tiny.safetensors")
    return str(tmp_path / "tiny.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["contribution", "taylor", "ablation"])
def test_reuse_by_a_measure_on_images(measure: str, tiny: str, own_cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights.csv"
    assert run(["reuse", tiny, "--measure", measure, "--images", "20", "--table", str(out)]) == 0
    assert measure in out.read_text().splitlines()[0].split(",")
    assert any(own_cache.glob("ablation-*")) == (measure == "ablation")


@pytest.mark.slow
def test_claims_are_printed_and_written(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "claims.csv"
    assert run(["claims", tiny, "--dataset", "digits", "--images", "20", "--table", str(out)]) == 0
    said = capsys.readouterr().out
    assert " 4. Layers after the first block give the transition's output (row 0) the least weight of all." in said
    assert "share of the dense layers whose least-weighted source is row 0" in said
    assert "holds if at least 0.75; untrained" in said
    assert len(out.read_text().splitlines()) == 15


@pytest.mark.slow
def test_agreement_prints_numbers_and_writes_the_scatter(
    own_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scatter.pdf"
    assert run(["agreement", SMALL, "--second", "taylor", "--images", "20", "--figure", str(out)]) == 0
    assert "rank correlation (Spearman)" in capsys.readouterr().out
    assert out.read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_prune_writes_a_network_that_every_command_reads(
    tiny: str, own_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "small.safetensors")
    assert run(["prune", tiny, "--keep", "0.8", "--measure", "mean_abs_weight", "--out", out, "--finetune", "1"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"connections +20 +16", said)
    for command in (
        ["evaluate", out],
        ["inspect", out],
        ["cost", out, "--input", "8"],
        ["reuse", out],
        ["claims", out],
    ):
        assert run(command) == 0, command
    assert "4 of 20 connections cut" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("parts", [(".",), ("train", "test")])
def test_prune_fine_tunes_on_every_folder_that_it_measures_on(
    parts: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (Path(part) / name for part in parts for name in ("cat", "dog")):
        (tmp_path / "data" / place).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (8, 8), (30 * number, 0, 0)).save(tmp_path / "data" / place / f"{number}.png")
    spec = DenseNetSpec((3,), 2, 4, num_classes=2)
    save_checkpoint(Checkpoint(spec, trained_like(spec).state_dict()), tmp_path / "a.safetensors")
    words = ["prune", str(tmp_path / "a.safetensors"), "--keep", "0.8", "--out", str(tmp_path / "b.safetensors")]
    words += ["--dataset", "folder", "--data", str(tmp_path / "data"), "--normalize", "none"]
    assert run([*words, "--finetune", "1", "--against-scratch", "1"]) == 0
    assert "from scratch" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "b.safetensors").record["finetuned"]["data"] == "data"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prune", SMALL, "--out", "small.pt"], "--out file 'small.pt' does not end in .safetensors"),
        (["reuse", SMALL, "--measure", "taylor", "--dataset", "cifar10"], "data set cifar10 is not under"),
        (["evaluate", SMALL, "--crops", "10"], "crops 10 is for photographs"),
        (["claims", SMALL, "--beside", "nothing"], "checkpoint 'nothing' is neither"),
    ],
)
def test_what_is_wrong_with_an_effect_is_one_sentence(
    arguments: list[str], message: str, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert message in capsys.readouterr().err


def test_costs_are_for_images_of_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = load_zoo("densenet-40-12-digits")
    assert network.record["image_size"] == 8
    expected = total_cost(count_cost(network.architecture, 8))["mult_adds"]
    assert run(["cost", "densenet-40-12-digits", "--csv", str(tmp_path / "a.csv")]) == 0
    assert "DenseNet (L=40, k=12), images of 8 x 8 pixels" in (out := capsys.readouterr().out)
    assert f"{expected:,}" in out
    assert set(pd.read_csv(tmp_path / "a.csv")["input_size"]) == {8}
    assert run(["cost", "densenet-40-12-digits", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["input_size"], content["total"]["mult_adds"]) == (8, expected)
    assert run(["compare", "densenet-40-12-digits", "resnet-20"]) == 0
    assert re.search(r"^input_size +8 +8$", capsys.readouterr().out, re.MULTILINE)
    assert run(["cost", "densenet-40-12"]) == 0
    assert "images of 32 x 32 pixels" in capsys.readouterr().out
