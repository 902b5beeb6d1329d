"""Commands about one network: its feature reuse, its error, what its file holds."""

from __future__ import annotations

import gc
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.common import (
    CheckpointArgument,
    DataOption,
    DatasetOption,
    ImagesOption,
    NormalizeOption,
    OrderOption,
    measured,
    open_network,
    print_pairs,
    print_table,
)

if TYPE_CHECKING:
    import pandas as pd

    from densenet_core import Checkpoint


def reuse(
    checkpoint: CheckpointArgument,
    figure: Annotated[Path | None, typer.Option(help="Write Figure 5 here: .pdf, .svg or .png.")] = None,
    table: Annotated[Path | None, typer.Option(help="Write the feature-reuse table here: .csv.")] = None,
    measure: Annotated[
        str,
        typer.Option(
            help="mean_abs_weight, l1_per_input_map or effective_weight; on data: contribution, taylor or ablation."
        ),
    ] = "mean_abs_weight",
    scaling: Annotated[
        str, typer.Option(help="Of the colours: block_max, network_max, target_max, target_minmax or none.")
    ] = "block_max",
    color_map: Annotated[str, typer.Option(help="jet, as in the paper, or viridis or cividis.")] = "jet",
    columns: Annotated[int, typer.Option(help="Width in columns of a paper: 1 or 2.")] = 2,
    dataset: DatasetOption = "digits",
    data: DataOption = Path("data"),
    normalize: NormalizeOption = None,
    images: ImagesOption = 500,
    replace: Annotated[str, typer.Option(help="What ablation puts in a source's place: zero or mean.")] = "zero",
    order: OrderOption = None,
) -> None:
    """Feature reuse: the paper's Figure 5 and its table, and what the paper's four observations say here.

    By the weights, or by a measure on test images (--dataset, --data, --images).
    """
    from analysis import feature_reuse_figure, save_figure
    from analysis.figures.export import save_table

    look: dict[str, Any] = {"measure": measure, "scaling": scaling, "color_map": color_map, "columns": columns}
    network = open_network(checkpoint, order)
    on_data: dict[str, Any] = {"dataset": dataset, "root": data, "normalize": normalize}
    connections = _measured(network, measure, images, replace, on_data)
    print(f"{network.spec.title}: {len(connections)} connections in {connections['block'].nunique()} blocks")
    drawn = feature_reuse_figure(connections, **look) if figure else None  # wrong options are told before any writing
    if figure and drawn:
        # the table beside the figure, unless it was asked for elsewhere
        print("wrote", *save_figure(drawn, figure, None if table else connections))
    if table:
        print("wrote", save_table(connections, table))
    _print_observations(connections)


def _measured(
    network: Checkpoint, measure: str, num_images: int, replace: Any, on_data: dict[str, Any]
) -> pd.DataFrame:
    """The feature-reuse table; images are read where the measure needs some."""
    from analysis.reuse.connections import DATA_MEASURES, connection_weights

    if measure not in DATA_MEASURES:
        return connection_weights(network)
    from densenet_core.data.datasets import load_test_images

    gc.enable()
    images = load_test_images(on_data.pop("dataset"), **on_data)
    return measured(network, (measure,), images, num_images, replace)


def _print_observations(connections: pd.DataFrame) -> None:
    from analysis import figure5_observations

    verdicts = {True: "holds", False: "does not hold", None: "not decidable"}
    print("The paper's observations on Figure 5, read off this network:")
    for seen in figure5_observations(connections):
        value = seen.reason if seen.value is None else f"{seen.value:.3g}, {seen.criterion}"
        print(f"  {seen.number}. {seen.statement}\n     {verdicts[seen.holds]}: {seen.statistic} ({value})")


def evaluate(
    checkpoint: CheckpointArgument,
    dataset: DatasetOption = "digits",
    data: DataOption = Path("data"),
    normalize: NormalizeOption = None,
    crops: Annotated[int, typer.Option(help="1, or 10 of each photograph: corners and centre, mirrored too.")] = 1,
) -> None:
    """Loss and error of a network on a data set's test images, or on class folders of images."""
    from densenet_core.data.datasets import load_test_images
    from densenet_core.training.evaluation import check_fit, evaluate_checkpoint

    gc.enable()
    network = open_network(checkpoint)
    options: dict[str, Any] = {"normalize": normalize, "crops": crops}
    images = load_test_images(dataset, data, **options)
    check_fit(network.architecture, images)
    result = evaluate_checkpoint(network, images)
    print_pairs(
        [
            ("Network", network.spec.title),
            ("Images", f"{result.num_images:,}" + (f", {crops} crops each" if crops > 1 else "")),
            ("Loss", f"{result.loss:.4f} nats"),
            ("Top-1 error", f"{result.top1_error:.2f} %"),
            ("Top-5 error", f"{result.top5_error:.2f} %"),
        ]
    )


ORDERS = {
    "old_first": "old feature maps first",
    "new_first": "new feature maps first",
    None: "old feature maps first, assumed: the running statistics do not tell",
}


def inspect(
    checkpoint: CheckpointArgument,
    layers: Annotated[bool, typer.Option("--layers", help="List every tensor.")] = False,
    order: OrderOption = None,
) -> None:
    """What a checkpoint holds: network, layers, the record of its training, and what can be done with it."""
    from analysis.abilities import abilities
    from app.text import network_facts

    network = open_network(checkpoint, order)
    ignored = f"{len(network.ignored)} tensors: {', '.join(network.ignored[:3])}" if network.ignored else "-"
    found = [("Layout", network.layout), ("Known by", network.evidence), ("Not used", ignored)]
    print_pairs([*network_facts(network), *found, *_architecture(network), *_not_told(network)])
    print("\nWhat can be done with it:")
    for reason, group in abilities(network).groupby("reason", sort=False):
        for analysis in group["analysis"]:
            print(f"  {'no ' if reason else 'yes'}  {analysis}")
        if reason:
            print("      ", reason)
    if layers:
        print_table(
            ("tensor", "shape", "numbers"),
            [(key, " x ".join(map(str, array.shape)), f"{array.size:,}") for key, array in network.arrays.items()],
        )


def _architecture(network: Checkpoint) -> list[tuple[str, str]]:
    """What the spec says, line by line."""
    from densenet_core import DenseNetSpec
    from densenet_core.checkpoints.identify.connectivity import ConcatSpec
    from densenet_core.checkpoints.identify.infer_spec import listed

    concatenation = [("Concatenation", ORDERS[network.order])]
    if isinstance(spec := network.spec, ConcatSpec):
        blocks = [(f"Block {b}", listed(list(names), most=4)) for b, names in enumerate(spec.sources, start=1)]
        return [*concatenation, ("No DenseNet", spec.why), *blocks]
    if not isinstance(spec, DenseNetSpec):
        concatenation = []
    elif network.order == "new_first":
        concatenation.append(("", "put in our order, which gives the same scores"))
    return [*concatenation, *((name, str(value)) for name, value in asdict(spec).items() if name != "cuts")]


def _not_told(network: Checkpoint) -> list[tuple[str, str]]:
    """What a ResNet's tensors can't say."""
    from densenet_core import ResNetSpec
    from densenet_core.checkpoints.checkpoint import BY_METADATA

    spec = network.spec
    if not isinstance(spec, ResNetSpec) or spec.shortcut == "none" or network.evidence == BY_METADATA:
        return []
    return [("Not told", "stochastic depth leaves no trace in the tensors; trained with it, its scores are other ones")]


def zoo() -> None:
    """List the networks that ship with the suite, each with its record."""
    from densenet_core import load_zoo, zoo_names

    networks = {name: load_zoo(name) for name in zoo_names()}
    print_table(
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
