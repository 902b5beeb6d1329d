"""Commands on the effect of connections: agreement of measures, and pruning."""

from __future__ import annotations

import gc
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from analysis.reuse.baselines import ORDERS, PATTERNS
from analysis.reuse.measures import MEASURES, needs_images
from app.cli.common import (
    AS_FOUND,
    AS_RECORDED,
    CheckpointArgument,
    DataSource,
    FigureOption,
    ImagesOption,
    JsonOption,
    Reading,
    WorkersOption,
    check_choice,
    check_ending,
    check_number,
    grouped_options,
)
from app.cli.opening import check_not_read, measure_network, open_measuring_splits, open_network, open_test_images
from app.cli.output import print_json, print_line, print_table, print_text, print_written, write_figure

if TYPE_CHECKING:
    import pandas as pd

    from densenet_core import Checkpoint
    from densenet_core.data.images import Images


@grouped_options
def agreement(
    checkpoint: CheckpointArgument,
    first: Annotated[
        str,
        typer.Option(callback=check_choice("--first", MEASURES), help=f"Measure: {', '.join(MEASURES)}."),
    ] = "mean_abs_weight",
    second: Annotated[
        str, typer.Option(callback=check_choice("--second", MEASURES), help="Measure to compare it with.")
    ] = "ablation",
    source: DataSource = AS_RECORDED,
    images: ImagesOption = 500,
    workers: WorkersOption = 1,
    every_kind: Annotated[
        bool, typer.Option("--every-kind", help="Include connections into transitions and the classifier.")
    ] = False,
    figure: FigureOption = None,
    reading: Reading = AS_FOUND,
    as_json: JsonOption = False,
) -> None:
    """Compare how two measures of feature reuse rank the connections, with structural baselines and noise."""
    from analysis.figures.agreement import agreement_figure
    from analysis.reuse.agreement import agreement_table, describe_reliability, disagreements

    if first == second:
        raise ValueError(f"--first and --second are both {first}: choose two measures")
    gc.enable()
    network = open_network(checkpoint, reading)
    kind = None if every_kind else "dense_layer"
    taken = open_test_images(network, source, densenet_only=True) if needs_images((first, second)) else None
    reuse = measure_network(network, (first, second), taken, images, workers=workers)
    found = agreement_table(reuse, second, (first,), kind)
    rows = disagreements(reuse, first, second, kind)
    if as_json:
        content = {"network": network.spec.title, "first": first, "second": second, "into": kind}
        print_json(content | {"agreement": found.to_dict("records"), "disagreements": rows.to_dict("records")})
    else:
        print_line(f"{network.spec.title}: rank correlation (Spearman) with {second}, into {kind or 'all targets'}")
        _print_agreement(found)
        _print_cautions(first, describe_reliability(reuse, kind))
        _print_disagreements(rows, first, second)
    if figure:
        write_figure(agreement_figure(reuse, first, second, kind), figure, reuse)


def _print_agreement(found: pd.DataFrame) -> None:
    print_table(
        ("measure", "source 0", "n", "Spearman", "95 %, by target", "by source", "corrected", "within", "overlap"),
        [
            (
                row.measure,
                "with" if row.block_input else "without",
                str(row.num_connections),
                _correlation(row.spearman),
                _interval(row.low, row.high),
                _interval(row.low_by_source, row.high_by_source),
                _correlation(row.corrected),
                _correlation(row.within_targets),
                f"{row.overlap:.0%} of {row.top}",
            )
            for row in found.itertuples()
        ],
    )
    print_line("Intervals: bootstrap over targets, and over sources. Baselines do not use the weights.")


def _correlation(value: Any) -> str:
    """Return a correlation, or a dash where there is none: all values of a side are the same."""
    return "-" if math.isnan(value) else f"{value:z.2f}"


def _interval(low: Any, high: Any) -> str:
    return "-" if math.isnan(low) else f"{low:z.2f} to {high:z.2f}"


def _print_cautions(measure: str, reliability: str) -> None:
    if MEASURES[measure].comparable == "target":
        print_line(
            f"{measure} is a share within each target: its order across targets partly follows their source counts."
        )
    if reliability:
        print_text(reliability)


def _print_disagreements(rows: pd.DataFrame, first: str, second: str) -> None:
    shown = ["block", "source_layer", "target_layer", first, f"rank_{first}", second, f"rank_{second}"]
    print_table(
        ("block", "source", "target", first, "rank", second, "rank"),
        [
            (str(block), str(source), str(target), f"{a:.3g}", f"{rank_a:.2f}", f"{b:.3g}", f"{rank_b:.2f}")
            for block, source, target, a, rank_a, b, rank_b in rows[shown].itertuples(index=False, name=None)
        ],
    )


def _budgets() -> tuple[str, ...]:
    from analysis.reuse.pruning import Budget

    return get_args(Budget)


@grouped_options
def prune(
    checkpoint: CheckpointArgument,
    out: Annotated[
        Path,
        typer.Option(
            callback=check_ending("--out", "safetensors"), help="Write the pruned network to this file: .safetensors."
        ),
    ],
    keep: Annotated[
        float,
        typer.Option(
            callback=check_number("--keep", above=0, maximum=1),
            help="Share of the budget to keep, above 0 and at most 1.",
        ),
    ] = 0.6,
    measure: Annotated[
        str,
        typer.Option(
            callback=check_choice("--measure", ORDERS),
            help=f"Measure or pattern by which connections are removed, least first: {', '.join(ORDERS)}.",
        ),
    ] = "taylor",
    budget: Annotated[
        str,
        typer.Option(
            callback=check_choice("--budget", _budgets),
            help="Budget: connections, params or mult_adds.",
        ),
    ] = "connections",
    source: DataSource = AS_RECORDED,
    images: Annotated[
        int,
        typer.Option(
            metavar="NUMBER",
            callback=check_number("--images", minimum=1),
            help="Number of training images to measure on, evenly spaced over the set.",
        ),
    ] = 500,
    reestimate_norms: Annotated[
        bool, typer.Option("--reestimate-norms", help="Re-estimate the batch norms' statistics on training images.")
    ] = False,
    finetune: Annotated[
        int,
        typer.Option(
            metavar="EPOCHS",
            callback=check_number("--finetune", minimum=0),
            help="Fine-tune the pruned network for this many epochs.",
        ),
    ] = 0,
    learning_rate: Annotated[
        float,
        typer.Option(callback=check_number("--learning-rate", above=0), help="Highest learning rate of fine-tuning."),
    ] = 0.01,
    against_scratch: Annotated[
        int,
        typer.Option(
            metavar="EPOCHS",
            callback=check_number("--against-scratch", minimum=0),
            help="Compare fine-tuning with training from scratch for this many epochs, three seeds each.",
        ),
    ] = 0,
    onnx: Annotated[
        Path | None,
        typer.Option(callback=check_ending("--onnx", "onnx"), help="Also write it to this file: .onnx."),
    ] = None,
    reading: Reading = AS_FOUND,
) -> None:
    """Remove the least important connections, and report cost and error before and after.

    Measures on images and fine-tuning use training images; errors are measured on all test images. In class folders
    without training and test parts, every other image serves as a training image.
    """
    from analysis.reuse import repair
    from analysis.reuse.pruning import compare_with_scratch
    from analysis.reuse.pruning import prune as prune_network
    from densenet_core import save_checkpoint
    from densenet_core.data.images import sample_evenly

    gc.enable()
    check_not_read("--out", out, checkpoint)
    network = open_network(checkpoint, reading)
    splits = open_measuring_splits(network, source)
    reuse = measure_network(network, () if measure in PATTERNS else (measure,), splits.train, images)
    pruned = prune_network(network, reuse, measure, keep, cast(Any, budget), splits.test.image_size)
    if reestimate_norms:
        pruned = repair.reestimate_norms(pruned, sample_evenly(splits.train, images))
    if against_scratch:
        print_text(compare_with_scratch(pruned, splits, finetune or 1, against_scratch).to_string(index=False))
    if finetune:
        from densenet_core.training import finetuning

        pruned = finetuning.finetune(pruned, splits, finetune, learning_rate)
    save_checkpoint(pruned, out)
    _print_before_and_after(network, pruned, splits.test)
    print_written(out)
    if onnx:
        _write_onnx(pruned, onnx, splits.test.image_size)


def _print_before_and_after(network: Checkpoint, pruned: Checkpoint, test: Images) -> None:
    from analysis.reuse.pruning import before_and_after, explain_memory

    costs = before_and_after(network, pruned, test)
    print_table(("", "before", "after"), [(row[0], _number(row[1]), _number(row[2])) for row in costs.to_numpy()])
    if note := explain_memory(costs):
        print_text(note)


def _write_onnx(network: Checkpoint, file: Path, input_size: int) -> None:
    from densenet_core.checkpoints.onnx_export import export_onnx

    difference = export_onnx(network, file, input_size)
    print_written(file, about=f" (scores by onnxruntime within {difference:.1g} of PyTorch's)")


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
