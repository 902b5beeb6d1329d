"""The command line, `densenet-lens`: every command chooses, calls a function or two and prints what they gave.

What a user gets wrong is told in one line on stderr, with exit code 2. Heavy libraries are imported by the command
that needs them, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

    from densenet_core import Checkpoint

app = typer.Typer(
    name="densenet-lens",
    help="See how the layers of a trained DenseNet reuse each other's features.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

CheckpointArgument = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint file, a run folder, or a name of the zoo.")
]
DataOption = Annotated[Path, typer.Option(metavar="DIR", help="Where the data sets lie.")]
NormalizeOption = Annotated[
    str | None,
    typer.Option(
        help="For the data set folder: whose channel statistics: cifar10, cifar100, imagenet, digits or none.",
        show_default="imagenet",
    ),
]


def main() -> None:
    """Runs the command line and exits with its code."""
    gc.disable()  # collecting while torch is imported costs a fifth of the start; long commands turn it on again
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command: 0, or 2 for what the user got wrong, or 130 where it was interrupted."""
    try:
        return app(list(arguments), prog_name="densenet-lens", standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted; the same line again goes on with a training where it was", code=130)
    except typer.TyperException as error:
        return _complain(f"{error.format_message()} (densenet-lens --help tells more)", code=2)
    except (ValueError, OSError) as error:  # every error of the suite that a user can mend is a ValueError
        return _complain(str(error), code=2)


def _complain(message: str, code: int) -> int:
    print("densenet-lens:", " ".join(message.split()), file=sys.stderr)
    return code


@app.command()
def reuse(
    checkpoint: CheckpointArgument,
    figure: Annotated[Path | None, typer.Option(help="Write Figure 5 here: .pdf, .svg or .png.")] = None,
    table: Annotated[Path | None, typer.Option(help="Write the feature-reuse table here: .csv.")] = None,
    measure: Annotated[str, typer.Option(help="mean_abs_weight or l1_per_input_map.")] = "mean_abs_weight",
    scaling: Annotated[
        str, typer.Option(help="Of the colours: block_max, network_max, target_max, target_minmax or none.")
    ] = "block_max",
    color_map: Annotated[str, typer.Option(help="jet, as in the paper, or viridis or cividis.")] = "jet",
    columns: Annotated[int, typer.Option(help="Width in columns of a paper: 1 or 2.")] = 2,
) -> None:
    """Feature reuse: the paper's Figure 5 and its table, and what the paper's four observations say here."""
    from analysis import connection_weights, feature_reuse_figure, save_figure
    from analysis.figures.export import save_table

    look: dict[str, Any] = {"measure": measure, "scaling": scaling, "color_map": color_map, "columns": columns}
    network = _network(checkpoint)
    connections = connection_weights(network)
    print(f"{network.spec.title}: {len(connections)} connections in {connections['block'].nunique()} blocks")
    if table:
        print("wrote", save_table(connections, table))
    if figure:
        # the table beside the figure, unless it was asked for elsewhere
        drawn = feature_reuse_figure(connections, **look)
        print("wrote", *save_figure(drawn, figure, None if table else connections))
    _print_observations(connections)


def _print_observations(connections: pd.DataFrame) -> None:
    from analysis import figure5_observations

    verdicts = {True: "holds", False: "does not hold", None: "not decidable"}
    print("The paper's observations on Figure 5, read off this network:")
    for seen in figure5_observations(connections):
        value = seen.reason if seen.value is None else f"{seen.value:.3g}, {seen.criterion}"
        print(f"  {seen.number}. {seen.statement}\n     {verdicts[seen.holds]}: {seen.statistic} ({value})")


@app.command()
def train(
    arch: Annotated[str, typer.Option(help="densenet-40-12, densenet-bc-100-12, densenet121, ...")],
    dataset: Annotated[str, typer.Option(help="digits, cifar10, cifar100, svhn, imagenet or folder.")] = "digits",
    epochs: Annotated[int, typer.Option(help="How often all training images are seen.")] = 300,
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation and dropout.")] = 0,
    name: Annotated[str | None, typer.Option(help="The run folder's name.", show_default="ARCH-DATASET")] = None,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Where run folders lie.")] = Path("runs"),
    data: DataOption = Path("data"),
    augment: Annotated[bool, typer.Option("--augment", help="Mirror and shift: the paper's '+'.")] = False,
    validation: Annotated[bool, typer.Option("--validation", help="Hold the paper's validation images out.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Divided by 10 at 50 % and 75 % of the epochs.")] = 0.1,
    weight_decay: Annotated[float, typer.Option(help="On every parameter.")] = 1e-4,
    drop_rate: Annotated[float, typer.Option(help="Dropout; the paper has 0.2 without augmentation.")] = 0.0,
    precision: Annotated[str, typer.Option(help="fp32, or bf16 for autocast.")] = "fp32",
    normalize: NormalizeOption = None,
    title: Annotated[str | None, typer.Option(help="What the record calls the data set.")] = None,
) -> None:
    """Train a DenseNet by the paper's recipe. The same line again resumes it."""
    from densenet_core.runs import METRICS, read_metrics
    from densenet_core.training import TrainingConfig
    from densenet_core.training import train as train_run

    gc.enable()
    options: dict[str, Any] = {
        "arch": arch,
        "dataset": dataset,
        "name": name or f"{arch}-{dataset}",
        "epochs": epochs,
        "seed": seed,
        "augment": augment,
        "validation": validation,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "drop_rate": drop_rate,
        "precision": precision,
        "normalize": normalize,
        "dataset_title": title,
        "data": str(data),
        "runs_dir": str(runs),
    }
    folder = train_run(TrainingConfig(**options))
    last = read_metrics(folder / METRICS)[-1]
    print(f"{folder}: {last.split} error {last.error:.2f} % after epoch {last.epoch}")


@app.command()
def evaluate(
    checkpoint: CheckpointArgument,
    dataset: Annotated[str, typer.Option(help="digits, cifar10, cifar100, svhn, imagenet or folder.")] = "digits",
    data: DataOption = Path("data"),
    normalize: NormalizeOption = None,
) -> None:
    """Loss and error of a network on a data set's test images, or on class folders of images."""
    from densenet_core.data import load_test_images
    from densenet_core.evaluation import check_fit
    from densenet_core.evaluation import evaluate as evaluate_network

    gc.enable()
    network = _network(checkpoint)
    options: dict[str, Any] = {"normalize": normalize}
    images = load_test_images(dataset, data, **options)
    check_fit(network.spec, images)
    result = evaluate_network(network.to_model(), images)
    _print_pairs(
        [
            ("Network", network.spec.title),
            ("Images", f"{result.num_images:,}"),
            ("Loss", f"{result.loss:.4f} nats"),
            ("Top-1 error", f"{result.top1_error:.2f} %"),
            ("Top-5 error", f"{result.top5_error:.2f} %"),
        ]
    )


@app.command()
def inspect(
    checkpoint: CheckpointArgument,
    layers: Annotated[bool, typer.Option("--layers", help="List every tensor.")] = False,
) -> None:
    """What a checkpoint holds: network, layers, parameters, and the record of its training."""
    from app.text import network_facts

    network = _network(checkpoint)
    ignored = f"{len(network.ignored)} tensors: {', '.join(network.ignored[:3])}" if network.ignored else "-"
    architecture = [(name, str(value)) for name, value in asdict(network.spec).items()]
    _print_pairs([*network_facts(network), ("Layout", network.layout), ("Not used", ignored), *architecture])
    if layers:
        _print_table(
            ("tensor", "shape", "numbers"),
            [(key, " x ".join(map(str, t.shape)), f"{t.numel():,}") for key, t in network.state_dict.items()],
        )


@app.command()
def zoo() -> None:
    """List the networks that ship with the suite, each with its record."""
    from densenet_core import load_zoo, zoo_names

    networks = {name: load_zoo(name) for name in zoo_names()}
    _print_table(
        ("name", "network", "parameters", "trained on", "epochs", "seed", "test error"),
        [
            (
                name,
                network.spec.title,
                f"{network.num_params:,}",
                str(network.record["dataset"]),
                str(network.record["epochs"]),
                str(network.record["seed"]),
                f"{network.record['test_error']:.2f} %",
            )
            for name, network in networks.items()
        ],
    )


def _network(text: str) -> Checkpoint:
    from densenet_core import load_checkpoint, load_zoo, zoo_names

    if Path(text).exists():
        return load_checkpoint(text)
    if text in zoo_names():
        return load_zoo(text)
    raise ValueError(f"checkpoint {text!r} is neither a file, a run folder nor in the zoo ({', '.join(zoo_names())})")


def _print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    pairs = list(pairs)
    width = max(len(label) for label, _ in pairs)
    for label, value in pairs:
        print(f"{label:{width}}  {value}")


def _print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    rows = [header, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
