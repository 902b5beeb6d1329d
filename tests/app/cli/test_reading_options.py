"""Every command that reads a checkpoint takes the same options on how to read it."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from safetensors.torch import save_file

from app.cli.common import Reading
from app.cli.main import app, run
from densenet_core import DenseNetSpec
from tests.conftest import trained_like

FIRST_ARGUMENTS = {"figure": [["1"], ["2"], ["5"]], "inspect": [[], ["--why"]]}
LAST_ARGUMENTS = {
    "prune": ["--out", "no.safetensors"],
    "explain": ["no.png"],
    "compare": ["densenet-10-4"],
    "short-paths": ["densenet-10-4"],
}
READ_NO_CHECKPOINT = {"train", "zoo", "table", "sweep", "runs", "serve"}


def commands() -> dict[str, inspect.Signature]:
    named = {(own.callback.__name__.replace("_", "-"), own.callback) for own in app.registered_commands if own.callback}
    return {name: inspect.signature(callback) for name, callback in named}


READERS = sorted(commands().keys() - READ_NO_CHECKPOINT)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("reading") / "a.safetensors"
    save_file(trained_like(DenseNetSpec((2, 2), 3, 6, num_classes=5)).state_dict(), file)
    return file


@pytest.mark.parametrize("command", READERS)
def test_it_has_every_option(command: str) -> None:
    assert commands()[command].parameters.keys() >= set(Reading._fields)


@pytest.mark.slow
@pytest.mark.parametrize("command", READERS)
def test_the_options_arrive(command: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for first in FIRST_ARGUMENTS.get(command, [[]]):
        assert run([command, *first, str(file), *LAST_ARGUMENTS.get(command, []), "--keras-layout", "theano"]) == 2
        assert "keras_layout 'theano' is for files of Keras" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--weights", "--order"])
def test_every_reading_needs_no_choice(option: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "--why", str(file), option, "old_first"]) == 2
    assert f"--why lists every reading: it takes no {option}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"), [("--keras-layout", "theano"), ("--weights", "ema"), ("--order", "new_first")]
)
def test_a_figure_that_opens_no_file_takes_none(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["figure", "3", option, value]) == 2
    assert f"{option} is for figures 1, 2 and 5" in capsys.readouterr().err
