"""The sidebar's choice of a network."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app import loading
from app.loading import NetworkKey
from app.roots import RUNS_DIR, listed_files, listed_runs, served_folders, served_path
from app.text import literal
from densenet_core import CheckpointError, zoo_names
from densenet_core.pretrained import PRETRAINED_NAMES
from densenet_core.zoo import ZOO_FOLDER, zoo_path

ORIGINS = ("Zoo", "Runs", "Upload", "Server path", "torchvision, pretrained")


def pick_network() -> NetworkKey | None:
    """Shows the choice and gives the chosen network's key; None where nothing is chosen or it can't be read.

    What is wrong, or what to do first, is then on the page.
    """
    with st.sidebar:
        st.subheader("Network")
        origin = st.selectbox("Where from", ORIGINS, key="origin")
        choice = _CHOICES[origin]
        try:
            key = choice()
        except CheckpointError as error:
            st.session_state["network_error"] = str(error)
            key = None
    return _checked(key)


def _checked(key: NetworkKey | None) -> NetworkKey | None:
    if error := st.session_state.pop("network_error", None):
        st.error(literal(error), icon=":material/error:")
    if key is None:
        return None
    try:
        loading.load(key)
    except CheckpointError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return None
    return key


def _zoo() -> NetworkKey:
    name = st.selectbox("Network of the zoo", zoo_names(), key="zoo_name", help="Trained by this suite, on real data.")
    return loading.file_key(zoo_path(name))


def _runs() -> NetworkKey | None:
    runs = listed_runs([folder for folder in served_folders() if folder != ZOO_FOLDER])
    if not runs:
        st.info(
            f"No runs in `{literal(str(RUNS_DIR))}` yet. Train one:\n\n"
            "`densenet-lens train --arch densenet-40-12 --dataset digits --epochs 30 --name demo`"
        )
        return None
    run = st.selectbox("Run", runs, format_func=lambda path: path.name, key="run")
    return loading.file_key(run)


def _upload() -> NetworkKey | None:
    upload = st.file_uploader(
        "Checkpoint file",
        key="upload",
        help=".safetensors, .pt, .pth, .th, .ckpt or .tar with a DenseNet's state dict. Nothing in it is run.",
    )
    if upload is None:
        st.info("Give a checkpoint file: a `state_dict` saved with safetensors or `torch.save`.")
        return None
    return loading.upload_key(upload.getvalue())


def _server_path() -> NetworkKey | None:
    folders = served_folders()
    path = st.selectbox(
        "Path on the server",
        listed_files(folders),
        index=None,
        accept_new_options=True,
        placeholder="choose or type a path",
        key="server_path",
        help="Served: " + ", ".join(literal(str(folder)) for folder in folders),
    )
    if not path:
        st.info("Choose a file in a served folder. Serve another with `streamlit run app/main.py -- --root DIR`.")
        return None
    return loading.file_key(Path(served_path(path, folders)))


def _pretrained() -> NetworkKey:
    name = st.selectbox("Network", PRETRAINED_NAMES, key="pretrained", help="ImageNet weights, downloaded once.")
    return NetworkKey("pretrained", name)


_CHOICES = dict(zip(ORIGINS, (_zoo, _runs, _upload, _server_path, _pretrained), strict=True))
