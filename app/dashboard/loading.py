"""The cached functions, all but the figures' (``charts``): everything else is computed anew at each change.

They import what they need when they run: the first page stands before torch is imported.

A network is known by a key that changes when its content does, so a cached result is never of an older file. What is of
an upload is kept for its session alone, and goes with it.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from analysis.reuse.connections import connection_weights
from analysis.reuse.observations import Observation, figure5_observations
from app.dashboard.language import t
from app.dashboard.roots import DATA_DIR
from densenet_core import Checkpoint, CheckpointError, load_checkpoint, load_pretrained
from densenet_core.networks.names import Spec, published_spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from densenet_core.data.images import Images

P = ParamSpec("P")
R = TypeVar("R")
_IS_SPINNING: ContextVar[bool] = ContextVar("is_spinning", default=False)


class NetworkKey(NamedTuple):
    """A network to show: where it comes from, and a stamp of its content."""

    origin: str  # file, pretrained, upload or arch (no weights)
    name: str  # a path, torchvision's or the architecture's name, or Streamlit's own for this upload
    stamp: tuple[int, int] = (0, 0)  # of a file: modification time in ns, size in bytes


def file_key(path: Path) -> NetworkKey:
    """The key of a checkpoint file or run folder as it is now."""
    file = path / "model.safetensors" if path.is_dir() else path
    try:
        stat = file.stat()
    except OSError:
        return NetworkKey("file", str(path))  # loading it says what is wrong
    return NetworkKey("file", str(path), (stat.st_mtime_ns, stat.st_size))


def upload_key(upload: UploadedFile) -> NetworkKey:
    """The key of an uploaded file, which is read here, while it is at hand.

    Raises:
        CheckpointError: it is too large, or can't be read.
    """
    most = st.get_option("server.maxUploadSize")
    if upload.size > most * 2**20:  # Streamlit's own check is the browser's
        raise CheckpointError(
            f"the file has {upload.size:,} bytes, and uploads are taken up to {most} MB: put it into a served folder"
        )
    key = NetworkKey("upload", upload.file_id)
    _load_upload(key.name, upload)
    return key


def _spinning(words: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Shows the words of the table "spinners" while a function runs: the cache's own could be in one language only.

    It goes under the cache: the end of a spinner is sent even where none was shown, and the browser then builds anew
    what stands in its place. What runs inside another has none of its own, which would end the other's.
    """

    def spinning(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if _IS_SPINNING.get():
                return function(*args, **kwargs)
            token = _IS_SPINNING.set(True)
            try:
                with st.spinner(t(f"spinners.{words}")):
                    return function(*args, **kwargs)
            finally:
                _IS_SPINNING.reset(token)

        return call

    return spinning


def load(key: NetworkKey) -> Checkpoint:
    """The network of a key, to be read only: all sessions share it, but for an upload."""
    return _load_upload(key.name, None) if key.origin == "upload" else _load(key)


def spec_and_record(key: NetworkKey) -> tuple[Spec, dict[str, Any]]:
    """A network's architecture and the record of its training, which may be empty.

    Raises:
        CheckpointError: the network can't be read, or only what it concatenates is known.
    """
    if key.origin == "arch":
        return published_spec(key.name), {}
    network = load(key)
    return network.architecture, network.record


@st.cache_resource(max_entries=16, show_spinner=False)
@_spinning("network")
def _load(key: NetworkKey) -> Checkpoint:
    return load_pretrained(key.name) if key.origin == "pretrained" else load_checkpoint(key.name)


@st.cache_resource(max_entries=4, show_spinner=False, scope="session")
@_spinning("network")
def _load_upload(file_id: str, _upload: UploadedFile | None) -> Checkpoint:
    if _upload is None:
        raise CheckpointError("the uploaded file is gone: give it again")
    with tempfile.TemporaryDirectory(prefix="densenet-lens-", ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "upload"  # never under its own name
        file.write_bytes(_upload.getbuffer())
        return load_checkpoint(file)


def cached_by_network(
    max_entries: int, own_entries: int | None = None, cache: Any = st.cache_data
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """``cache`` for a function whose first argument is a network's key.

    Args:
        own_entries: of the uploads of a session, where it is to keep fewer.
    """

    def cached(function: Callable[..., R]) -> Callable[..., R]:
        shared = cache(max_entries=max_entries, show_spinner=False)(function)
        own = cache(scope="session", max_entries=own_entries or max_entries, show_spinner=False)(function)

        @functools.wraps(function)
        def call(key: NetworkKey, *rest: Any) -> R:
            result: R = (own if key.origin == "upload" else shared)(key, *rest)
            return result

        return call

    return cached


def _kept_in(key: NetworkKey) -> Path | None:
    """Where on disk what was measured on a network is kept: nowhere for an upload."""
    from analysis.reuse.measuring import cache_folder

    return None if key.origin == "upload" else cache_folder()


@st.cache_resource(max_entries=4, show_spinner=False)
@_spinning("images")
def _test_images(dataset: str, root: str, normalize: Any) -> Images:
    from densenet_core.data.datasets import load_test_images

    return load_test_images(dataset, root, normalize)


@st.cache_resource(max_entries=2, show_spinner=False)
@_spinning("images")
def _measuring_images(dataset: str, root: str, normalize: Any) -> tuple[Images, Images]:
    from densenet_core.data.datasets import load_measuring_images

    return load_measuring_images(dataset, root, normalize)


@st.cache_data(max_entries=16, show_spinner=False)
def digits_as_maps(first: int, number: int) -> Tensor:
    """Handwritten digits from ``first`` on, one of each class, as the feature maps of one image: (1, number, 8, 8)."""
    from densenet_core.data.datasets import load_test_images

    test = load_test_images("digits")
    images, labels = next(test.batches(len(test)))
    rows = [int((labels == digit % 10).nonzero()[0]) for digit in range(first, first + number)]
    return images[rows].transpose(0, 1)


def check_images(images: Any, key: NetworkKey) -> None:
    """Says whether these images are there and fit this network.

    Raises:
        DataError: they do not.
    """
    from densenet_core.training.evaluation import check_fit

    check_fit(load(key).architecture, _test_images(*images[:3]))


@cached_by_network(32)
@_spinning("measuring")
def measured_table(key: NetworkKey, measures: tuple[str, ...], images: Any) -> pd.DataFrame:
    """The feature-reuse table with these measures; ``images`` is an ``ImagesKey``, or None for the weights' alone."""
    if images is None:
        return connection_weights(load(key))
    from analysis.reuse.measuring import measure_reuse

    return measure_reuse(load(key), measures, _test_images(*images[:3]), images[3], keep_in=_kept_in(key))


@cached_by_network(64)
def observations(key: NetworkKey) -> tuple[Observation, ...]:
    """The paper's observations on Figure 5, read off this network's weights."""
    return figure5_observations(measured_table(key, (), None))


@cached_by_network(32)
@_spinning("claims")
def claims(key: NetworkKey, images: Any, beside: NetworkKey | None) -> pd.DataFrame:
    """The paper's claims on this network."""
    from analysis.claims.claims import check_claims, claims_table

    other = None if beside is None else load(beside)
    given = None if images is None else _test_images(*images[:3])
    return claims_table(check_claims(load(key), given, other, 0 if images is None else images[3]))


@cached_by_network(16)
@_spinning("gradients")
def gradient_flows(key: NetworkKey, images: Any) -> pd.DataFrame:
    """The network's, its own architecture's at initialisation, and its controls', on one batch of 64 images."""
    from analysis.claims.gradient_flow import flow_beside_controls

    return flow_beside_controls(load(key), _test_images(*images[:3]))


@cached_by_network(16)
@_spinning("pruning")
def pruning_table(key: NetworkKey, measures: tuple[str, ...], budget: Any, images: Any) -> pd.DataFrame:
    """Error as connections go, by each measure and at random."""
    from analysis.reuse.measuring import measure_reuse
    from analysis.reuse.pruning import pruning_curves

    chosen_by, judged_by = _measuring_images(*images[:3])
    table = measure_reuse(load(key), measures, chosen_by, images[3], keep_in=_kept_in(key))
    return pruning_curves(load(key), table, measures, judged_by, budget=budget, num_images=images[3])


@st.cache_data(max_entries=8, show_spinner=False)
@_spinning("measuring")
def highway_tables(key: NetworkKey, dataset: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What a run's gates let pass, on test images of its data set: ``transform_gates`` and ``carried_shares``."""
    from analysis.architecture.short_paths import carried_shares, transform_gates

    images = _test_images(dataset, str(DATA_DIR), None)
    return transform_gates(load(key), images), carried_shares(load(key), images)


@st.cache_data(max_entries=32, show_spinner=False)
def figure_file(_draw: Callable[..., Figure], name: str, table: pd.DataFrame, *options: Any) -> bytes:
    """A paper-style figure of a table as a file's content: ``_draw(table, *options)``; the last option is the format.

    Args:
        name: of the figure, which tells the cached ones apart.
    """
    from analysis.figures.export import figure_bytes

    return figure_bytes(_draw(table, *options[:-1]), options[-1])


@st.cache_data(max_entries=4, show_spinner=False)
@_spinning("results")
def results_table(stamps: tuple[NetworkKey, ...]) -> pd.DataFrame:
    """Published results, those of the suite's sweeps and zoo, and those of the run folders of ``stamps``."""
    from analysis.results.results import mean_over_seeds, measured_results, published_results, shipped_results

    measured = measured_results([key.name for key in stamps])
    table = mean_over_seeds(pd.concat([published_results(), shipped_results(), measured], ignore_index=True))
    table.attrs["skipped"] = measured.attrs["skipped"]
    return table


@st.cache_data(max_entries=64, show_spinner=False)
@_spinning("latency")
def latency_table(
    names: tuple[str, ...], specs: tuple[Spec, ...], input_size: int, repeats: int, training: bool
) -> pd.DataFrame:
    """Measured times of networks on this machine, one image a pass."""
    from analysis.architecture.latency import measure_latency

    return measure_latency(dict(zip(names, specs, strict=True)), input_size, repeats=repeats, training=training)


@st.cache_data(max_entries=32, show_spinner=False)
def efficiency_figure_file(results: pd.DataFrame, cost: str, log: bool, file_format: str) -> bytes:
    """The paper-style efficiency figure as a file's content."""
    from analysis.figures.efficiency import efficiency_figure
    from analysis.figures.export import figure_bytes

    return figure_bytes(
        efficiency_figure(results, costs=(cost,), log=log, label_points=len(results) <= 12), file_format
    )


@st.cache_data(max_entries=8, show_spinner=False)
def animation_file(tables: pd.DataFrame, file_format: str) -> bytes:
    """The feature-reuse heatmaps over the epochs as a file of their own."""
    from analysis.figures.animation import animation_bytes

    return animation_bytes(tables, file_format)
