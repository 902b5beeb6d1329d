"""Commands that draw the paper's figures, and the short paths of DenseNets and their relatives."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.common import (
    AS_FOUND,
    AS_RECORDED,
    DataSource,
    ImagesOption,
    InputOption,
    Reading,
    check_ending,
    grouped_options,
)
from app.cli.opening import is_saved, open_network, open_sized_spec, open_spec, open_test_images
from app.cli.output import escape_text, write_figure

if TYPE_CHECKING:
    import pandas as pd

    from densenet_core import DenseNetSpec

FIGURES = ("1", "2", "3", "4-left", "4-middle", "4-right", "5")
OutOption = Annotated[
    Path,
    typer.Option(
        callback=check_ending("figure", "pdf", "svg", "png"),
        help="Write the figure to this file (.pdf, .svg or .png), and its table beside it.",
    ),
]


@grouped_options
def figure(
    which: Annotated[str, typer.Argument(metavar="|".join(FIGURES), help="The paper's number.")],
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NETWORK",
            help="Figures 1 and 2: the name or a checkpoint of a DenseNet. Figure 4: run folders, or none for the "
            "shipped results. Figure 5: a checkpoint.",
        ),
    ] = None,
    block: Annotated[
        int | None, typer.Option(help="Dense block that figure 1 shows, counting from 1.", show_default="the first")
    ] = None,
    input_size: InputOption = None,
    out: OutOption = Path("figure.pdf"),
    reading: Reading = AS_FOUND,
) -> None:
    """Draw a figure of the paper: architectures (1, 2), published results (3), results of runs (4), weights (5)."""

    if block is not None and which != "1":
        raise ValueError(f"--block is for figure 1: figure {which} has none")
    if input_size is not None and which != "2":
        raise ValueError(f"--input is for figure 2: figure {which} has none")
    given = networks or []
    if reading.given and which not in ("1", "2", "5"):
        raise ValueError(f"{reading.given[0]} is for figures 1, 2 and 5, which open a file: figure {which} has none")
    if which == "1":
        drawn, table = _figure_1(given, 1 if block is None else block, reading)
    elif which == "2":
        drawn, table = _figure_2(given, input_size, reading)
    else:
        drawn, table = _figure(which, given, reading)
    write_figure(drawn, out, table)


@grouped_options
def short_paths(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK",
            help="densenet-40-12, resnet-sd-32, fractalnet-21, ..., or checkpoints (needed for Highway Networks).",
        ),
    ],
    out: OutOption = Path("short_paths.pdf"),
    gates: Annotated[
        bool, typer.Option("--gates", help="Draw the gates of a Highway Network, layer by layer.")
    ] = False,
    source: DataSource = AS_RECORDED,
    images: ImagesOption = 256,
    reading: Reading = AS_FOUND,
) -> None:
    """Draw how directly layers are connected: in DenseNets, in ResNets with stochastic depth, in FractalNets.

    For a Highway Network, the share that its gates let pass is measured on test images (--dataset, --data, --images).
    """
    from analysis.architecture.short_paths import path_table
    from analysis.figures.diagrams.short_paths import gates_figure, short_paths_figure
    from densenet_core.networks.relatives.highway_spec import HighwaySpec

    specs = {text: open_spec(text, reading) for text in networks}
    highways = [text for text, spec in specs.items() if isinstance(spec, HighwaySpec)]
    if not highways and not gates:
        table, measure = path_table(list(specs.values()))
        write_figure(short_paths_figure(table, measure), out, table)
        return
    if len(networks) > 1:
        raise ValueError(f"a Highway Network's paths are drawn alone: {len(networks)} networks are given")
    if highways and not is_saved(highways[0]):
        raise ValueError(f"the gates of {highways[0]!r} are learned: pass the checkpoint of a trained network")
    from analysis.architecture.gates import carried_shares, transform_gates

    gc.enable()
    network = open_network(networks[0], reading)
    taken = open_test_images(network, source)
    table = transform_gates(network, taken, images) if gates else carried_shares(network, taken, images)
    drawn = gates_figure(table) if gates else short_paths_figure(table, "share_carried")
    write_figure(drawn, out, table)


def _figure_1(networks: list[str], block: int, reading: Reading) -> tuple[Any, pd.DataFrame]:
    from analysis.architecture.architecture import block_connections
    from analysis.figures.diagrams.dense_block import dense_block_figure

    spec, _ = _densenet("1", networks, reading)
    return dense_block_figure(spec, block), block_connections(spec, block)


def _figure_2(networks: list[str], input_size: int | None, reading: Reading) -> tuple[Any, pd.DataFrame]:
    from analysis.architecture.architecture import network_stages
    from analysis.figures.diagrams.network import network_figure

    spec, usual = _densenet("2", networks, reading)
    size = input_size or usual
    return network_figure(spec, size), network_stages(spec, size)


def _densenet(which: str, networks: list[str], reading: Reading) -> tuple[DenseNetSpec, int]:
    """Return the DenseNet of a figure, and the usual side of its images in pixels."""
    from densenet_core import DenseNetSpec

    if len(networks) != 1:
        raise ValueError(f"figure {which} needs one network: densenet-lens figure {which} densenet-bc-100-12")
    spec, size = open_sized_spec(networks[0], reading)
    if not isinstance(spec, DenseNetSpec):
        raise ValueError(f"figure {which} is of DenseNets: {networks[0]!r} is a {spec.title}")
    return spec, size


def _figure(which: str, runs: list[str], reading: Reading) -> tuple[Any, pd.DataFrame]:
    from analysis import connection_weights, feature_reuse_figure
    from analysis.figures.by_number import figure_3, figure_4
    from analysis.results.results import measured_results, shipped_results

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
        return _curves_figure(runs)
    if which == "5":
        if len(runs) != 1:
            raise ValueError("figure 5 needs one checkpoint: densenet-lens figure 5 CHECKPOINT")
        connections = connection_weights(open_network(runs[0], reading))
        return feature_reuse_figure(connections, scaling="block_max"), connections  # as the paper's reads
    raise ValueError(f"unknown figure {which!r}: choose from {', '.join(FIGURES)}")


def _curves_figure(runs: list[str]) -> tuple[Any, pd.DataFrame]:
    from analysis.figures.training.curves import training_curves_figure
    from analysis.results.results import measured_results
    from analysis.results.training_curves import training_curves

    if not runs:
        raise ValueError("figure 4-right needs run folders: densenet-lens figure 4-right runs/A runs/B")
    if len(names := {Path(run).resolve().name for run in runs}) < len(runs):
        raise ValueError(f"figure 4-right needs runs of different names: they are {', '.join(sorted(names))}")
    if len(datasets := sorted(set(measured_results(runs, include_zoo=False)["dataset"]))) > 1:
        raise ValueError(f"the runs have different data ({', '.join(datasets)}): their errors don't compare")
    curves = training_curves({Path(run).resolve().name: run for run in runs})
    for reason in curves.attrs["skipped"]:
        print("densenet-lens:", escape_text(reason), file=sys.stderr)
    return training_curves_figure(curves), curves
