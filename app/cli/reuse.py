"""The command ``reuse``: the feature reuse of a network, the difference of two, or several seeds of one."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from analysis.reuse.measures import DEFAULT, IMAGE_MEASURES, MEASURES, REPLACEMENTS, WEIGHT_MEASURES, needs_images
from analysis.reuse.scaling import SCALINGS
from app.cli.claims import print_claims
from app.cli.common import (
    AS_FOUND,
    AS_RECORDED,
    CheckpointArgument,
    DataSource,
    FigureOption,
    ImagesOption,
    PrecisionOption,
    Reading,
    TableOption,
    WorkersOption,
    check_choice,
    check_number,
    grouped_options,
)
from app.cli.opening import measure_network, open_network, open_test_images
from app.cli.output import print_line, print_text, print_written, write_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from densenet_core import Checkpoint

NUM_DIFFERENT = 5  # cells that are listed

ORDER_ASSUMED = (
    "the order of concatenation is not visible in the weights, old feature maps first is assumed (set it with --order)"
)


def _color_maps() -> tuple[str, ...]:
    from analysis.figures.style.heatmap import COLOR_MAPS

    return COLOR_MAPS


@grouped_options
def reuse(
    checkpoint: CheckpointArgument,
    others: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A second network with the same blocks, to show how the two differ; or several, with --seeds.",
        ),
    ] = None,
    seeds: Annotated[
        bool,
        typer.Option(
            "--seeds",
            help="The networks are seeds of one architecture: show mean and standard deviation.",
        ),
    ] = False,
    epochs: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="FIRST SECOND", help="Show how the feature reuse of a run differs between two epochs."),
    ] = None,
    figure: FigureOption = None,
    table: TableOption = None,
    measure: Annotated[
        str,
        typer.Option(
            callback=check_choice("--measure", MEASURES),
            help=f"Measure, from the weights: {', '.join(WEIGHT_MEASURES)}; on images: {', '.join(IMAGE_MEASURES)}.",
        ),
    ] = DEFAULT,
    scaling: Annotated[
        str | None,
        typer.Option(
            callback=check_choice("--scaling", SCALINGS),
            help=f"Scaling of the colors: {', '.join(SCALINGS)}.",
            show_default="kind_max for weights, signed_log for measures on images",
        ),
    ] = None,
    color_map: Annotated[
        str,
        typer.Option(
            callback=check_choice("--color-map", _color_maps),
            help="Colors: jet (as in the paper), viridis or cividis.",
        ),
    ] = "jet",
    columns: Annotated[
        int,
        typer.Option(callback=check_number("--columns", minimum=1, maximum=2), help="Width in paper columns: 1 or 2."),
    ] = 2,
    source: DataSource = AS_RECORDED,
    images: ImagesOption = 500,
    replace: Annotated[
        str,
        typer.Option(
            callback=check_choice("--replace", REPLACEMENTS),
            help="Value that replaces a source in an ablation: zero or mean.",
        ),
    ] = "zero",
    workers: WorkersOption = 1,
    precision: PrecisionOption = "fp32",
    reading: Reading = AS_FOUND,
) -> None:
    """Show feature reuse: the paper's Figure 5, its table, and the paper's observations on this network.

    Values come from the weights or, for measures on images, from test images (--dataset, --data, --images).
    """
    ablation: Any = {"replace": replace, "workers": workers, "precision": precision}
    look: Any = {"measure": measure, "scaling": scaling}
    out = _Out(figure, table, {"color_map": color_map, "columns": columns})
    if epochs is not None:
        _show_epochs(checkpoint, others, epochs, look, out)
        return
    networks = _open_several([checkpoint, *(others or ())], reading, seeds)
    if needs_images((measure,)) and (others or seeds):
        _check_comparable(networks, seeds)
    tables = [_measure(own, measure, images, ablation, source) for own in networks]
    if seeds:
        _show_seeds(networks, tables, look, out)
    elif others:
        _show_difference(tables, look, out)
    else:
        _show_one(networks[0], tables[0], look, out)


def _open_several(paths: Sequence[str], reading: Reading, seeds: bool) -> list[Checkpoint]:
    """Open networks; how the first file is read does not hold for the others, but the order of concatenation does."""
    if len(paths) > 2 and not seeds:
        raise ValueError(f"{len(paths)} networks are given: add --seeds to compare seeds of one architecture")
    others = Reading(order=reading.order)
    return [open_network(paths[0], reading), *(open_network(path, others) for path in paths[1:])]


def _check_comparable(networks: Sequence[Checkpoint], seeds: bool) -> None:
    """Check by the weights, before anything is measured on images, that the networks can be compared."""
    from analysis.reuse.comparison.difference import check_same_cells
    from analysis.reuse.comparison.seeds import seed_statistics
    from analysis.reuse.connections import connection_weights

    weights = [connection_weights(own) for own in networks]
    check_same_cells(weights)
    if seeds:
        seed_statistics(weights)


class _Out(NamedTuple):
    """The files to write, and the look of figures."""

    figure: Path | None
    table: Path | None
    drawing: Any  # color_map and columns

    def write(self, drawn: Figure | None, found: pd.DataFrame) -> None:
        """Write the figure and the table; the table goes beside the figure unless it has a place of its own."""
        from analysis.figures.export import save_table

        if self.figure and drawn:
            write_figure(drawn, self.figure, None if self.table else found)
        if self.table:
            print_written(save_table(found, self.table))


def _show_one(network: Checkpoint, connections: pd.DataFrame, look: Any, out: _Out) -> None:
    """Print what a measure and the paper's observations say on a network, and write the figure and the table."""
    from analysis import feature_reuse_figure
    from analysis.claims.figure_5 import figure5_observations, is_order_visible

    is_visible = is_order_visible(network)
    assumed = "" if is_visible else f"; {ORDER_ASSUMED}"
    print_line(
        f"{network.spec.title}: {len(connections)} connections in {connections['block'].nunique()} blocks{assumed}"
    )
    out.write(feature_reuse_figure(connections, **look, **out.drawing) if out.figure else None, connections)
    _print_strongest(connections, look["measure"])
    print_line("The paper's observations on Figure 5, tested on this network's weights:")
    print_claims(figure5_observations(connections, is_visible))


def _print_strongest(connections: pd.DataFrame, measure: str) -> None:
    """Print the connections with the largest values of a measure."""
    unit = MEASURES[measure].unit
    print_line(f"Largest values of {measure}{'' if unit == '1' else f' ({unit})'}:")
    for row in connections.nlargest(NUM_DIFFERENT, measure).to_dict("records"):
        place = f"block {row['block']}: {row['source_layer']} -> {row['target_layer']}"
        print_line(f"  {place}  {row[measure]:.3g}")


def _show_difference(tables: Sequence[pd.DataFrame], look: Any, out: _Out) -> None:
    """Print how two networks differ, and write the figure and the table of the differences."""
    from analysis.figures.difference import difference_figure
    from analysis.reuse.comparison.difference import reuse_difference

    found = reuse_difference(tables[0], tables[1], **look)
    correlation = found.attrs["rank_correlation"]
    print_line(f"Rank correlation of the {len(found)} scaled cells by {look['measure']}: {correlation:z.2f}")
    print_line("Largest differences (first minus second, scaled):")
    for row in found.loc[found["difference"].abs().nlargest(NUM_DIFFERENT).index].itertuples():
        print_line(f"  block {row.block}: {row.source_layer} -> {row.target_layer}  {row.difference:+z.3f}")
    out.write(difference_figure(found, out.drawing["columns"]) if out.figure else None, found)


def _show_epochs(run: str, others: Sequence[str] | None, epochs: tuple[int, int], look: Any, out: _Out) -> None:
    """Print how a run's feature reuse differs between two epochs."""
    from analysis.reuse.emergence import reuse_at

    if others:
        raise ValueError("--epochs compares two epochs of one run: give one run folder")
    if needs_images((look["measure"],)):
        raise ValueError(f"epochs are compared by the weights, and {look['measure']} needs images")
    if Path(run).is_file():
        raise ValueError(f"--epochs compares two epochs of a run: {run!r} is a file, give a run folder")
    tables = [reuse_at(run, epoch) for epoch in epochs]
    print_line(f"Epoch {epochs[0]} (first) and epoch {epochs[1]} (second) of {Path(run).resolve().name}:")
    _show_difference(tables, look, out)


def _show_seeds(networks: Sequence[Checkpoint], tables: Sequence[pd.DataFrame], look: Any, out: _Out) -> None:
    """Print what several seeds share and where they differ by more than noise."""
    from analysis.figures.seeds import seeds_figure
    from analysis.reuse.comparison.seeds import describe_seeds, differing_settings, seed_statistics

    found = seed_statistics(tables, **look)
    if others := differing_settings(network.record for network in networks):
        print_line(f"The networks differ in more than the seed: {', '.join(others)}")
    print_text(describe_seeds(found))
    print_line("Largest standard deviations between the networks (scaled):")
    for row in found.nlargest(NUM_DIFFERENT, "std").itertuples():
        place = f"block {row.block}: {row.source_layer} -> {row.target_layer}"
        print_line(f"  {place}  mean {row.mean:.3f}, standard deviation {row.std:.3f}")
    drawn = seeds_figure(found, **look, **out.drawing) if out.figure else None
    out.write(drawn, found)


def _measure(network: Checkpoint, measure: str, num_images: int, ablation: Any, source: DataSource) -> pd.DataFrame:
    """Return the feature-reuse table; images are read only where the measure needs them."""
    from analysis.reuse.connections import connection_weights

    if not needs_images((measure,)):
        return connection_weights(network)
    gc.enable()
    taken = open_test_images(network, source, densenet_only=True)
    return measure_network(network, (measure,), taken, num_images, **ablation)
