"""Python scripts that open a network and make a figure, a picture or a table of it: they run as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.dashboard.keys import NetworkKey
from app.dashboard.widgets.handover import Code, import_line, load_expression

Imports = Mapping[str, str]  # a module -> the names that are imported of it
SCREEN = {"analysis": "save_figure", "analysis.figures.style.from_screen": "paper_figure"}
TABLE = {"analysis.figures.export": "save_table"}


def script(key: NetworkKey, imports: Imports, lines: Sequence[str], command: str | None = None) -> Code:
    """Return code that opens the network as ``network``, after the imports, then has the lines.

    Args:
        command: the command line that does the same.
    """
    named = [f"from {module} import {names}" for module, names in imports.items()]
    ordered = sorted([import_line(key), *(line for line in named if line != import_line(key))])
    return Code("\n".join([*ordered, "", f"network = {load_expression(key)}", *lines]), command)


def joined(*imports: Imports) -> dict[str, str]:
    """Join imports: each module and each name once."""
    names: dict[str, set[str]] = {}
    for own in imports:
        for module, given in own.items():
            names.setdefault(module, set()).update(given.split(", "))
    return {module: ", ".join(sorted(own)) for module, own in names.items()}
