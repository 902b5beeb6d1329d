"""What README and docs name exists, and the examples of the front doors run."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
SOURCES = [file for package in ("densenet_core", "analysis", "app") for file in (ROOT / package).rglob("*.py")]
FOLDERS = "densenet_core|analysis|app|tests|benchmarks|tools|docs|sweeps"
WITHOUT_EXAMPLE = {"CheckpointError", "DataError", "RunError", "load_pretrained"}  # errors, and a download


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("file", [*PAGES, *SOURCES], ids=lambda file: str(file.relative_to(ROOT)))
def test_files_and_modules_that_are_named_exist(file: Path) -> None:
    text = file.read_text()
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./]*?)/?`", text):
        assert (ROOT / path).exists() or (ROOT / f"{path}.py").exists(), path
    for name in re.findall(r"`((?:densenet_core|analysis|app)(?:\.\w+)+)`", text):
        assert exists(name), name


@pytest.mark.slow
@pytest.mark.parametrize("page", ["python", "prediction"])
def test_the_python_of_a_page_runs_when_pasted(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    pasted = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(), re.DOTALL))
    exec(compile(pasted, page, "exec"), {})


def exists(dotted: str) -> bool:
    """Whether this is a module or a name in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        folder = ROOT.joinpath(*parts[:length])
        if folder.is_dir() or folder.with_suffix(".py").is_file():
            break
    item = importlib.import_module(".".join(parts[:length]))
    for part in parts[length:]:
        if not hasattr(item, part):
            return False
        item = getattr(item, part)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("package", ["densenet_core", "analysis"])
def test_every_public_name_has_an_example_that_runs(package: str) -> None:
    module = importlib.import_module(package)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for name in set(module.__all__) - WITHOUT_EXAMPLE:
        item = getattr(module, name)
        assert ">>> " in (item.__doc__ or ""), f"{package}.{name} has no example"
        own = vars(importlib.import_module(item.__module__)) | {name: item}
        for test in doctest.DocTestFinder(recurse=False).find(item, name, globs=dict(own)):
            assert runner.run(test).failed == 0, f"the example of {package}.{name} fails"


def test_the_checks_can_fail() -> None:
    assert exists("densenet_core.networks.densenet.DenseNet")
    assert not exists("densenet_core.networks.densenet.SparseNet")
