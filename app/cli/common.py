"""The arguments and options that commands share, and how their values are checked."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

import typer

from analysis.reuse.measures import PRECISIONS
from densenet_core.data.names import CHANNEL_STATISTICS, DATASET_NAMES


def check_ending(what: str, *formats: str) -> Callable[[Path | None], Path | None]:
    """Return a callback that checks an option's file, its ending and its place, before the command starts."""

    def check(file: Path | None) -> Path | None:
        if file is None:
            return None
        if file.suffix.lower().removeprefix(".") not in formats:
            raise ValueError(f"{what} file {file.name!r} does not end in .{', .'.join(formats)}")
        place = next(parent for parent in file.absolute().parents if parent.exists())
        if file.is_dir() or not place.is_dir() or not os.access(place, os.W_OK):
            raise ValueError(f"{what} file {str(file)!r} can't be written: name a file in a folder that can be written")
        return file

    return check


def check_choice(option: str, choices: Iterable[str] | Callable[[], Iterable[str]]) -> Callable[[str | None], Any]:
    """Return a callback that checks before the command starts that an option's value is one of ``choices``.

    Args:
        choices: the values, or a function that returns them where they are slow to import.
    """

    def check(value: str | None) -> str | None:
        known = [] if value is None else list(choices() if callable(choices) else choices)
        if value is not None and value not in known:
            raise ValueError(f"{option} {value!r} is unknown: choose from {', '.join(known)}")
        return value

    return check


def check_number(
    option: str, minimum: float | None = None, above: float = 0, maximum: float | None = None
) -> Callable[[float | None], Any]:
    """Return a callback that checks before the command starts that an option's value is a number in a range.

    Args:
        minimum: the smallest value; without it, values must be larger than ``above``.
    """
    if minimum is not None:
        words = f"{minimum} or more" if maximum is None else f"from {minimum} to {maximum}"
    else:
        words = f"above {above}" if maximum is None else f"above {above} and at most {maximum}"

    def check(value: float | None) -> float | None:
        is_low = value is not None and (value < minimum if minimum is not None else value <= above)
        is_high = value is not None and maximum is not None and value > maximum
        if value is not None and (is_low or is_high or not math.isfinite(value)):
            raise ValueError(f"{option} {value} must be {words}")
        return value

    return check


FigureOption = Annotated[
    Path | None,
    typer.Option(
        callback=check_ending("figure", "pdf", "svg", "png"), help="Write the figure to this file: .pdf, .svg or .png."
    ),
]
TableOption = Annotated[
    Path | None, typer.Option(callback=check_ending("table", "csv"), help="Write the table to this file: .csv.")
]
CheckpointArgument = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint file, a run folder, or the name of a zoo network.")
]
DataOption = Annotated[Path, typer.Option(metavar="DIR", help="Folder of the data sets.")]
NormalizeOption = Annotated[
    str | None,
    typer.Option(
        callback=check_choice("--normalize", CHANNEL_STATISTICS),
        help=f"Channel statistics of images in class folders: {', '.join(CHANNEL_STATISTICS)}.",
        show_default="from the checkpoint's record",
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        callback=check_choice("--dataset", DATASET_NAMES),
        help=f"Data set: {', '.join(DATASET_NAMES)}.",
        show_default="from the checkpoint's record",
    ),
]
InputOption = Annotated[
    int | None,
    typer.Option(
        "--input",
        callback=check_number("--input", minimum=1),
        help="Pixels per side of the images.",
        show_default="the network's own",
    ),
]
ImagesOption = Annotated[
    int,
    typer.Option(
        metavar="NUMBER",
        callback=check_number("--images", minimum=1),
        help="Number of test images, evenly spaced over the set.",
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        metavar="NUMBER",
        callback=check_number("--workers", minimum=1),
        help="Number of processes for an ablation; the results do not change.",
    ),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        callback=check_choice("--precision", PRECISIONS),
        help="Precision of an ablation's convolutions: fp32, or bf16, which is faster only on processors with "
        "instructions for it; its error is measured and printed.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def _orders() -> tuple[str, ...]:
    from densenet_core.checkpoints.identify.concat_order import ORDERS

    return ORDERS


def _keras_layouts() -> tuple[str, ...]:
    from densenet_core.checkpoints.formats.keras_file import KerasLayout

    return get_args(KerasLayout)


class Reading(NamedTuple):
    """Options of ``load_checkpoint``, None where the file shows them."""

    order: Annotated[
        str | None,
        typer.Option(
            callback=check_choice("--order", _orders),
            help="Order in which the network concatenates feature maps: old_first or new_first.",
            show_default="from the running statistics, else old_first",
        ),
    ] = None
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Set of weights to read if the file holds several, such as state_dict_ema; `inspect` lists them.",
            show_default="the plain weights of the only network",
        ),
    ] = None
    keras_layout: Annotated[
        str | None,
        typer.Option(
            callback=check_choice("--keras-layout", _keras_layouts),
            help="Layout of the kernels in a Keras file: tensorflow or theano (Keras 1).",
            show_default="from its configuration, else from the shapes",
        ),
    ] = None
    norm: Annotated[
        str | None,
        typer.Option(
            help="Kind of the norms without running statistics: group-N for N groups, layer, instance or "
            "batch_statistics.",
            show_default="from their names, else group-32",
        ),
    ] = None

    @property
    def given(self) -> list[str]:
        """The options that were given."""
        return [f"--{name.replace('_', '-')}" for name, value in self._asdict().items() if value is not None]


class DataSource(NamedTuple):
    """Options that name a data set; None where the checkpoint's record does."""

    dataset: DatasetOption = None
    data: DataOption = Path("data")
    normalize: NormalizeOption = None


AS_FOUND = Reading()
AS_RECORDED = DataSource()


def grouped_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of its parameters of type ``Reading`` and ``DataSource``."""
    own = inspect.signature(command, eval_str=True).parameters
    groups = {name: each.annotation for name, each in own.items() if each.annotation in (Reading, DataSource)}

    @wraps(command)
    def grouped(*args: Any, **values: Any) -> None:
        made = {name: kind(**{field: values.pop(field) for field in kind._fields}) for name, kind in groups.items()}
        command(*args, **values, **made)

    by_name = inspect.Parameter.KEYWORD_ONLY
    taken: list[inspect.Parameter] = []
    for name, each in own.items():
        if (kind := groups.get(name)) is None:
            taken.append(each.replace(kind=by_name))
            continue
        for field, annotation in get_type_hints(kind, include_extras=True).items():
            default = kind._field_defaults[field]
            taken.append(inspect.Parameter(field, by_name, default=default, annotation=annotation))
    grouped.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]  # what typer reads
    grouped.__annotations__ = {each.name: each.annotation for each in taken}
    return grouped
