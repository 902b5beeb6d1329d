"""Commands about what networks cost and reach: costs, comparisons, the paper's tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common import AS_FOUND, InputOption, JsonOption, Reading, check_ending, grouped_options
from app.cli.opening import open_sized_spec
from app.cli.output import print_json, print_line, print_table, print_text, print_written

if TYPE_CHECKING:
    import pandas as pd

NetworkArgument = Annotated[
    str, typer.Argument(metavar="NETWORK", help="121, densenet-bc-100-12, resnet50, ..., or a checkpoint.")
]


@grouped_options
def cost(
    network: NetworkArgument,
    input_size: InputOption = None,
    layers: Annotated[bool, typer.Option("--layers", help="Print a row per layer instead of per stage.")] = False,
    csv: Annotated[
        Path | None,
        typer.Option(callback=check_ending("table", "csv"), help="Write a row per layer to this file: .csv."),
    ] = None,
    reading: Reading = AS_FOUND,
    as_json: JsonOption = False,
) -> None:
    """Count the parameters, mult_adds (FLOPs are twice as many), other operations and activations of a network."""
    from analysis.architecture.cost import SUMMED, count_cost, total_cost
    from analysis.architecture.memory import training_activation_bytes
    from analysis.figures.export import save_table
    from densenet_core import DenseNetSpec

    spec, usual = open_sized_spec(network, reading)
    size = input_size or usual
    counted = count_cost(spec, size).assign(input_size=size)
    labels = ["name", "kind", "output_shape"] if layers else ["stage"]
    per = counted if layers else counted.groupby("stage", sort=False)[list(SUMMED)].sum().reset_index()
    rows = per[[*labels, *SUMMED]]
    total = {key: total_cost(counted)[key] for key in SUMMED}
    memory = {"training": training_activation_bytes(spec, size)}
    if isinstance(spec, DenseNetSpec) and spec.norm == "batch":
        memory["memory_efficient"] = training_activation_bytes(spec, size, memory_efficient=True)
    if as_json:
        about = {"network": spec.title, "input_size": size}
        print_json({**about, "rows": rows.to_dict("records"), "total": total, "activation_bytes": memory})
    else:
        print_line(f"{spec.title}, images of {' x '.join([str(size)] * spec.spatial_dims)} pixels")
        _print_costs(rows, total)
        print_line(f"activations kept in training, one image: {memory['training']:,} bytes")
        if "memory_efficient" in memory:
            print_line(f"  with --memory-efficient: {memory['memory_efficient']:,} bytes")
    if csv:
        print_written(save_table(counted, csv))


def _print_costs(rows: pd.DataFrame, total: Mapping[str, int]) -> None:
    """Print labels and counts of each row, and the totals below the counts."""
    labels = [str(name) for name in rows if name not in total]
    cells = [[*(str(row[name]) for name in labels), *(f"{row[key]:,}" for key in total)] for _, row in rows.iterrows()]
    cells.append(["total", *[""] * (len(labels) - 1), *(f"{count:,}" for count in total.values())])
    print_table([*labels, *total], cells)


@grouped_options
def compare(
    a: NetworkArgument,
    b: NetworkArgument,
    input_size: InputOption = None,
    measure: Annotated[bool, typer.Option("--measure", help="Also time both on this machine.")] = False,
    reading: Reading = AS_FOUND,
) -> None:
    """Compare two networks: sizes, costs, receptive field, shortest path and, with --measure, times."""
    from analysis.architecture.comparison import compare as compare_networks
    from analysis.architecture.comparison import compare_stages

    (first, usual), (second, _) = (open_sized_spec(text, reading) for text in (a, b))
    specs, size = {a: first, b if b != a else f"{b} (again)": second}, input_size or usual
    table = compare_networks(specs, size)
    rows = [[str(name), *(_to_text(cell) for cell in row)] for name, row in zip(table.index, table.values, strict=True)]
    print_table(["", *table.columns], rows)
    print_line()
    stages = compare_stages(specs, size)
    print_table(list(stages.columns), [[_to_text(cell) for cell in row] for row in stages.itertuples(index=False)])
    if measure:
        from analysis.architecture.latency import measure_latency

        times = measure_latency(specs, size)
        print_line()
        print_table(list(times.columns), [[_to_text(cell) for cell in row] for row in times.itertuples(index=False)])


FORMS = {".txt": "text", ".tex": "latex", ".csv": "csv"}  # of tables, by the endings of files


def table(
    number: Annotated[int, typer.Argument(metavar="1|2|3", help="The paper's number.")],
    form: Annotated[
        str | None,
        typer.Option("--format", help="Output format: text, latex or csv; by default by the ending of --out, or text."),
    ] = None,
    runs: Annotated[
        list[Path] | None, typer.Option("--run", help="A run folder, as an additional row; repeatable.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=check_ending("--out", "txt", "tex", "csv"),
            help="Write the table to this file instead of printing it: .txt, .tex or .csv.",
        ),
    ] = None,
) -> None:
    """Print one of the paper's tables, with your own runs as additional rows."""
    from analysis.figures.export import table_bytes, write_content
    from analysis.results.results import measured_results
    from analysis.results.tables import latex_table, paper_table

    form = form or FORMS[out.suffix.lower() if out else ".txt"]
    if form not in FORMS.values():
        raise ValueError(f"format {form!r} must be text, latex or csv")
    own = measured_results(runs or [], include_zoo=False)
    if own.attrs["skipped"]:
        raise ValueError(own.attrs["skipped"][0])
    content = paper_table(number, own)
    if form == "latex":
        text = latex_table(content)
    else:
        text = table_bytes(content).decode() if form == "csv" else str(content.to_string(index=False))
    text = text.rstrip() + "\n"
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_content(out, text.encode())
        print_written(out)
    else:
        print_text(text.rstrip())


def _to_text(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.1f}" if isinstance(cell, float) else str(cell)
