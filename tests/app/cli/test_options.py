"""Every value of an option is checked before anything is opened or measured, and refused in one sentence."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main

from app.cli.main import app, run
from densenet_core.training.config import training_settings
from tests.app.cli.test_reading_options import commands

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
ARGUMENTS = {
    "figure": ["1", "densenet-40-12"],
    "compare": ["121", "169"],
    "table": ["1"],
    "explain": ["network", "image.png"],
    "prune": ["network", "--out", "a.safetensors"],
    "train": ["--arch", "densenet-7-2"],
    "sweep": ["grid.toml"],
    "runs": [],
    "zoo": [],
    "serve": [],
}
WRONG = {  # of an option: a value, and the words that say what is right
    "--images": ("0", "--images 0 must be 1 or more"),
    "--input": ("0", "--input 0 must be 1 or more"),
    "--block": ("0", "block 0 does not exist"),
    "--keep": ("nan", "--keep nan must be above 0 and at most 1"),
    "--finetune": ("-1", "--finetune -1 must be 0 or more"),
    "--against-scratch": ("-1", "--against-scratch -1 must be 0 or more"),
    "--learning-rate": ("nan", "--learning-rate nan must be above 0"),
    "--columns": ("3", "--columns 3 must be from 1 to 2"),
    "--crops": ("5", "crops 5 must be 1 or 10"),
    "--cpus": ("nan", "--cpus nan must be above 0"),
    "--gpus": ("-1", "--gpus -1.0 must be 0 or more"),
    "--port": ("70000", "--port 70000 must be from 0 to 65535"),
    "--max-upload": ("0", "--max-upload 0 must be 1 or more"),
    "--session-memory": ("0", "--session-memory 0 must be 1 or more"),
    "--jobs": ("0", "--jobs 0 must be 1 or more"),
    "--workers": ("0", "--workers 0 must be 1 or more"),
    "--precision": ("fp8", "--precision 'fp8' is unknown: choose from fp32, bf16"),
    "--backend": ("nosuch", "--backend 'nosuch' is unknown: choose from torch, onnxruntime"),
    "--replace": ("nosuch", "--replace 'nosuch' is unknown: choose from zero, mean"),
    "--measure": ("nosuch", "--measure 'nosuch' is unknown: choose from mean_abs_weight"),
    "--first": ("nosuch", "--first 'nosuch' is unknown: choose from mean_abs_weight"),
    "--second": ("nosuch", "--second 'nosuch' is unknown: choose from mean_abs_weight"),
    "--scaling": ("nosuch", "--scaling 'nosuch' is unknown: choose from kind_max"),
    "--color-map": ("magma", "--color-map 'magma' is unknown: choose from jet, viridis, cividis"),
    "--budget": ("bytes", "--budget 'bytes' is unknown: choose from connections, params, mult_adds"),
    "--dataset": ("nosuch", "--dataset 'nosuch' is unknown: choose from digits"),
    "--normalize": ("nosuch", "--normalize 'nosuch' is unknown: choose from cifar10"),
    "--format": ("nosuch", "format 'nosuch' must be text, latex or csv"),
    "--order": ("nosuch", "--order 'nosuch' is unknown: choose from old_first, new_first"),
    "--keras-layout": ("nosuch", "--keras-layout 'nosuch' is unknown: choose from tensorflow, theano"),
    "--figure": ("a.jpg", "'a.jpg' does not end in .pdf, .svg, .png"),
    "--table": ("a.xls", "'a.xls' does not end in .csv"),
    "--csv": ("a.xls", "'a.xls' does not end in .csv"),
    "--onnx": ("a.pt", "'a.pt' does not end in .onnx"),
}
OF_TRAINING = {each.option for each in training_settings()}  # checked by TrainingConfig, and tested with it
OWN = {("reuse", "--epochs"), ("table", "NUMBER"), ("compare", "--measure"), ("evaluate", "--crops")}


def options() -> Iterator[tuple[str, str]]:
    for name, command in COMMANDS.items():
        for option in command.params:
            if option.param_type_name == "option" and (name != "train" or option.opts[0] not in OF_TRAINING):
                yield name, option.opts[0]


@pytest.fixture
def nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where a command opens a network before it has checked its options."""
    for name in ("claims", "effects", "efficiency", "figures", "networks", "prediction", "reuse"):
        module = importlib.import_module(f"app.cli.{name}")
        for work in ("open_network", "open_test_images", "measure_network"):
            if hasattr(module, work):
                monkeypatch.setattr(module, work, lambda *_, **__: pytest.fail("work began"))


@pytest.mark.parametrize(
    ("command", "option"), [each for each in options() if each[1] in WRONG and each not in OWN], ids=" ".join
)
def test_a_wrong_value_is_refused_before_any_work(
    command: str,
    option: str,
    nothing_is_opened: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    value, words = WRONG[option]
    if (command, option) == ("figure", "--input"):
        command, given = "figure", ["2", "densenet-40-12"]
    else:
        given = ARGUMENTS.get(command, ["network"])
    assert run([command, *given, option, value]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert words in said
    assert list(tmp_path.iterdir()) == []


def is_number(parameter: inspect.Parameter | None) -> bool:
    """Whether the annotation is Annotated[int, ...], Annotated[float | None, ...] or the like."""
    kind = get_args(parameter.annotation)[0] if parameter and get_args(parameter.annotation) else None
    return bool({int, float} & {kind, *get_args(kind)})


def test_every_option_that_is_a_number_has_a_wrong_value_above() -> None:
    numbers = {
        (name, option.opts[0])
        for name, signature in commands().items()
        for option in COMMANDS[name].params
        if option.param_type_name == "option" and is_number(signature.parameters.get(option.name))
    }
    known = {each for each in numbers if each[1] in WRONG or (each[0] == "train" and each[1] in OF_TRAINING)}
    assert numbers - known - OWN == set()
    assert ("prune", "--keep") in numbers and ("lens", "--images") in numbers


def test_the_documentation_lists_every_command() -> None:
    text = (Path(__file__).parents[3] / "docs" / "command_line.md").read_text(encoding="utf-8")
    first_cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert {words.split()[0] for cell in first_cells for words in re.findall("`(.+?)`", cell)} == {*COMMANDS}


def test_every_parameter_is_described_with_its_unit() -> None:
    units = {"MB": "in MB", "EPOCHS": "epochs", "DIR": "older"}  # by metavar
    for name, command in COMMANDS.items():
        assert command.help, name
        for each in command.params:
            assert each.help and each.help.endswith("."), (name, each.name)
            assert units.get(each.metavar, "") in each.help, (name, each.name)


@pytest.mark.parametrize("file", [".", "notes.txt/a.pdf"])
def test_a_file_that_can_not_be_written_is_refused_before_any_work(
    file: str,
    nothing_is_opened: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "a.pdf").mkdir()
    assert run(["reuse", "network", "--figure", "a.pdf" if file == "." else file]) == 2
    assert "can't be written: name a file in a folder that can be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["agreement", "network", "--first", "taylor", "--second", "taylor"], "--first and --second are both taylor"),
        (["serve", "--root", "notes.txt"], "--root 'notes.txt' is not a folder"),
        (["serve", "--proxy-host", ""], "--proxy-host '' is not the name of a host: give one such as"),
        (["serve", "--proxy-host", "*"], "--proxy-host '*' is not the name of a host: give one such as"),
        (["runs", "--runs", "notes.txt"], "'notes.txt' is a file: give the folder that holds the run folders"),
    ],
)
def test_values_that_do_not_go_together_are_refused_before_any_work(
    words: list[str],
    said: str,
    nothing_is_opened: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    assert run(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", [["reuse", "NETWORK", "--seeds"], ["reuse", "NETWORK", "OTHER"]])
def test_networks_that_can_not_be_compared_are_refused_before_they_are_measured(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from densenet_core import Checkpoint, DenseNetSpec, save_checkpoint
    from densenet_core.networks.build import build_model

    for name, layers in (("NETWORK", 2), ("OTHER", 3)):
        spec = DenseNetSpec((layers,), 2, 4, in_channels=1)
        save_checkpoint(Checkpoint(spec, build_model(spec).state_dict()), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("app.cli.reuse.measure_network", lambda *_: pytest.fail("work began"))
    assert run([*words, "--measure", "ablation", "--dataset", "digits"]) == 2
    said = capsys.readouterr().err
    assert "give two or more seeds of one architecture" in said or "the networks have different blocks" in said


@pytest.mark.parametrize("path", ["", "."])
def test_a_folder_without_a_name_is_named(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert run(["inspect", path]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "densenet-lens: mine: the folder holds" if path else "densenet-lens: the path is empty: give"
    )
