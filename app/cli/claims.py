"""The command that tests the paper's claims on a network, and the printing of claims."""

from __future__ import annotations

import gc
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from app.cli.common import (
    AS_FOUND,
    CheckpointArgument,
    DataOption,
    DataSource,
    ImagesOption,
    JsonOption,
    NormalizeOption,
    Reading,
    TableOption,
    check_choice,
    grouped_options,
)
from app.cli.opening import open_network, open_test_images
from app.cli.output import print_json, print_line, print_written
from densenet_core.data.names import DATASET_NAMES

if TYPE_CHECKING:
    import pandas as pd


@grouped_options
def claims(
    checkpoint: CheckpointArgument,
    seeds: Annotated[
        list[str] | None,
        typer.Argument(metavar="SEED", help="More runs of the network with other seeds, for the claim on overfitting."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            callback=check_choice("--dataset", DATASET_NAMES),
            help="Data set for the claims that are measured on images: digits, cifar10, ..., folder.",
        ),
    ] = None,
    data: DataOption = Path("data"),
    normalize: NormalizeOption = None,
    images: ImagesOption = 500,
    beside: Annotated[
        list[str] | None,
        typer.Option(help="A ResNet trained on the same data, for the claim on overfitting; repeat it for more seeds."),
    ] = None,
    reading: Reading = AS_FOUND,
    table: TableOption = None,
    as_json: JsonOption = False,
) -> None:
    """Test the paper's claims on a network: a statistic and a verdict for each, with untrained networks as controls."""
    from analysis.claims.claims import check_claims
    from analysis.claims.losses import training_images
    from analysis.figures.export import save_table
    from densenet_core.data.recorded import choose_data

    gc.enable()
    network, *others = (open_network(path, reading) for path in (checkpoint, *(seeds or ())))
    resnets = [open_network(path) for path in beside or ()]
    taken = open_test_images(network, DataSource(dataset, data, normalize)) if dataset else None
    train = None
    if dataset and resnets:
        train = training_images(*choose_data(network.record, dataset, cast(Any, normalize)), data)
    found = check_claims(network, taken, resnets, images, train, others)
    if as_json:
        print_json(found.to_dict("records"))
    else:
        print_claims(found)
    if table:
        print_written(save_table(found, table))


def print_claims(table: pd.DataFrame) -> None:
    """Print a table of claims: statement, verdict and value, criterion and controls, one claim after the other."""
    for number, (_, claim) in enumerate(table.iterrows(), start=1):
        print_line(f"{number:>2}. {claim['statement']} (section {claim['section']})")
        for line in _evidence(claim):
            print_line(f"    {line}")


def _evidence(claim: pd.Series) -> list[str]:
    """Return the lines below a claim: verdict and value, criterion and controls, and the reason."""
    if math.isnan(claim["value"]):
        return [f"{claim['verdict']}: {claim['reason']}", f"statistic: {claim['statistic']}"]
    interval = "" if math.isnan(claim["low"]) else f" [{claim['low']:.3g}, {claim['high']:.3g}]"
    beside = [f"holds if {claim['criterion']}"]
    if claim["num_untrained"]:
        extremes = f"{claim['untrained_low']:.3g} to {claim['untrained_high']:.3g}"
        beside.append(f"untrained {claim['untrained']:.3g} ({claim['num_untrained']:.0f} networks, {extremes})")
    if claim["control"]:
        beside.append(f"{claim['control']} {claim['control_value']:.3g}")
    lines = [f"{claim['verdict']}: {claim['value']:.3g}{interval}, {claim['statistic']}", "; ".join(beside)]
    return [*lines, claim["reason"]] if claim["reason"] else lines
