"""Commands that train: one network, or a grid of them."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.common import DataOption
from app.cli.output import print_table
from app.cli.settings import parsed, setting_options
from densenet_core.data.names import DATASET_NAMES
from densenet_core.training.config import RECIPE_SETTINGS, RECIPES, training_settings


@setting_options(training_settings(), by_recipe=RECIPE_SETTINGS)
def train(
    dataset: Annotated[str, typer.Option(metavar="|".join(DATASET_NAMES), help="The data set.")] = "digits",
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(RECIPES),
            help="Where the settings not given come from: the paper's recipes, or fast.",
            show_default="the data set's",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run folder.", show_default="ARCH-DATASET")] = None,
    reuse: Annotated[bool, typer.Option(help="Keep the feature-reuse table of every epoch.")] = True,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard events too.")] = False,
    **settings: Any,
) -> None:
    """Train a network by one of the paper's recipes. Run the same command again to resume.

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
    given = parsed(training_settings(), settings)
    arch = given.pop("arch")
    config = recipe_config(recipe, arch, dataset, name or f"{arch}-{dataset}", **given)
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
