"""Imports run one way: app -> analysis -> densenet_core. The core knows no pandas, no plots, no Streamlit."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from setuptools import find_packages

from densenet_core import Checkpoint, save_checkpoint

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "densenet_core": {"analysis", "app", "pandas", "plotly", "matplotlib", "seaborn", "streamlit"},
    "analysis": {"app", "streamlit"},
    "app": set(),
}


# The floors of each package, lowest first; a room imports from its own floor's rooms never, from lower floors freely.
FLOORS = {
    "densenet_core": (("errors", "files", "arrays", "hardware"), ("networks", "data"), ("checkpoints",), ("training",)),
    "analysis": (
        ("words",),
        ("architecture",),
        ("reuse", "results"),
        ("available", "claims", "prediction"),
        ("figures",),
    ),
    "app": (("time_left",), ("progress_bar",), ("text", "facts", "dashboard", "cli"), ("main", "__main__")),
}
SIDE_BY_SIDE = {"text", "facts", "dashboard", "cli", "hardware", "errors", "files", "arrays"}  # may use each other
MAX_MODULES = 14  # a folder


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # formats/reader runs in a process of its own, outside the package
            assert node.level == 0 or file.parent.name == "reader", f"{file}: relative import"
            if node.level == 0:
                names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_run_one_way(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        assert not imported(file) & FORBIDDEN[package], file


def test_the_rule_finds_an_import_inside_a_function(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("def f():\n    from streamlit.web import cli\n")
    assert imported(file) == {"streamlit"}


def rooms_imported(file: Path, package: str) -> set[str]:
    """The rooms of ``package`` that a file imports from, anywhere in it."""
    nodes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    names = [(node.module or "").split(".") for node in nodes]
    return {name[1] for name in names if name[0] == package and len(name) > 1}


@pytest.mark.parametrize("package", FLOORS)
def test_rooms_import_lower_floors_only(package: str) -> None:
    level = {room: number for number, floor in enumerate(FLOORS[package]) for room in floor}
    for file in (ROOT / package).rglob("*.py"):
        room = file.relative_to(ROOT / package).with_suffix("").parts[0]
        if room != "__init__":
            for other in rooms_imported(file, package) - {room}:
                assert level[other] < level[room] or {room, other} <= SIDE_BY_SIDE, f"{file} imports {package}.{other}"


@pytest.mark.parametrize("package", FLOORS)
def test_a_folder_holds_few_modules(package: str) -> None:
    for folder in {file.parent for file in (ROOT / package).rglob("*.py")}:
        modules = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
        assert len(modules) <= MAX_MODULES, folder


@pytest.mark.parametrize("package", FORBIDDEN)
def test_every_package_is_installed(package: str) -> None:
    """A folder without __init__.py is missing from an installation that is not editable."""
    folders = {file.parent for file in (ROOT / package).rglob("*.py")}
    assert {".".join(folder.relative_to(ROOT).parts) for folder in folders} <= {*find_packages(str(ROOT))}


@pytest.mark.parametrize("package", ["densenet_core", "analysis", "analysis.figures"])
def test_every_public_name_is_there(package: str) -> None:
    """They are imported when they are asked for: a wrong line of the stub would not be noticed."""
    module = importlib.import_module(package)
    assert module.__all__
    for name in module.__all__:
        assert getattr(module, name).__module__.startswith(package.split(".")[0]), name


WITHOUT_TORCH = {
    "the table of a file": "analysis.connection_weights(densenet_core.load_checkpoint(FILE))",
    "what Figure 5 shows": "analysis.figure5_observations(analysis.connection_weights(densenet_core.load_zoo(ZOO)))",
    "costs": "cli(['cost', '121'])",
    "an architecture's figure": "cli(['figure', '1', '121', '--out', FILE + '.pdf'])",
    "a figure of shipped results": "cli(['figure', '4-left', '--out', FILE + '.pdf'])",
    "the paper's tables": "cli(['table', '2'])\ncli(['table', '3'])",
    "the paper's figure": "cli(['figure', '3', '--out', FILE + '.pdf'])",
    "two networks": "cli(['compare', 'densenet121', 'resnet50'])",
    "short paths": "cli(['short-paths', 'densenet-40-12', '--out', FILE + '.pdf'])",
    "a file's content": "cli(['inspect', FILE])",
    "lists": "cli(['zoo'])",
    "the command": "cli(['reuse', FILE, '--figure', FILE + '.pdf', '--table', FILE + '.csv'])",
    "the first page": "assert len(AppTest.from_file(MAIN, default_timeout=240).run().get('plotly_chart')) == 6",
}
PREAMBLE = """
import sys, analysis, densenet_core
from streamlit import config
from streamlit.testing.v1 import AppTest
config.set_option('server.address', 'localhost')
FILE, MAIN = sys.argv[1:]
ZOO = densenet_core.zoo_names()[0]
def cli(words):
    from app.cli.main import main
    sys.argv = ['densenet-lens', *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code
"""


def test_the_command_line_starts_without_libraries_for_numbers() -> None:
    code = "import sys, app.cli.main; print({'numpy', 'pandas', 'importlib.metadata'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert run.stdout == "set()\n", run.stdout + run.stderr


@pytest.mark.slow
def test_torch_is_not_imported(small_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Importing it takes longer than all of these; one new process does them in turn and names the first that does."""
    save_checkpoint(small_checkpoint, file := tmp_path / "a.safetensors")
    steps = [f"{code}\nassert 'torch' not in sys.modules, {what!r}" for what, code in WITHOUT_TORCH.items()]
    main = str(ROOT / "app" / "main.py")
    command = [sys.executable, "-c", "\n".join([PREAMBLE, *steps]), str(file), main]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-2000:]
