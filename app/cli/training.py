"""Commands that train: one network, or a grid of them."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.common import DataOption, NormalizeOption
from app.cli.output import print_table


def train(
    arch: Annotated[str, typer.Option(help="densenet-40-12, densenet-bc-100-12, densenet121, resnet-20, ...")],
    dataset: Annotated[str, typer.Option(help="digits, cifar10, cifar100, svhn, imagenet or folder.")] = "digits",
    recipe: Annotated[
        str | None, typer.Option(help="cifar, svhn or imagenet (the paper's), or fast.", show_default="the data set's")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="How often all images are seen.", show_default="the recipe's")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation and dropout.")] = 0,
    name: Annotated[str | None, typer.Option(help="The run folder's name.", show_default="ARCH-DATASET")] = None,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Where run folders lie.")] = Path("runs"),
    data: DataOption = Path("data"),
    augment: Annotated[bool, typer.Option("--augment", help="Mirror and shift: the paper's '+'.")] = False,
    validation: Annotated[bool, typer.Option("--validation", help="Hold the paper's validation images out.")] = False,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.", show_default="the recipe's")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest.", show_default="the recipe's")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="On every parameter.", show_default="1e-4")] = None,
    drop_rate: Annotated[float | None, typer.Option(help="Dropout.", show_default="the recipe's")] = None,
    precision: Annotated[str, typer.Option(help="fp32, or bf16 for autocast.")] = "fp32",
    memory_efficient: Annotated[
        bool, typer.Option("--memory-efficient", help="Of DenseNets: memory linear in depth.")
    ] = False,
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile.")] = False,
    channels_last: Annotated[bool, typer.Option(help="The images' memory format; faster on most devices.")] = True,
    sync_batch_norm: Annotated[
        bool, typer.Option("--sync-batch-norm", help="On GPUs: batch statistics over all processes.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes that read photographs from disk.")] = 2,
    normalize: NormalizeOption = None,
    title: Annotated[str | None, typer.Option(help="What the record calls the data set.")] = None,
    reuse: Annotated[bool, typer.Option(help="Keep the feature-reuse table of every epoch.")] = True,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's events too.")] = False,
) -> None:
    """Train a network by one of the paper's recipes. The same line again resumes it.

    On several GPUs or machines: torchrun --nproc-per-node 8 -m app train ..., or srun.
    """
    from analysis.reuse.emergence import record_reuse
    from densenet_core.training.config import recipe_config
    from densenet_core.training.distributed import is_first_process
    from densenet_core.training.loop import OnEpoch
    from densenet_core.training.loop import train as train_run
    from densenet_core.training.run_folder import METRICS, read_metrics
    from densenet_core.training.tensorboard import TensorBoardLog

    gc.enable()
    options: dict[str, Any] = {
        "epochs": epochs,
        "seed": seed,
        "augment": augment,
        "validation": validation,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "drop_rate": drop_rate,
        "precision": precision,
        "memory_efficient": memory_efficient,
        "compile": compile,
        "channels_last": channels_last,
        "sync_batch_norm": sync_batch_norm,
        "workers": workers,
        "normalize": normalize,
        "dataset_title": title,
        "data": str(data),
        "runs_dir": str(runs),
    }
    config = recipe_config(recipe, arch, dataset, name or f"{arch}-{dataset}", **options)
    hooks: list[OnEpoch] = [*([record_reuse] if reuse else []), *([TensorBoardLog()] if tensorboard else [])]
    folder = train_run(config, on_epoch=lambda *epoch: [hook(*epoch) for hook in hooks])
    if is_first_process():
        last = read_metrics(folder / METRICS)[-1]
        print(f"{folder}: {last.split} error {last.error:.2f} % after epoch {last.epoch}")


def runs(
    folder: Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where run folders lie.")] = Path("runs"),
) -> None:
    """List runs: state, finished epochs, test error, and how long they will take yet."""
    from app.text import duration
    from densenet_core.training.run_status import list_runs

    found = list_runs(folder)
    if not found:
        print(f"no runs in {folder}: train one with densenet-lens train --arch densenet-40-12 --name demo")
        return
    print_table(
        ("name", "network", "data", "seed", "state", "epoch", "test error", "time left"),
        [
            (
                run.name,
                run.arch,
                run.dataset,
                str(run.seed),
                run.state,
                f"{run.epoch}/{run.epochs_planned}",
                "" if run.test_error is None else f"{run.test_error:.2f} %",
                "" if run.seconds_left is None or run.state == "finished" else duration(run.seconds_left),
            )
            for run in found
        ],
    )


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The grid: archs, seeds and [training].")],
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Where run folders lie.")] = Path("runs"),
    data: DataOption = Path("data"),
    results: Annotated[
        Path | None, typer.Option(help="Write the results here: .csv.", show_default="RUNS/FILE/results.csv")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Train on a Ray cluster: HOST:PORT, auto, or local.", show_default="here")
    ] = None,
    cpus: Annotated[float, typer.Option(help="With Ray: CPUs of one training.")] = 2,
    gpus: Annotated[float, typer.Option(help="With Ray: GPUs of one training.")] = 0,
) -> None:
    """Train a grid of networks and seeds. The same line again goes on where it stopped."""
    from analysis.figures.export import save_table
    from analysis.results.results import measured_results
    from analysis.reuse.emergence import record_reuse
    from densenet_core.training.sweep import load_sweep, run_sweep

    gc.enable()
    configs = load_sweep(file, str(runs), str(data))
    if ray_address is None:
        folders = run_sweep(configs, on_epoch=record_reuse)
    else:
        from densenet_core.training.ray_sweep import run_sweep_on_ray

        folders = run_sweep_on_ray(configs, ray_address, cpus, gpus, lambda folder: print(folder), record_reuse)
    table = measured_results(folders, include_zoo=False)
    print("wrote", save_table(table, results or runs / file.stem / "results.csv"), f"({len(table)} runs)")
