"""Commands about what networks cost and reach: costs, comparisons, the paper's figures and tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.common import open_network, print_table

if TYPE_CHECKING:
    import pandas as pd

    from densenet_core.models import Spec

NetworkArgument = Annotated[
    str, typer.Argument(metavar="NETWORK", help="121, densenet-bc-100-12, resnet50, ..., or a checkpoint.")
]
InputOption = Annotated[
    int | None,
    typer.Option("--input", help="Pixels a side of the images.", show_default="what the network is made for"),
]
FIGURES = ("3", "4-left", "4-middle", "4-right", "5")


def cost(
    network: NetworkArgument,
    input_size: InputOption = None,
    layers: Annotated[bool, typer.Option("--layers", help="A line a layer instead of a stage.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write every layer here: .csv.")] = None,
) -> None:
    """What a network costs: parameters, mult_adds (FLOPs are twice as many), other operations, activations."""
    from analysis.cost import SUMMED, count_cost, total_cost
    from analysis.figures.export import check_ending, save_table
    from analysis.memory import training_activation_bytes

    if csv:
        check_ending(csv, ("csv",), "table")
    spec = _spec(network)
    counted = count_cost(spec, input_size)
    per = counted if layers else counted.groupby("stage", sort=False)[list(SUMMED)].sum().reset_index()
    first = ["name", "kind", "output_shape"] if layers else ["stage"]
    total = total_cost(counted)
    rows = [[*(str(row[key]) for key in first), *(f"{row[key]:,}" for key in SUMMED)] for _, row in per.iterrows()]
    rows.append(["total", *[""] * (len(first) - 1), *(f"{total[key]:,}" for key in SUMMED)])
    print(spec.title)
    print_table([*first, *SUMMED], rows)
    print(f"activations kept in training, one image: {training_activation_bytes(spec, input_size):,} bytes")
    if csv:
        print("wrote", save_table(counted, csv))


def compare(
    a: NetworkArgument,
    b: NetworkArgument,
    input_size: InputOption = None,
    measure: Annotated[bool, typer.Option("--measure", help="Time both on this machine too.")] = False,
) -> None:
    """Two networks side by side: sizes, costs, receptive field, shortest path; measured times if asked for."""
    from analysis.comparison import compare as compare_networks
    from analysis.comparison import compare_stages

    specs = {a: _spec(a), b if b != a else f"{b} (again)": _spec(b)}
    table = compare_networks(specs, input_size)
    rows = [[str(name), *(_shown(cell) for cell in row)] for name, row in zip(table.index, table.values, strict=True)]
    print_table(["", *table.columns], rows)
    print()
    stages = compare_stages(specs, input_size)
    print_table(list(stages.columns), [[_shown(cell) for cell in row] for row in stages.itertuples(index=False)])
    if measure:
        from analysis.latency import measure_latency

        times = measure_latency(specs, int(str(table.loc["input_size", a])))
        print()
        print_table(list(times.columns), [[_shown(cell) for cell in row] for row in times.itertuples(index=False)])


def figure(
    which: Annotated[str, typer.Argument(metavar="3|4-left|4-middle|4-right|5", help="The paper's number.")],
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Run folders; for 5 one checkpoint. The suite's own if left out."),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Write the figure here: .pdf, .svg or .png; its table goes beside it.")
    ] = Path("figure.pdf"),
) -> None:
    """One of the paper's figures: 3 from published numbers, 4 from runs, 5 for a network."""
    from analysis import save_figure

    drawn, table = _figure(which, runs or [])
    print("wrote", *save_figure(drawn, out, table))


def table(
    number: Annotated[int, typer.Argument(metavar="1|2|3", help="The paper's number.")],
    form: Annotated[str, typer.Option("--format", help="text, latex or csv.")] = "text",
    runs: Annotated[
        list[Path] | None, typer.Option("--run", help="A run folder, as a further row; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write it here instead of printing it.")] = None,
) -> None:
    """One of the paper's tables, with runs of your own as further rows."""
    from analysis.results import measured_results
    from analysis.tables import latex_table, paper_table

    if form not in ("text", "latex", "csv"):
        raise ValueError(f"format {form!r} is none of text, latex, csv")
    own = measured_results(runs or [], include_zoo=False)
    if own.attrs["skipped"]:
        raise ValueError(own.attrs["skipped"][0])
    content = paper_table(number, own)
    if form == "latex":
        text = latex_table(content)
    else:
        text = str(content.to_csv(index=False) if form == "csv" else content.to_string(index=False))
    text = text.rstrip() + "\n"
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
        print("wrote", out)
    else:
        print(text, end="")


def _figure(which: str, runs: list[str]) -> tuple[Any, pd.DataFrame]:
    from analysis import connection_weights, feature_reuse_figure
    from analysis.figures.by_number import figure_3, figure_4
    from analysis.figures.curves import training_curves_figure
    from analysis.results import measured_results, shipped_results
    from analysis.training_curves import training_curves

    if which == "3":
        if runs:
            raise ValueError(f"figure 3 is of published numbers: it takes no run ({runs[0]})")
        return figure_3()
    if which in ("4-left", "4-middle"):
        results = measured_results(runs, include_zoo=False) if runs else shipped_results()
        if results.attrs.get("skipped"):
            raise ValueError(results.attrs["skipped"][0])
        return figure_4("left" if which == "4-left" else "middle", results)
    if which == "4-right":
        if not runs:
            raise ValueError("figure 4-right needs run folders: densenet-lens figure 4-right runs/A runs/B")
        if len(names := {Path(run).name for run in runs}) < len(runs):
            raise ValueError(f"figure 4-right needs runs of different names: they are {', '.join(sorted(names))}")
        if len(datasets := sorted(set(measured_results(runs, include_zoo=False)["dataset"]))) > 1:
            raise ValueError(f"the runs have different data ({', '.join(datasets)}): their errors don't compare")
        curves = training_curves({Path(run).name: run for run in runs})
        for reason in curves.attrs["skipped"]:
            print("densenet-lens:", reason, file=sys.stderr)
        return training_curves_figure(curves), curves
    if which == "5":
        if len(runs) != 1:
            raise ValueError("figure 5 needs one checkpoint: densenet-lens figure 5 CHECKPOINT")
        connections = connection_weights(open_network(runs[0]))
        return feature_reuse_figure(connections), connections
    raise ValueError(f"figure {which!r} is none of {', '.join(FIGURES)}")


def _spec(text: str) -> Spec:
    """The architecture of a checkpoint, or of a network's name."""
    from densenet_core.models import published_spec
    from densenet_core.zoo import zoo_names

    return open_network(text).architecture if Path(text).exists() or text in zoo_names() else published_spec(text)


def _shown(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.1f}" if isinstance(cell, float) else str(cell)
