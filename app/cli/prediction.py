"""Commands that look inside predictions: one image, a data set by depth, the classes of a data set."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from analysis.reuse.measures import REPLACEMENTS
from app.cli.common import (
    AS_FOUND,
    AS_RECORDED,
    CheckpointArgument,
    DataSource,
    FigureOption,
    ImagesOption,
    JsonOption,
    NormalizeOption,
    Reading,
    TableOption,
    check_choice,
    grouped_options,
)
from app.cli.opening import open_network, open_test_images, print_assumed
from app.cli.output import print_json, print_line, print_table, print_written, progress, write_figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from analysis.prediction.explain import Explanation


@grouped_options
def explain(
    checkpoint: CheckpointArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="PNG, JPEG or WebP files.")],
    class_name: Annotated[
        str | None,
        typer.Option("--class", help="Explain this class, by name or number.", show_default="the predicted one"),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Explain the difference to this class, by name or number.")
    ] = None,
    names: Annotated[Path | None, typer.Option(help="A text file with a class name on each line.")] = None,
    normalize: NormalizeOption = None,
    figure: FigureOption = None,
    table: TableOption = None,
    reading: Reading = AS_FOUND,
    as_json: JsonOption = False,
) -> None:
    """Show what each layer adds to the logit of a class, for image files; the parts sum to the logit."""
    from analysis.figures.export import save_table
    from analysis.prediction.explain import explain_image
    from analysis.prediction.image_files import channel_statistics, class_names, open_image, prepare_image
    from analysis.prediction.predictor import as_predictor

    gc.enable()
    network = open_network(checkpoint, reading)
    titles = class_names(network, names)
    chosen, other = _class_numbers(titles, class_name, against)
    statistics: Any = normalize or channel_statistics(network)
    seen = [prepare_image(open_image(file), network, statistics) for file in images]
    print_assumed(network)
    predictor = as_predictor(network)
    found = {file: explain_image(predictor, own, titles, chosen, other) for file, own in zip(images, seen, strict=True)}
    _check_against(found, titles)
    if as_json:
        print_json([{"image": str(file), **own.summary()} for file, own in found.items()])
    else:
        _print_explanations(found)
    if figure:
        write_figure(_draw_explanations(found.values()), figure)
    if table:
        print_written(save_table(join_tables({file: own.table for file, own in found.items()}), table))


def _class_numbers(titles: Sequence[str], class_name: str | None, against: str | None) -> tuple[int | None, int | None]:
    """Return the numbers of the classes of ``--class`` and ``--against``, None where they are not given."""
    from analysis.prediction.image_files import class_index

    chosen, other = (None if name is None else class_index(titles, name) for name in (class_name, against))
    if chosen is not None and chosen == other:
        raise ValueError(f"--class and --against are both {titles[chosen]!r}: choose two classes")
    return chosen, other


def _check_against(found: Mapping[Path, Explanation], titles: Sequence[str]) -> None:
    for file, own in found.items():
        if own.for_class == own.against:
            raise ValueError(
                f"image {str(file)!r} is predicted as {titles[own.for_class]!r}, the class of --against: "
                "choose another, or give --class"
            )


def _draw_explanations(explanations: Iterable[Explanation]) -> Figure:
    from analysis.figures.prediction.contributions import Explained, explanation_figure

    return explanation_figure(
        [
            Explained(f"{own.title} ({own.probability:.0%})", own.seen.pixels, own.maps.sum(0), own.table)
            for own in explanations
        ]
    )


def _print_explanations(found: dict[Path, Explanation]) -> None:
    for file, own in found.items():
        print_table((str(file), "probability"), [(name, f"{p:.1%}") for name, p in own.top])
        parts = zip(own.table["source_layer"], own.table["contribution"], strict=True)
        labels = (("bias" if source < 0 else f"source {source}", f"{part:+z.3f}") for source, part in parts)
        print_table((f"logit of {own.title}", f"{own.logit:+z.3f}"), labels)


def join_tables(tables: Mapping[Path, pd.DataFrame]) -> pd.DataFrame:
    """Return the tables below each other, with the column image: the file's name."""
    import pandas as pd

    names = (str(file).encode("utf-8", "backslashreplace").decode() for file in tables)  # they may not be Unicode
    named = [table.assign(image=name) for name, table in zip(names, tables.values(), strict=True)]
    return pd.concat(named, ignore_index=True)


@grouped_options
def lens(
    checkpoint: CheckpointArgument,
    source: DataSource = AS_RECORDED,
    images: ImagesOption = 1000,
    replace: Annotated[
        str,
        typer.Option(
            callback=check_choice("--replace", REPLACEMENTS),
            help="Value that replaces the layers that are not read: mean or zero.",
        ),
    ] = "mean",
    beside_untrained: Annotated[
        bool, typer.Option("--untrained", help="Also measure the untrained network, its norms set by these images.")
    ] = False,
    figure: FigureOption = None,
    table: TableOption = None,
    reading: Reading = AS_FOUND,
    as_json: JsonOption = False,
) -> None:
    """Show at which depth a network decides: loss and error when the classifier reads only the first layers."""
    from analysis.figures.export import save_table
    from analysis.figures.prediction.lens import lens_figure
    from analysis.prediction.lens import lens_by_depth, pooled_parts
    from analysis.reuse.untrained import build_untrained

    gc.enable()
    network = open_network(checkpoint, reading)
    test = open_test_images(network, source)
    networks = {network.spec.title: network}
    if beside_untrained:
        networks[f"{network.spec.title}, untrained"] = build_untrained(network.architecture, test)
    found = {}
    for name, own in networks.items():
        with progress(f"layer lens of {name}") as on_batch:
            found[name] = lens_by_depth(pooled_parts(own, test, images, on_batch=on_batch), cast(Any, replace))
    if as_json:
        print_json({name: by_depth.to_dict("records") for name, by_depth in found.items()})
    else:
        _print_by_depth(found, replace)
    if figure:
        write_figure(lens_figure(found), figure)
    if table:
        import pandas as pd

        print_written(save_table(pd.concat([by_depth.assign(network=name) for name, by_depth in found.items()]), table))


def _print_by_depth(found: Mapping[str, pd.DataFrame], replace: str) -> None:
    for name, by_depth in found.items():
        print_line(f"{name}: {by_depth.attrs['num_images']} images, layers not read replaced by {replace}")
        columns = by_depth[["source_layer", "loss", "error", "decided"]].itertuples(index=False, name=None)
        rows = [(str(s), f"{loss:.3f}", f"{error:.2f} %", f"{decided:.1f} %") for s, loss, error, decided in columns]
        print_table(("sources read: 0 to", "loss", "error", "decided"), rows)


@grouped_options
def classes(
    checkpoint: CheckpointArgument,
    source: DataSource = AS_RECORDED,
    images: ImagesOption = 500,
    figure: FigureOption = None,
    table: TableOption = None,
    reading: Reading = AS_FOUND,
    as_json: JsonOption = False,
) -> None:
    """Show which connections each class needs most, and the confusions that connections prevent.

    An interrupted measurement resumes when the same command runs again; a finished one is cached.
    """
    from analysis.figures.export import save_table
    from analysis.figures.prediction.decision import matrix_figure
    from analysis.prediction.by_class import cluster_classes, confusion_pairs, reuse_by_class
    from analysis.reuse.measuring import cache_folder

    gc.enable()
    network = open_network(checkpoint, reading)
    test = open_test_images(network, source)
    names = test.class_names
    with progress(f"reuse by class of {network.spec.title}") as on_batch:
        found = reuse_by_class(network, test, images, on_batch=on_batch, keep_in=cache_folder())
    strongest = found.loc[found.groupby("class")["ablation"].idxmax()]
    pairs = confusion_pairs(found)
    if as_json:
        print_json({"strongest": strongest.to_dict("records"), "confusions": pairs.to_dict("records")})
    else:
        _print_strongest(strongest, names)
        print_line()
        _print_confusions(pairs, names)
    if figure:
        clustered = cluster_classes(found)
        labels = [names[number] for number in clustered.index]
        write_figure(matrix_figure(clustered, labels, "correlation", -1, 1), figure)
    if table:
        print_written(save_table(found, table))


def _print_strongest(rows: pd.DataFrame, names: Sequence[str]) -> None:
    shown = rows[["class", "num_images", "block", "source_layer", "target_layer", "ablation", "error_rise"]]
    print_table(
        ("class", "images", "strongest connection", "loss when cut", "error when cut"),
        [
            (names[c], str(n), f"{b}: {s} -> {t}", f"{loss:+z.3f}", f"{error:+z.1f} points")
            for c, n, b, s, t, loss, error in shown.itertuples(index=False, name=None)
        ],
    )


def _print_confusions(rows: pd.DataFrame, names: Sequence[str]) -> None:
    shown = rows[["block", "source_layer", "target_layer", "class", "predicted", "images"]]
    print_table(
        ("connection", "class", "taken for", "images when cut"),
        [
            (f"{b}: {s} -> {t}", names[c], names[p], f"{n:+d}")
            for b, s, t, c, p, n in shown.itertuples(index=False, name=None)
        ],
    )
