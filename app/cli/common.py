"""What the commands share: their arguments, and how they print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    import pandas as pd

    from densenet_core import Checkpoint
    from densenet_core.data.images import Images
    from densenet_core.networks.names import Spec

CheckpointArgument = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint file, a run folder, or a name of the zoo.")
]
OrderOption = Annotated[
    str | None,
    typer.Option(
        help="In which order the network concatenates: old_first or new_first.",
        show_default="as its running statistics show, else old_first",
    ),
]
DataOption = Annotated[Path, typer.Option(metavar="DIR", help="Where the data sets lie.")]
NormalizeOption = Annotated[
    str | None,
    typer.Option(
        help="For the data set folder: whose channel statistics: cifar10, cifar100, imagenet, digits or none.",
        show_default="imagenet",
    ),
]
DatasetOption = Annotated[str, typer.Option(help="digits, cifar10, cifar100, svhn, imagenet or folder.")]
InputOption = Annotated[
    int | None,
    typer.Option("--input", help="Pixels a side of the images.", show_default="what the network is made for"),
]
ImagesOption = Annotated[int, typer.Option(metavar="NUMBER", help="Test images to take, evenly spaced over the set.")]


def open_network(text: str, order: str | None = None) -> Checkpoint:
    """The network of a file, a run folder or a name of the zoo; ``order`` as in ``load_checkpoint``."""
    from densenet_core import load_checkpoint, load_zoo, zoo_names
    from densenet_core.checkpoints.identify.concat_order import ORDERS

    if order is not None and order not in ORDERS:
        raise ValueError(f"--order {order!r} is none of {', '.join(ORDERS)}")
    if Path(text).exists():
        return load_checkpoint(text, cast(Any, order))
    if text in zoo_names():
        return load_zoo(text)
    raise ValueError(f"checkpoint {text!r} is neither a file, a run folder nor in the zoo ({', '.join(zoo_names())})")


def is_saved(text: str) -> bool:
    """Whether this is a file, a run folder or a name of the zoo: a network with weights, not an architecture's name."""
    from densenet_core import zoo_names

    return Path(text).exists() or text in zoo_names()


def open_spec(text: str) -> Spec:
    """The architecture of a checkpoint, or of a network's name."""
    from densenet_core.networks.names import published_spec

    return open_network(text).architecture if is_saved(text) else published_spec(text)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error; the function that moves it takes what is done and the whole."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def measured(
    network: Checkpoint, measures: Sequence[str], images: Images | None, number: int, replace: Any = "zero"
) -> pd.DataFrame:
    """The feature-reuse table with these measures; a bar moves meanwhile, and what takes long is kept."""
    from analysis.reuse.measures import cache_folder, measure_reuse

    with progress(f"{', '.join(measures)} of {network.spec.title}") as on_batch:
        return measure_reuse(network, measures, images, number, replace, on_batch, cache_folder())


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Labels and values, one pair a line."""
    pairs = list(pairs)
    width = max(len(label) for label, _ in pairs)
    for label, value in pairs:
        print(f"{label:{width}}  {value}")


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table in columns, numbers to the right."""
    rows = list(rows)
    columns = list(zip(header, *rows, strict=True))
    sides = [">" if all(cell[:1].isdigit() for cell in column[1:]) else "<" for column in columns]
    widths = [max(map(len, column)) for column in columns]
    for row in (header, *rows):
        cells = (f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True))
        print("  ".join(cells).rstrip())
