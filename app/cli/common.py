"""The arguments that commands share, and how they open networks and images."""

from __future__ import annotations

import inspect
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast, get_args

import typer

from analysis.reuse.measures import PRECISIONS
from app.cli.output import is_quiet, print_notes, progress
from densenet_core.data.names import CHANNEL_STATISTICS, DATASET_NAMES

if TYPE_CHECKING:
    import pandas as pd

    from densenet_core import Checkpoint
    from densenet_core.data.images import Images
    from densenet_core.networks.spec import Spec


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
DataOption = Annotated[Path, typer.Option(metavar="DIR", help="The folder of the data sets.")]
NormalizeOption = Annotated[
    str | None,
    typer.Option(
        callback=check_choice("--normalize", CHANNEL_STATISTICS),
        help=f"Channel statistics for the data set folder: {', '.join(CHANNEL_STATISTICS)}.",
        show_default="from the checkpoint's record",
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        callback=check_choice("--dataset", DATASET_NAMES),
        help=f"{', '.join(DATASET_NAMES)}.",
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
        help="Processes that measure an ablation together; the results are the same.",
    ),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        callback=check_choice("--precision", PRECISIONS),
        help="Of the convolutions of an ablation: fp32, or bf16, which is faster only on processors with instructions "
        "for it; its error is measured and printed.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


class Reading(NamedTuple):
    """Options of ``load_checkpoint``, None where the file shows them."""

    order: str | None = None
    weights: str | None = None
    keras_layout: str | None = None
    norm: str | None = None

    @property
    def given(self) -> list[str]:
        """The options that were given."""
        return [f"--{name.replace('_', '-')}" for name, value in self._asdict().items() if value is not None]


def _orders() -> tuple[str, ...]:
    from densenet_core.checkpoints.identify.concat_order import ORDERS

    return ORDERS


def _keras_layouts() -> tuple[str, ...]:
    from densenet_core.checkpoints.formats.keras_file import KerasLayout

    return get_args(KerasLayout)


AS_FOUND = Reading()
_READING_OPTIONS: dict[str, Any] = {
    "order": typer.Option(
        callback=check_choice("--order", _orders),
        help="The order in which the network concatenates: old_first or new_first.",
        show_default="from the running statistics, else old_first",
    ),
    "weights": typer.Option(
        metavar="NAME",
        help="Which weights to read where the file holds several, such as state_dict_ema; inspect lists them.",
        show_default="the plain weights of the only network",
    ),
    "keras_layout": typer.Option(
        callback=check_choice("--keras-layout", _keras_layouts),
        help="How a Keras file stores its kernels: tensorflow or theano (Keras 1).",
        show_default="from its configuration, else from the shapes",
    ),
    "norm": typer.Option(
        help="The kind of norms without running statistics: group-N for N groups, layer, instance or batch_statistics.",
        show_default="from their names, else group-32",
    ),
}


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of ``Reading``, in place of its parameter ``reading``."""

    @wraps(command)
    def read(*args: Any, **values: Any) -> None:
        command(*args, reading=Reading(**{name: values.pop(name) for name in Reading._fields}), **values)

    by_name = inspect.Parameter.KEYWORD_ONLY
    own = [each.replace(kind=by_name) for each in inspect.signature(command, eval_str=True).parameters.values()]
    made = [
        inspect.Parameter(name, by_name, default=None, annotation=Annotated[str | None, option])
        for name, option in _READING_OPTIONS.items()
    ]
    taken = [new for each in own for new in (made if each.name == "reading" else [each])]
    read.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]  # what typer reads
    read.__annotations__ = {each.name: each.annotation for each in taken}
    return read


def open_network(text: str, reading: Reading = AS_FOUND, is_noted: bool = True) -> Checkpoint:
    """Return the network of a file, a run folder or a zoo name, and print its caveats unless ``is_noted`` is False."""
    network = _open_network(text, reading)
    if is_noted:
        print_notes(network.caveats)
    return network


def _open_network(text: str, reading: Reading) -> Checkpoint:
    from densenet_core import load_checkpoint, load_zoo, zoo_names

    order, weights, keras_layout, norm = reading
    if Path(text).exists():
        return load_checkpoint(text, cast(Any, order), weights, cast(Any, keras_layout), norm)
    if keras_layout is not None:
        raise ValueError(f"--keras-layout {keras_layout!r} is for a Keras file, and {text!r} is not a file")
    if norm is not None:
        raise ValueError(f"--norm {norm!r} is for files whose norms have no running statistics, not for {text!r}")
    if text in zoo_names() and weights is None:
        return load_zoo(text)
    if text in zoo_names():
        raise ValueError(f"--weights {weights!r} names weights inside a file: zoo network {text!r} has one set")
    raise ValueError(f"checkpoint {text!r} is neither a file, a run folder nor in the zoo ({', '.join(zoo_names())})")


def is_saved(text: str) -> bool:
    """Return whether this is a file, a run folder or a zoo name: a network with weights, not an architecture."""
    from densenet_core import zoo_names

    return Path(text).exists() or text in zoo_names()


def open_spec(text: str, reading: Reading = AS_FOUND) -> Spec:
    """Return the architecture of a checkpoint, or of a network's name."""
    return open_sized_spec(text, reading)[0]


def open_sized_spec(text: str, reading: Reading = AS_FOUND) -> tuple[Spec, int]:
    """Return the architecture of a checkpoint, or of a network's name, and the usual side of its images in pixels."""
    from analysis.architecture.cost import usual_input_size
    from densenet_core.networks.names import published_spec

    record: dict[str, Any] = {}
    if is_saved(text):
        network = open_network(text, reading, is_noted=False)
        spec, record = network.architecture, network.record
    else:
        spec = published_spec(text)
    return spec, usual_input_size(spec, record)


def open_test_images(
    network: Checkpoint,
    dataset: str | None,
    data: Path,
    normalize: str | None,
    crops: int = 1,
    densenet_only: bool = False,
    is_noted: bool = True,
) -> Images:
    """Return the test images to measure a network on: of the given data set, or of the one that its record names.

    Prints what is assumed about the network unless ``is_noted`` is False.

    Raises:
        CheckpointError: the network can't be built, or ``densenet_only`` and it is not a DenseNet.
        DataError: no data set is named, it is missing, or its images do not fit the network.
    """
    from analysis.reuse.connections import dense_spec
    from densenet_core.data.datasets import load_test_images
    from densenet_core.data.recorded import choose_data
    from densenet_core.training.evaluation import check_images

    # a network that can't be built is refused before a data set is asked for
    _ = dense_spec(network) if densenet_only else network.architecture
    chosen = choose_data(network.record, dataset, cast(Any, normalize))
    images = load_test_images(chosen.dataset, data, chosen.normalize, crops)
    check_images(network, images)
    if is_noted:
        print_assumed(network)
    return images


def print_assumed(network: Checkpoint) -> None:
    """Print what a network's scores depend on and its file does not show."""
    if network.assumed:
        print_notes([f"assumed, as the file does not show it: {'; '.join(network.assumed)}"])


def measure_network(
    network: Checkpoint, measures: Sequence[str], images: Images | None, number: int, **ablation: Any
) -> pd.DataFrame:
    """Return the feature-reuse table with these measures, with a progress bar; slow measures are cached.

    Args:
        ablation: options of ``connection_ablation``: replace, workers and precision.
    """
    from analysis.reuse.measuring import cache_folder, measure_reuse

    with progress(f"{', '.join(measures)} of {network.spec.title}") as on_batch:
        table = measure_reuse(network, measures, images, number, on_batch=on_batch, keep_in=cache_folder(), **ablation)
    if (error := table.attrs.get("bf16_error")) is not None and not is_quiet():
        print(f"bf16: ablations differ from fp32's by at most {error:.1g} nats on the first images", file=sys.stderr)
    return table
