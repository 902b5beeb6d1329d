"""The cached functions, all of them: everything else in the dashboard is computed anew at each change.

A network is known by a key that changes when its content does, so a cached result is never of an older file.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import streamlit as st

from analysis import connection_weights, feature_reuse_figure
from analysis.figures import figure_bytes
from analysis.figures.heatmap import ColorMap
from analysis.scaling import Scaling
from densenet_core import Checkpoint, load_checkpoint, load_pretrained


class NetworkKey(NamedTuple):
    """A network to show: where it comes from, and a stamp of its content."""

    origin: str  # file, pretrained or upload
    name: str  # a path, torchvision's name, or the uploaded file's digest
    stamp: tuple[int, int] = (0, 0)  # of a file: modification time in ns, size in bytes


def file_key(path: Path) -> NetworkKey:
    """The key of a checkpoint file or run folder as it is now."""
    file = path / "model.safetensors" if path.is_dir() else path
    try:
        stat = file.stat()
    except OSError:
        return NetworkKey("file", str(path))  # loading it says what is wrong
    return NetworkKey("file", str(path), (stat.st_mtime_ns, stat.st_size))


def upload_key(content: bytes) -> NetworkKey:
    """The key of an uploaded file, which is read here, while it is at hand."""
    key = NetworkKey("upload", hashlib.sha256(content).hexdigest())
    _load_upload(key.name, content)
    return key


def load(key: NetworkKey) -> Checkpoint:
    """The network of a key; shared by all sessions, to be read only."""
    if key.origin == "upload":
        return _load_upload(key.name, b"")
    return _load(key)


@st.cache_resource(max_entries=16, show_spinner="Reading the network …")
def _load(key: NetworkKey) -> Checkpoint:
    return load_pretrained(key.name) if key.origin == "pretrained" else load_checkpoint(key.name)


@st.cache_resource(max_entries=16, show_spinner="Reading the network …")
def _load_upload(digest: str, _content: bytes) -> Checkpoint:
    with tempfile.TemporaryDirectory(prefix="densenet-lens-", ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "upload"  # never under its own name
        file.write_bytes(_content)
        return load_checkpoint(file)


@st.cache_data(max_entries=32, show_spinner=False)
def reuse_table(key: NetworkKey) -> pd.DataFrame:
    """The network's feature-reuse table."""
    return connection_weights(load(key))


@st.cache_data(max_entries=32, show_spinner=False)
def reuse_figure_file(
    key: NetworkKey, measure: str, scaling: Scaling, color_map: ColorMap, columns: int, file_format: str
) -> bytes:
    """The paper-style figure as a file's content."""
    figure = feature_reuse_figure(reuse_table(key), measure, scaling, color_map, columns)
    return figure_bytes(figure, file_format)
