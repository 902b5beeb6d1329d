"""Python scripts that open a network and make a figure, a picture or a table of it: they run as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

from app.dashboard.keys import NetworkKey
from app.dashboard.widgets.handover import Code, import_line, load_expression
from densenet_core.networks.spec import Spec

Imports = Mapping[str, str]  # a module -> the names that are imported of it
SCREEN = {"analysis": "save_figure", "analysis.figures.style.from_screen": "paper_figure"}
TABLE = {"analysis.figures.export": "save_table"}


def script(key: NetworkKey, imports: Imports, lines: Sequence[str], command: str | None = None) -> Code:
    """Return code that opens the network as ``network``, after the imports, then has the lines.

    Args:
        command: the command line that does the same.
    """
    return plain_script(imports, [f"network = {load_expression(key)}", *lines], command, {import_line(key)})


def plain_script(imports: Imports, lines: Sequence[str], command: str | None = None, more: Iterable[str] = ()) -> Code:
    """Return code that has the lines after the imports.

    Args:
        command: the command line that does the same.
        more: lines of further imports.
    """
    named = {f"from {module} import {names}" for module, names in imports.items()}
    return Code("\n".join([*sorted(named | set(more)), "", *lines]), command)


def spec_script(spec: Spec, imports: Imports, lines: Sequence[str]) -> Code:
    """Return code about an architecture, which it opens as ``spec``."""
    return plain_script(joined(imports, spec_imports(spec)), [f"spec = {spec_expression(spec)}", *lines])


def spec_expression(spec: Spec) -> str:
    """Return the Python that makes a spec: its class with what is not the default.

    >>> from densenet_core import DenseNetSpec
    >>> spec_expression(DenseNetSpec((4, 1), growth_rate=4))
    'DenseNetSpec(block_config=(4, 1), growth_rate=4)'
    """
    given = {field.name: getattr(spec, field.name) for field in fields(spec) if field.init}
    defaults = {field.name: field.default for field in fields(spec)}
    options = [f"{name}={value!r}" for name, value in given.items() if value != defaults[name]]
    return f"{type(spec).__name__}({', '.join(options)})"


def spec_imports(*specs: Spec) -> dict[str, str]:
    """Return the imports of what ``spec_expression`` needs."""
    return joined(*({type(spec).__module__: type(spec).__name__} for spec in specs))


def joined(*imports: Imports) -> dict[str, str]:
    """Join imports: each module and each name once."""
    names: dict[str, set[str]] = {}
    for own in imports:
        for module, given in own.items():
            names.setdefault(module, set()).update(given.split(", "))
    return {module: ", ".join(sorted(own)) for module, own in names.items()}
