"""Commands on one network: its error, and the content of its file."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from app.cli.common import (
    AS_FOUND,
    AS_RECORDED,
    CheckpointArgument,
    DataSource,
    JsonOption,
    Reading,
    check_choice,
    grouped_options,
)
from app.cli.opening import open_network, open_test_images
from app.cli.output import print_json, print_line, print_pairs, print_table, print_text

if TYPE_CHECKING:
    import pandas as pd

    from densenet_core import Checkpoint


def _backends() -> tuple[str, ...]:
    from densenet_core.training.evaluation import Backend

    return get_args(Backend)


@grouped_options
def evaluate(
    checkpoint: CheckpointArgument,
    source: DataSource = AS_RECORDED,
    crops: Annotated[
        int,
        typer.Option(help="Crops per image: 1, or 10 for photographs."),
    ] = 1,
    backend: Annotated[
        str,
        typer.Option(
            callback=check_choice("--backend", _backends),
            help="Library that runs the network: torch, or onnxruntime on the CPU (extra onnx).",
        ),
    ] = "torch",
    reading: Reading = AS_FOUND,
    as_json: JsonOption = False,
) -> None:
    """Report the loss and error of a network on a data set's test images, or on class folders of images."""
    from densenet_core.training.evaluation import evaluate_checkpoint

    gc.enable()
    network = open_network(checkpoint, reading, is_noted=False)
    images = open_test_images(network, source, crops, is_noted=False)
    result = evaluate_checkpoint(network, images, cast(Any, backend))
    if as_json:
        about = {"assumed": list(network.assumed), "caveats": list(network.caveats)}
        print_json({"network": network.spec.title, "crops": crops, **about, **asdict(result)})
        return
    print_pairs(
        [
            ("Network", network.spec.title),
            ("Images", f"{result.num_images:,}" + (f", {crops} crops each" if crops > 1 else "")),
            ("Loss", f"{result.loss:.4f} nats"),
            ("Top-1 error", f"{result.top1_error:.2f} %"),
            ("Top-5 error", f"{result.top5_error:.2f} %"),
            *_list("Assumed", network.assumed),
            *_list("Caveat", network.caveats),
        ]
    )


ORDERS = {
    "old_first": "old feature maps first",
    "new_first": "new feature maps first",
    "mixed": "in an order of its own",
    None: "old feature maps first (assumed: the running statistics do not show it)",
}


@grouped_options
def inspect(
    checkpoint: CheckpointArgument,
    layers: Annotated[bool, typer.Option("--layers", help="List every tensor.")] = False,
    reading: Reading = AS_FOUND,
    why: Annotated[bool, typer.Option("--why", help="List every reading that was tried, and its result.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Describe a checkpoint: the network, the record of its training, and which analyses are available."""
    from analysis.available import available_analyses
    from app.text import FACT_TITLES, network_facts

    if why:
        _print_readings(checkpoint, reading, as_json)
        return
    network = open_network(checkpoint, reading, is_noted=False)
    available = available_analyses(network)
    tensors = [(key, array.shape, array.size) for key, array in network.arrays.items()]
    if as_json:
        print_json(_to_json(network, available) | ({"tensors": tensors} if layers else {}))
        return
    ignored = f"{len(network.ignored)} tensors: {', '.join(network.ignored[:3])}" if network.ignored else "-"
    found = [("Layout", network.layout), ("Identified by", _identification(network)), ("Not used", ignored)]
    facts = [(FACT_TITLES[name], value) for name, value in network_facts(network).items()]
    print_pairs([*facts, *_list_content(network), *found, *_architecture(network), *_unknown(network)])
    _print_available(available)
    if layers:
        shapes = [(key, " x ".join(map(str, shape)), f"{size:,}") for key, shape, size in tensors]
        print_table(("tensor", "shape", "parameters"), shapes)


def _print_available(analyses: pd.DataFrame) -> None:
    print_text("\nAvailable analyses:")
    for reason, group in analyses.groupby("reason", sort=False):
        for analysis in group["analysis"]:
            print_line(f"  {'no ' if reason else 'yes'}  {analysis}")
        if reason:
            print_line(f"       {reason!s}")


def _print_readings(checkpoint: str, reading: Reading, as_json: bool) -> None:
    """Print every reading that is tried on a file, and its result."""
    from densenet_core import zoo_names
    from densenet_core.checkpoints.readings import explain_readings
    from densenet_core.checkpoints.zoo import zoo_path

    if others := [option for option in reading.given if option != "--keras-layout"]:
        raise ValueError(f"--why lists every reading: it takes no {others[0]}")
    path = zoo_path(checkpoint) if checkpoint in zoo_names() else checkpoint
    readings = explain_readings(path, cast(Any, reading.keras_layout))
    if as_json:
        print_json([reading._asdict() for reading in readings])
        return
    print_table(("weights", "reading", "result"), readings)


def _list_content(network: Checkpoint) -> list[tuple[str, str]]:
    """Return what the file holds besides the network, if anything."""
    from densenet_core.checkpoints.identify.infer_spec import join_names

    held = network.held
    if held is None:
        return []
    pairs = [("Format", held.format + (f", a whole {held.made_by}, which was not run" if held.made_by else ""))]
    if held.weights:
        pairs.append(("Weights", held.weights))
    if held.other_weights:
        pairs.append(("Other weights", f"{join_names(list(held.other_weights), most=6)}: choose with --weights NAME"))
    if held.others:
        pairs.append(("Also in the file", join_names(list(held.others), most=6)))
    return pairs


def _identification(network: Checkpoint) -> str:
    """Return how the layers were identified, and what was computed or assumed."""
    return "; ".join((network.identified_by.value, *network.notes))


def _to_json(network: Checkpoint, available: pd.DataFrame) -> dict[str, Any]:
    """Return the output of ``inspect`` for JSON."""
    return {
        "network": network.spec.title,
        "num_params": network.num_params,
        "layout": network.layout,
        "identified_by": _identification(network),
        "file": asdict(network.held) if network.held else None,
        "order": network.order,
        "not_used": list(network.ignored),
        "assumed": list(network.assumed),
        "caveats": list(network.caveats),
        "spec": asdict(network.spec),
        "record": network.record,
        "available": available.to_dict("records"),
    }


def _architecture(network: Checkpoint) -> list[tuple[str, str]]:
    """Return the fields of the spec, one pair each."""
    from densenet_core import DenseNetSpec
    from densenet_core.checkpoints.identify.connectivity import ConcatSpec
    from densenet_core.checkpoints.identify.infer_spec import join_names

    concatenation = [("Concatenation", ORDERS[network.order])]
    if isinstance(spec := network.spec, ConcatSpec):
        blocks = [(f"Block {b}", join_names(list(names), most=4)) for b, names in enumerate(spec.sources, start=1)]
        return [*concatenation, ("Not a DenseNet", spec.why), *blocks]
    if not isinstance(spec, DenseNetSpec):
        concatenation = []
    elif network.order not in ("old_first", None):
        concatenation.append(("", "converted to old feature maps first, with the same scores"))
    return [*concatenation, *((name, str(value)) for name, value in spec.visible_fields().items() if name != "cuts")]


def _unknown(network: Checkpoint) -> list[tuple[str, str]]:
    """Return what the tensors of a ResNet do not show."""
    from densenet_core import ResNetSpec
    from densenet_core.checkpoints.identify.identified_by import IdentifiedBy

    spec = network.spec
    is_saved_with_spec = network.identified_by is IdentifiedBy.METADATA
    if not isinstance(spec, ResNetSpec) or spec.shortcut == "none" or is_saved_with_spec:
        return []
    return [("Unknown", "stochastic depth leaves no trace in the tensors, and changes the scores")]


def _list(label: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    """Return lines as pairs to print, the label beside the first."""
    return [(label if number == 0 else "", words) for number, words in enumerate(lines)]


def zoo(as_json: JsonOption = False) -> None:
    """List the networks that ship with the suite, with their records."""
    from app.text import network_facts
    from densenet_core import load_zoo, zoo_names

    networks = {name: load_zoo(name) for name in zoo_names()}
    if as_json:
        print_json({name: network.record | {"num_params": network.num_params} for name, network in networks.items()})
        return
    print_table(
        ("name", "network", "parameters", "trained on", "epochs", "seed", "test error"),
        [
            (
                name,
                network.spec.title,
                f"{network.num_params:,}",
                str(network.record["dataset"]),
                network_facts(network)["epochs"],
                str(network.record["seed"]),
                f"{network.record['test_error']:.2f} %",
            )
            for name, network in networks.items()
        ],
    )
