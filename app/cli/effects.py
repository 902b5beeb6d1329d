"""Commands that ask what connections do: how measures agree, and pruning."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from analysis.reuse.measures import MEASURES, needs_images
from app.cli.common import (
    CheckpointArgument,
    DataOption,
    DatasetOption,
    ImagesOption,
    NormalizeOption,
    measured,
    open_network,
    open_test_images,
)
from app.cli.output import print_table


def agreement(
    checkpoint: CheckpointArgument,
    first: Annotated[str, typer.Option(help=f"A measure: {', '.join(MEASURES)}.")] = "mean_abs_weight",
    second: Annotated[str, typer.Option(help="Another.")] = "ablation",
    dataset: DatasetOption = None,
    data: DataOption = Path("data"),
    normalize: NormalizeOption = None,
    images: ImagesOption = 500,
    every_kind: Annotated[bool, typer.Option("--every-kind", help="Not dense layers alone as targets.")] = False,
    figure: Annotated[Path | None, typer.Option(help="Write the scatter here: .pdf, .svg or .png.")] = None,
) -> None:
    """Whether two measures of feature reuse order the connections alike, and where they do not."""
    from analysis.figures.agreement import agreement_figure
    from analysis.figures.export import save_figure
    from analysis.reuse.agreement import agreement as agree
    from analysis.reuse.agreement import disagreements

    gc.enable()
    network, kind = open_network(checkpoint), None if every_kind else "dense_layer"
    taken = open_test_images(network, dataset, data, normalize) if needs_images((first, second)) else None
    reuse = measured(network, (first, second), taken, images)
    found = agree(reuse, first, second, kind)
    print(f"{network.spec.title}: {first} and {second} on {found.num_connections} connections")
    print(f"rank correlation (Spearman) {found.spearman:.2f}, 95 % interval {found.low:.2f} to {found.high:.2f}")
    print(
        f"within a target, mean {found.within_targets:.2f}; of the {found.top} largest {found.overlap:.0%} are the same"
    )
    rows = disagreements(reuse, first, second, kind)
    print_table(
        ("block", "source", "target", first, "rank", second, "rank"),
        [
            (str(r[0]), str(r[1]), str(r[2]), f"{r[4]:.3g}", f"{r[6]:.2f}", f"{r[5]:.3g}", f"{r[7]:.2f}")
            for r in rows.itertuples(index=False, name=None)
        ],
    )
    if figure:
        print("wrote", *save_figure(agreement_figure(reuse, first, second, kind), figure, reuse))


def prune(
    checkpoint: CheckpointArgument,
    out: Annotated[Path, typer.Option(help="Write the pruned network here: .safetensors.")],
    keep: Annotated[float, typer.Option(help="Share of the budget that is left, above 0 and at most 1.")] = 0.6,
    measure: Annotated[str, typer.Option(help="By which the least go first, as in reuse --measure.")] = "taylor",
    budget: Annotated[str, typer.Option(help="connections, params or mult_adds.")] = "connections",
    dataset: DatasetOption = None,
    data: DataOption = Path("data"),
    normalize: NormalizeOption = None,
    images: ImagesOption = 500,
    finetune: Annotated[int, typer.Option(metavar="EPOCHS", help="Train so many epochs more.")] = 0,
    learning_rate: Annotated[float, typer.Option(help="Of fine-tuning, the highest.")] = 0.01,
    onnx: Annotated[Path | None, typer.Option(help="Write it as ONNX too: .onnx.")] = None,
) -> None:
    """Cut the least important connections: a smaller network, with its cost and error before and after.

    Measures on data are taken on training images, errors on all test images.
    """
    from analysis.reuse.pruning import before_and_after
    from analysis.reuse.pruning import prune as prune_network
    from densenet_core import save_checkpoint
    from densenet_core.data.datasets import load_measuring_images
    from densenet_core.data.recorded import choose_data
    from densenet_core.training.evaluation import check_fit

    gc.enable()
    if out.suffix != ".safetensors":
        raise ValueError(f"--out {str(out)!r} does not end in .safetensors")
    options: dict[str, Any] = {"budget": budget}
    network = open_network(checkpoint)
    chosen = choose_data(network.record, dataset, cast(Any, normalize))
    chosen_by, taken = load_measuring_images(chosen.dataset, data, chosen.normalize)
    check_fit(network.architecture, taken)
    reuse = measured(network, (measure,), chosen_by, images)
    pruned = prune_network(network, reuse, measure, keep, input_size=taken.image_size, **options)
    if finetune:
        from densenet_core.data.datasets import load_splits
        from densenet_core.training.finetuning import finetune as train_further

        pruned = train_further(
            pruned, load_splits(chosen.dataset, data, normalize=chosen.normalize), finetune, learning_rate
        )
    save_checkpoint(pruned, out)
    print_table(
        ("", "before", "after"),
        [(row[0], _number(row[1]), _number(row[2])) for row in before_and_after(network, pruned, taken).to_numpy()],
    )
    print("wrote", out)
    if onnx:
        from densenet_core.checkpoints.onnx_export import export_onnx

        difference = export_onnx(pruned, onnx, taken.image_size)
        print(f"wrote {onnx} (scores by onnxruntime within {difference:.1g} of PyTorch's)")


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
