"""Shared results of the pages: networks, test images, the feature-reuse table, files of figures.

What one page alone needs is in that page's module. Heavy imports are inside the functions: the first page is drawn
before torch is imported.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from analysis.architecture.cost import count_cost, total_cost
from analysis.reuse.connections import connection_weights
from app.dashboard.caching import cache
from app.dashboard.jobs.session import the_queue
from app.dashboard.jobs.task import Task
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.roots import in_served_folders
from app.dashboard.server.options import server_options
from densenet_core import Checkpoint, CheckpointError, load_checkpoint, load_pretrained
from densenet_core.checkpoints.identify.variants import is_norm_assumed
from densenet_core.errors import OpenNormsError, SeveralNetworksError, reworded
from densenet_core.networks.names import published_spec
from densenet_core.networks.spec import Spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.figures.export import Facts
    from densenet_core.data.images import Images
    from densenet_core.data.names import Normalization

MAX_WEIGHTS = 6  # sets of weights of one file that can be chosen
MAX_AT_ONCE = 2e11  # mult_adds that are computed while the page waits; what takes more is a job


def read_upload(upload: UploadedFile, name: str, norm: str | None = None) -> NetworkKey:
    """Read an uploaded file, while it is at hand, and return its key.

    Args:
        name: of its content, such as a hash.
        norm: as in ``load_checkpoint``.

    Raises:
        CheckpointError: it is too large, or can't be read.
    """
    key = NetworkKey("upload", name, norm=norm)
    for weights in _weights_of(key, upload)[:MAX_WEIGHTS]:  # all of them, while the file is at hand
        _load(key._replace(weights=weights), upload)
    return key


def weights_of(key: NetworkKey) -> tuple[str, ...]:
    """Return the names of the weights in a network's file that can be chosen, the plain ones first; empty for one set.

    Raises:
        CheckpointError: the file can't be read.
    """
    return _weights_of(key, None)[:MAX_WEIGHTS] if key.origin in ("file", "upload") else ()


@cache(16, private_entries=4, copies=False)
def _weights_of(key: NetworkKey, _upload: UploadedFile | None) -> tuple[str, ...]:
    try:
        held = _load(key, _upload).held
    except SeveralNetworksError as error:
        return error.names
    return (held.weights, *held.other_weights) if held is not None and held.other_weights else ()


def is_norm_open(key: NetworkKey, upload: UploadedFile | None) -> bool:
    """Return whether the kind of a network's norms is not visible in its file: ``load_checkpoint`` takes ``norm``."""
    try:
        network = _load(key, upload)
        _ = network.architecture  # raises if only what it concatenates is known
        return is_norm_assumed(network.assumed)
    except CheckpointError as error:
        return isinstance(error, OpenNormsError)


def load(key: NetworkKey) -> Checkpoint:
    """Return the network of a key. Read only: all sessions share it, unless it is an upload."""
    return _load(key, None)


def load_for(task: Task) -> Checkpoint | tuple[Checkpoint, ...] | None:
    """Return what a task's function gets: its network, a tuple of several, or None."""
    networks = tuple(map(load, task.networks))
    return networks if len(networks) > 1 else networks[0] if networks else None


def spec_and_record(key: NetworkKey) -> tuple[Spec, dict[str, Any]]:
    """Return a network's architecture and the record of its training, which may be empty.

    Raises:
        CheckpointError: the network can't be read, or only what it concatenates is known.
    """
    if key.origin == "arch":
        return published_spec(key.name), {}
    network = load(key)
    return network.architecture, network.record


@cache(16, private_entries=8, spinner="network", copies=False)
def _load(key: NetworkKey, _upload: UploadedFile | None) -> Checkpoint:
    if key.origin == "upload":
        return _load_upload(_upload, key.reading)
    if key.origin == "pretrained":
        return load_pretrained(key.name)
    with in_served_folders():
        return load_checkpoint(key.name, **key.reading)


def _load_upload(upload: UploadedFile | None, reading: dict[str, Any]) -> Checkpoint:
    if upload is None:
        raise CheckpointError("the uploaded file is gone: upload it again")
    limit = st.get_option("server.maxUploadSize")
    if upload.size > limit * 2**20:  # Streamlit's own check is the browser's
        raise CheckpointError(
            f"{upload.name}: the file has {upload.size:,} bytes, and uploads are limited to {limit} MB: "
            "put it into a served folder"
        )
    gc.collect()  # ended sessions hold their uploads in cycles of references
    with tempfile.TemporaryDirectory(prefix="densenet-lens-", ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "upload"  # never under its own name
        file.write_bytes(upload.getbuffer())
        try:
            return load_checkpoint(file, **reading)
        except CheckpointError as error:  # which names the file as it lies here
            raise reworded(error, f"{upload.name}: {str(error).removeprefix(f'{file.name}: ')}") from error


def disk_cache(key: NetworkKey) -> Path | None:
    """Return the folder on disk that keeps what is measured on a network.

    None for an upload, which leaves no trace, and on a server that writes nothing.
    """
    from analysis.reuse.measuring import cache_folder

    return None if key.is_private or server_options().read_only else cache_folder()


def load_images(images: ImagesKey) -> Images:
    """Return the data set's test images, all of them."""
    return _load_images(images.dataset, images.root, images.normalize)


@cache(4, spinner="images", copies=False)
def _load_images(dataset: str, root: str, normalize: Normalization | None) -> Images:
    from densenet_core.data.datasets import load_test_images

    with in_served_folders():
        return load_test_images(dataset, root, normalize)


def images_size(images: ImagesKey) -> int:
    """Return the pixels a side of these images."""
    return int(load_images(images).image_size)


def check_images(images: ImagesKey, key: NetworkKey) -> None:
    """Check that these images can be read and fit this network.

    Raises:
        DataError: they can't, or do not.
    """
    from densenet_core.training.evaluation import check_images as check_images_of

    check_images_of(load(key), load_images(images))


def measured_task(key: NetworkKey, measures: tuple[str, ...], images: ImagesKey) -> Task:
    """Return the job that measures a network on images."""
    return Task("measured", key, (measures, images, disk_cache(key)))


def takes_long(key: NetworkKey, images: ImagesKey, passes: float) -> bool:
    """Return whether this many forward passes per image take more than a few seconds on a CPU."""
    return cost_of(key, images) * passes > MAX_AT_ONCE


def cost_of(key: NetworkKey, images: ImagesKey) -> float:
    """Return the mult_adds of a forward pass of these images."""
    counted = total_cost(count_cost(load(key).architecture, images_size(images)))
    return float(counted["mult_adds"]) * images.number


def measured_table(key: NetworkKey, measures: tuple[str, ...], images: ImagesKey | None) -> pd.DataFrame:
    """Return the feature-reuse table with these measures; without images it has those of the weights alone.

    Where a job has measured them, this is its result.
    """
    job = None if images is None else the_queue().find(measured_task(key, measures, images))
    if job is not None and job.state == "finished":
        table: pd.DataFrame = job.result
        return table
    return _measured_table(key, measures, images)


@cache(32, spinner="measuring")
def _measured_table(key: NetworkKey, measures: tuple[str, ...], images: ImagesKey | None) -> pd.DataFrame:
    if images is None:
        return connection_weights(load(key))
    from analysis.reuse.measuring import measure_reuse

    return measure_reuse(load(key), measures, load_images(images), images.number, keep_in=disk_cache(key))


def figure_file(draw: Callable[..., Figure], name: str, table: pd.DataFrame, *options: Any) -> bytes:
    """Return the content of a paper-style figure's file: ``draw(table, *options)``; the last option is the format.

    Args:
        name: of the figure, under which it is cached.
    """
    from analysis.figures.export import file_facts

    return _figure_file(draw, file_facts(), name, table, *options)


@cache(32)
def _figure_file(
    _draw: Callable[..., Figure], facts: Facts | None, name: str, table: pd.DataFrame, *options: Any
) -> bytes:
    """Return the same; the facts are those that are in force."""
    from analysis.figures.export import figure_bytes

    return figure_bytes(_draw(table, *options[:-1]), options[-1])
