"""Commands that train: one network, or a grid of them."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated, Any

import typer

from app.commands.common import DataOption, NormalizeOption


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


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The grid: archs, seeds and [training].")],
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Where run folders lie.")] = Path("runs"),
    data: DataOption = Path("data"),
    results: Annotated[
        Path | None, typer.Option(help="Write the results here: .csv.", show_default="RUNS/FILE/results.csv")
    ] = None,
) -> None:
    """Train a grid of networks and seeds. The same line again goes on where it stopped."""
    from analysis.figures.export import save_table
    from analysis.results import measured_results
    from densenet_core.sweep import load_sweep, run_sweep

    gc.enable()
    configs = load_sweep(file, str(runs), str(data))
    folders = run_sweep(configs)
    table = measured_results(folders, include_zoo=False)
    print("wrote", save_table(table, results or runs / file.stem / "results.csv"), f"({len(table)} runs)")
