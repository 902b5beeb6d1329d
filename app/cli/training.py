"""Commands that train: one network, or a grid of them."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.common import DataOption, JsonOption, check_ending, check_number
from app.cli.output import is_quiet, print_json, print_line, print_table, print_written
from app.cli.settings import parse_values, setting_options
from densenet_core.data.names import DATASET_NAMES
from densenet_core.training.config import RECIPE_SETTINGS, RECIPES, training_settings

if TYPE_CHECKING:
    from densenet_core.training.runs.status import RunSummary

PROGRESS_STYLES = ("auto", "bar", "lines", "none")
TERMINATED = "Terminated. Run the same command again to resume after the last finished epoch."
ProgressOption = Annotated[
    str,
    typer.Option(
        metavar="|".join(PROGRESS_STYLES),
        help="Progress on standard error: a bar, a line per epoch, or none; auto is a bar on a terminal, else lines.",
    ),
]


class Terminated(BaseException):
    """The process received SIGTERM."""


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """End a training on SIGTERM as on Ctrl-C, with exit code 143.

    Processes started by torchrun or SLURM keep the default handler, which also works while one waits for another in a
    collective operation. Their state is kept as well, since all files are written atomically.
    """
    is_one_of_several = "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS") or 1) > 1
    if is_one_of_several or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except Terminated as error:
        print("densenet-lens:", TERMINATED, file=sys.stderr)
        raise typer.Exit(143) from error
    finally:
        signal.signal(signal.SIGTERM, before)


def check_progress(progress: str) -> Any:
    """Return the style of the progress display.

    Raises:
        ValueError: there is no such style.
    """
    if progress not in PROGRESS_STYLES:
        raise ValueError(f"unknown --progress {progress!r}: choose from {', '.join(PROGRESS_STYLES)}")
    return "none" if is_quiet() else progress


@setting_options(training_settings(), by_recipe=RECIPE_SETTINGS)
def train(
    dataset: Annotated[str, typer.Option(metavar="|".join(DATASET_NAMES), help="The data set.")] = "digits",
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(RECIPES),
            help="Recipe for the settings that are not given: one of the paper's, or fast.",
            show_default="the data set's",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run folder.", show_default="ARCH-DATASET")] = None,
    reuse: Annotated[
        bool, typer.Option(help="Record the feature-reuse table of every epoch.", show_default="on")
    ] = True,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard events.")] = False,
    progress: ProgressOption = "auto",
    **settings: Any,
) -> None:
    """Train a network with one of the paper's recipes. Run the same command again to resume.

    On several GPUs or machines: torchrun --nproc-per-node 8 -m app train ..., or srun.
    """
    from analysis.reuse.emergence import record_reuse
    from densenet_core.checkpoints.checkpoint import read_header
    from densenet_core.training.config import recipe_config
    from densenet_core.training.distributed import is_first_process
    from densenet_core.training.loop import OnEpoch
    from densenet_core.training.loop import train as train_run
    from densenet_core.training.tensorboard import TensorBoardLog

    gc.enable()
    given = parse_values(training_settings(), settings)
    arch = given.pop("arch")
    config = recipe_config(recipe, arch, dataset, f"{arch}-{dataset}" if name is None else name, **given)
    hooks: list[OnEpoch] = [*([record_reuse] if reuse else []), *([TensorBoardLog()] if tensorboard else [])]
    with exit_on_sigterm():
        folder = train_run(config, check_progress(progress), on_epoch=lambda *epoch: [hook(*epoch) for hook in hooks])
    if is_first_process():
        record = read_header(folder)[1]
        kept = record.get("kept_epoch", record["epochs"])
        print_line(f"{folder}: test error {record['test_error']:.2f} % after epoch {kept}")


def runs(
    folder: Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder of the run folders.")] = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """List runs: state, finished epochs, test error and time left."""
    from densenet_core.training.runs.status import list_runs

    found, unreadable = list_runs(folder)
    if as_json:
        readable = [asdict(run) | {"seconds_left": run.seconds_left} for run in found]
        print_json({"runs": readable, "unreadable": [run._asdict() for run in unreadable]})
        return
    if not found and not unreadable:
        print_line(f"no runs in {folder}: train one with densenet-lens train --arch densenet-40-12 --name demo")
    if found:
        print_table(
            ("name", "network", "data", "seed", "state", "epoch", "test error", "time left"), map(_run_cells, found)
        )
    for run in unreadable:
        print_line(f"{run.name}: can't be read: {run.reason}")


def _run_cells(run: RunSummary) -> tuple[str, ...]:
    from densenet_core.training.durations import duration

    error = "" if run.test_error is None else f"{run.test_error:.2f} %"
    left = "" if run.seconds_left is None or run.state == "finished" else duration(run.seconds_left)
    epoch = f"{run.epoch}/{run.epochs_planned}"
    return (run.name, run.arch, run.dataset, str(run.seed), run.state, epoch, error, left)


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The grid: archs, seeds and the table training.")],
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run folders.")] = Path("runs"),
    data: DataOption = Path("data"),
    progress: ProgressOption = "auto",
    results: Annotated[
        Path | None,
        typer.Option(
            callback=check_ending("results", "csv"),
            help="Write the results to this file: .csv.",
            show_default="RUNS/FILE/results.csv",
        ),
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Train on a Ray cluster: HOST:PORT, auto, or local.", show_default="here")
    ] = None,
    cpus: Annotated[
        float, typer.Option(callback=check_number("--cpus", above=0), help="With Ray: CPUs per training.")
    ] = 2,
    gpus: Annotated[
        float, typer.Option(callback=check_number("--gpus", minimum=0), help="With Ray: GPUs per training.")
    ] = 0,
) -> None:
    """Train a grid of networks and seeds. Run the same command again to resume."""
    from analysis.figures.export import save_table
    from analysis.results.results import measured_results
    from analysis.reuse.emergence import record_reuse
    from densenet_core.training.sweep import load_sweep, run_sweep

    gc.enable()
    configs = load_sweep(file, str(runs), str(data))
    if ray_address is None:
        with exit_on_sigterm():
            folders = run_sweep(configs, check_progress(progress), on_epoch=record_reuse)
    else:
        from densenet_core.training.ray_sweep import run_sweep_on_ray

        folders = run_sweep_on_ray(
            configs, ray_address, cpus, gpus, lambda folder: print_line(str(folder)), record_reuse
        )
    table = measured_results(folders, include_zoo=False)
    print_written(save_table(table, results or runs / file.stem / "results.csv"), about=f" ({len(table)} runs)")
