"""Imports run one way: app -> analysis -> densenet_core. The core knows no pandas, no plots, no Streamlit."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "densenet_core": {"analysis", "app", "pandas", "plotly", "matplotlib", "seaborn", "streamlit"},
    "analysis": {"app", "streamlit"},
    "app": set(),
}


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
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


@pytest.mark.parametrize("package", FORBIDDEN)
def test_every_package_is_installed(package: str) -> None:
    """A folder that pyproject.toml does not name is missing from an installation that is not editable."""
    declared = (ROOT / "pyproject.toml").read_text()
    for init in (ROOT / package).rglob("__init__.py"):
        assert f'"{".".join(init.parent.relative_to(ROOT).parts)}"' in declared
