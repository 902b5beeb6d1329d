"""The code behind what a page shows of several networks or runs: costs, feature reuse, training, results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import NamedTuple

import pandas as pd

from app.dashboard.keys import NetworkKey
from app.dashboard.widgets.handover import Code, import_line, load_expression, user_name
from app.dashboard.widgets.scripts import SCREEN, TABLE, Imports, joined, plain_script, spec_expression, spec_imports
from densenet_core.networks.spec import Spec

SAVE = {"analysis": "save_figure"}
SPECS = "densenet_core.networks.names"
LATENCY = {"analysis.architecture.latency": "measure_latency"}
PAPER_COSTS = ("params", "mult_adds", "activation_bytes")  # that have a figure in the paper's style
MAX_LABELED = 12


class Side(NamedTuple):
    """A network that is compared: the weights in its file, or those of its run after an epoch."""

    key: NetworkKey
    epoch: int | None = None


def compared_code(named: Mapping[str, NetworkKey], imports: Imports, lines: Sequence[str], rest: str = "") -> Code:
    """Return code that opens the architectures of networks as ``specs``, by their names.

    Args:
        rest: of the command ``compare``; without it there is none.
    """
    loaders = {import_line(key) for key in named.values() if key.origin != "arch"}
    own = {SPECS: "published_spec"} if any(key.origin == "arch" for key in named.values()) else {}
    specs = ", ".join(f"{name!r}: {_spec_expression(key)}" for name, key in named.items())
    has_command = rest and all(map(_has_command, named.values()))
    words = ["densenet-lens compare", *(quote(user_name(key)) for key in named.values()), rest]
    return plain_script(
        joined(own, imports), [f"specs = {{{specs}}}", *lines], " ".join(words) if has_command else None, loaders
    )


def comparison_code(named: Mapping[str, NetworkKey], size: int) -> Code:
    """Return what compares networks' costs by stage."""
    imports = SAVE | {"analysis.architecture.comparison": "compare_stages"}
    imports |= {"analysis.figures.stage_costs": "stage_cost_figure"}
    lines = [
        f"table = compare_stages(specs, {size})",
        'save_figure(stage_cost_figure(table), "costs_by_stage.pdf", table)',
    ]
    return compared_code(named, imports, lines, f"--input {size}")


def compared_table_code(named: Mapping[str, NetworkKey], function: str, size: int, name: str, finish: str = "") -> Code:
    """Return what makes a table of ``analysis.architecture.comparison``.

    Args:
        finish: calls on the table before it is saved.
    """
    imports = joined(TABLE, {"analysis.architecture.comparison": function})
    return compared_code(named, imports, [f'save_table({function}(specs, {size}){finish}, "{name}.csv")'])


def latency_code(specs: Mapping[str, Spec], size: int, passes: int, training: bool) -> Code:
    """Return what measures how long networks take on the machine that runs it."""
    lines = [*_latency_lines(specs, size, passes, training), 'save_table(times, "latency.csv")']
    return plain_script(joined(TABLE, LATENCY, spec_imports(*specs.values())), lines)


def _latency_lines(specs: Mapping[str, Spec], size: int, passes: int, training: bool) -> list[str]:
    return [
        f"specs = {{{', '.join(f'{name!r}: {spec_expression(spec)}' for name, spec in specs.items())}}}",
        f"times = measure_latency(specs, {size}, repeats={passes}, training={training})",
    ]


class Results(NamedTuple):
    """The rows of results that a page draws, and what they are chosen from."""

    rows: pd.DataFrame  # of one data set and kind of error
    runs: tuple[str, ...] = ()  # the folders of the server's own runs
    specs: Mapping[str, Spec] = {}  # networks whose latency is measured
    size: int = 0  # of the images of that measurement, in pixels
    passes: int = 0


def efficiency_code(results: Results, cost: str, log: bool, pareto: bool) -> Code:
    """Return what draws results against a cost."""
    if cost in PAPER_COSTS:
        draw = {"analysis.figures.efficiency.paper": "efficiency_figure"}
        figure = f"efficiency_figure(table, costs=({cost!r},), log={log}, label_points={has_labels(results.rows)})"
        imports = SAVE
    else:
        draw = {"analysis.figures.efficiency.screen": "efficiency_screen"}
        figure = f"paper_figure(efficiency_screen(table, {cost!r}, {log}, {pareto}))"
        imports = SCREEN
    lines = [f'save_figure({figure}, "error_vs_{cost}.pdf", table)']
    return results_code(results, cost, joined(imports, draw), lines)


def has_labels(rows: pd.DataFrame) -> bool:
    """Return whether the points of a figure are few enough to be labeled."""
    return len(rows) <= MAX_LABELED


def results_code(results: Results, cost: str, imports: Imports, lines: Sequence[str]) -> Code:
    """Return code that makes the table of results that have this cost as ``table``; then come the lines."""
    rows = results.rows
    first, families = rows.iloc[0], sorted(map(str, rows["family"].unique()))
    published = rows[rows["origin"] == "published"]
    opening, functions = ["table = published_results()"], "published_results"
    if len(published) < len(rows):
        functions, opening = "known_results", [f"table = known_results({list(results.runs) or ''})"]
    origins = sorted(map(str, rows["origin"].unique()))
    opening += [
        f'table = table[(table["dataset"] == {first["dataset"]!r}) & (table["error_kind"] == {first["error_kind"]!r})]',
        f'table = table[table["origin"].isin({origins}) & table["family"].isin({families})]',
    ]
    if len(published):
        sources = sorted(map(str, published["source"].unique()))
        opening.append(f'table = table[(table["origin"] == "measured") | table["source"].isin({sources})]')
    if results.specs:
        opening += _latency_lines(results.specs, results.size, results.passes, training=False)
        opening += [
            'took = dict(zip(times["network"], times["forward_ms"], strict=True))',
            'table = table.assign(forward_ms=table["arch"].map(took))',
        ]
        imports = joined(imports, LATENCY, spec_imports(*results.specs.values()))
    opening.append(f"table = table.dropna(subset=[{cost!r}])")
    return plain_script(joined({"analysis.results.results": functions}, imports), [*opening, *lines])


def curves_code(folders: Mapping[str, Path], name: str, log: bool, smooth: bool) -> Code:
    """Return what draws the training curves of runs, under a file's name."""
    options = "".join(f", {option}=True" for option, is_on in {"log": log, "smooth": smooth}.items() if is_on)
    given = ", ".join(f"{run!r}: {str(folder)!r}" for run, folder in folders.items())
    imports = SAVE | {"analysis.figures.training.curves": "training_curves_figure"}
    imports |= {"analysis.results.training_curves": "training_curves"}
    lines = [
        f"table = training_curves({{{given}}})",
        f'save_figure(training_curves_figure(table{options}), "{name}.pdf", table)',
    ]
    return plain_script(imports, lines)


def difference_code(sides: Sequence[Side]) -> Code:
    """Return what draws the difference of two networks' feature reuse."""
    line = 'save_figure(difference_figure(table), "reuse_difference.pdf", table)'
    return _reuse_code(sides, "difference_figure", line, _networks_command(sides, "--figure reuse_difference.pdf"))


def two_networks_code(sides: Sequence[Side], names: tuple[str, str]) -> Code:
    """Return what draws two networks' feature reuse on one scale."""
    line = f'save_figure(two_networks_figure(table, {names}), "reuse_of_both.pdf", table)'
    return _reuse_code(sides, "two_networks_figure", line, None)


def _reuse_code(sides: Sequence[Side], figure: str, line: str, command: str | None) -> Code:
    imports = SAVE | {"analysis.figures.difference": figure}
    imports |= {"analysis.reuse.comparison.difference": "reuse_difference"}
    return tables_code(sides, imports, ["table = reuse_difference(*tables)", line], command)


def seeds_code(keys: Sequence[NetworkKey]) -> Code:
    """Return what draws mean and standard deviation of the feature reuse of several seeds."""
    imports = SAVE | {"analysis.figures.seeds": "seeds_figure"}
    imports |= {"analysis.reuse.comparison.seeds": "seed_statistics"}
    lines = ["table = seed_statistics(tables)", 'save_figure(seeds_figure(table), "reuse_seeds.pdf", table)']
    sides = [Side(key) for key in keys]
    command = _networks_command(sides, "--seeds --color-map viridis --figure reuse_seeds.pdf")
    return tables_code(sides, imports, lines, command)


def tables_code(sides: Sequence[Side], imports: Imports, lines: Sequence[str], command: str | None = None) -> Code:
    """Return code that makes the feature-reuse tables of several networks as ``tables``; then come the lines."""
    tables = ", ".join(
        f"connection_weights({load_expression(key)})" if epoch is None else f"reuse_at({key.name!r}, {epoch})"
        for key, epoch in sides
    )
    needed: list[Imports] = [imports]
    needed += [{"analysis": "connection_weights"}] if any(side.epoch is None for side in sides) else []
    needed += [{"analysis.reuse.emergence": "reuse_at"}] if any(side.epoch is not None for side in sides) else []
    loaders = {import_line(key) for key, epoch in sides if epoch is None}
    return plain_script(joined(*needed), [f"tables = [{tables}]", *lines], command, loaders)


def _networks_command(sides: Sequence[Side], rest: str) -> str | None:
    """Return the command ``reuse`` for several networks; None where it can't open one of them."""
    if not all(_has_command(key) and epoch is None for key, epoch in sides):
        return None
    return " ".join(["densenet-lens reuse", *(quote(user_name(key)) for key, _ in sides), rest])


def _has_command(key: NetworkKey) -> bool:
    """Return whether a command with several networks can open this one: its reading options are those of all."""
    return key.origin != "pretrained" and not key.reading


def _spec_expression(key: NetworkKey) -> str:
    return f"published_spec({key.name!r})" if key.origin == "arch" else f"{load_expression(key)}.architecture"
