"""How commands open networks and images, and measure networks."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from app.cli.common import AS_FOUND, DataSource, Reading
from app.cli.output import is_quiet, note_opened, print_notes, progress

if TYPE_CHECKING:
    import pandas as pd

    from densenet_core import Checkpoint
    from densenet_core.data.datasets import DataSplits
    from densenet_core.data.images import Images
    from densenet_core.networks.spec import Spec


def open_network(text: str, reading: Reading = AS_FOUND, is_noted: bool = True) -> Checkpoint:
    """Return the network of a file, a run folder or a zoo name, and print its caveats unless ``is_noted`` is False."""
    network = _open_network(text, reading)
    note_opened(text, network)
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


def check_exists(text: str) -> None:
    """Raise ValueError where a text is the name of a file or folder that does not exist, not of an architecture."""
    if not Path(text).exists() and any(sign in text for sign in (".", "/", os.sep)):
        raise ValueError(f"there is no file or folder {text!r}: give an existing one, or a name such as densenet121")


def check_not_read(option: str, file: Path, source: str) -> None:
    """Raise ValueError where a file to write is the one that the network was read from."""
    from densenet_core.checkpoints.checkpoint import RUN_WEIGHTS

    read = Path(source)
    if file.resolve() in (read.resolve(), (read / RUN_WEIGHTS).resolve()):
        raise ValueError(f"{option} {str(file)!r} is the file of the network that is read: give another name")


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
        check_exists(text)
        spec = published_spec(text)
    return spec, usual_input_size(spec, record)


def open_test_images(
    network: Checkpoint, source: DataSource, crops: int = 1, densenet_only: bool = False, is_noted: bool = True
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
    chosen = choose_data(network.record, source.dataset, cast(Any, source.normalize))
    images = load_test_images(chosen.dataset, source.data, chosen.normalize, crops)
    check_images(network, images)
    if is_noted:
        print_assumed(network)
    return images


def open_measuring_splits(network: Checkpoint, source: DataSource) -> DataSplits:
    """Return training images to measure a DenseNet on, not augmented, and test images to evaluate it.

    Raises:
        CheckpointError, DataError: as ``open_test_images``.
    """
    from analysis.reuse.connections import dense_spec
    from densenet_core.data.datasets import load_measuring_splits
    from densenet_core.data.recorded import choose_data
    from densenet_core.training.evaluation import check_images

    dense_spec(network)
    chosen = choose_data(network.record, source.dataset, cast(Any, source.normalize))
    splits = load_measuring_splits(chosen.dataset, source.data, chosen.normalize)
    check_images(network, splits.test)
    print_assumed(network)
    return splits


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
