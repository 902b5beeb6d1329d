"""The sidebar's choice of a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import streamlit as st

from app import loading
from app.loading import NetworkKey
from app.roots import CHECKPOINT_ENDINGS, RUNS_DIR, listed_files, listed_runs, served_folders, served_path
from app.text import literal
from densenet_core import CheckpointError, zoo_names
from densenet_core.models import MODEL_NAMES
from densenet_core.pretrained import PRETRAINED_NAMES
from densenet_core.zoo import ZOO_FOLDER, zoo_path

ORIGINS = ("Zoo", "Runs", "Upload", "Server path", "torchvision, pretrained")
BY_NAME = "Architecture by name"


def pick_network(
    title: str = "Network", side: str = "", with_names: bool = False, table_is_enough: bool = False
) -> NetworkKey | None:
    """Shows the choice in the sidebar and gives the network's key; None where there is none or it can't be read.

    What is wrong, or what to do first, is then on the page.

    Args:
        side: tells the choices of a page apart that has two.
        with_names: networks without weights may be chosen too, by their names.
        table_is_enough: networks of which only the feature reuse is known may be chosen too.
    """
    origins = (BY_NAME, *ORIGINS) if with_names else ORIGINS
    key, error = None, None
    with st.sidebar:
        st.subheader(title)
        origin = st.selectbox("Where from", origins, key=f"origin{side}")
        try:
            key = _CHOICES[origin](side)
        except CheckpointError as wrong:
            error = str(wrong)
    return _checked(key, error, loading.load if table_is_enough else loading.spec_and_record)


def _checked(key: NetworkKey | None, error: str | None, read: Callable[[NetworkKey], object]) -> NetworkKey | None:
    """The key, if its network can be read; else the reason stands on the page."""
    if key is not None:
        try:
            read(key)
        except ValueError as wrong:  # a CheckpointError, or a name that is none
            error = str(wrong)
    if error is None:
        return key
    st.error(literal(error), icon=":material/error:")
    return None


def _by_name(side: str) -> NetworkKey | None:
    name = st.selectbox(
        "Architecture",
        MODEL_NAMES,
        index=MODEL_NAMES.index("resnet50" if side == "b" else "densenet121"),
        accept_new_options=True,
        key=f"arch{side}",
        help="Or type one: densenet-DEPTH-GROWTH, densenet-bc-DEPTH-GROWTH, resnet-DEPTH, wrn-DEPTH-WIDTH.",
    )
    return NetworkKey("arch", name) if name else None


def _zoo(side: str) -> NetworkKey:
    about = "Trained by this suite, on real data."
    return loading.file_key(
        zoo_path(st.selectbox("Network of the zoo", zoo_names(), key=f"zoo_name{side}", help=about))
    )


def _runs(side: str) -> NetworkKey | None:
    runs = listed_runs([folder for folder in served_folders() if folder != ZOO_FOLDER])
    if not runs:
        st.info(
            f"No runs in `{literal(str(RUNS_DIR))}` yet. Train one:\n\n"
            "`densenet-lens train --arch densenet-40-12 --dataset digits --epochs 30 --name demo`"
        )
        return None
    named = Counter(run.name for run in runs)
    run = st.selectbox(
        "Run", runs, format_func=lambda run: run.name if named[run.name] == 1 else str(run), key=f"run{side}"
    )
    return loading.file_key(run)


def _upload(side: str) -> NetworkKey | None:
    upload = st.file_uploader(
        "Checkpoint file",
        key=f"upload{side}",
        help=", ".join(CHECKPOINT_ENDINGS) + ": a network's weights. Nothing in the file is run.",
    )
    if upload is None:
        st.info("Give a checkpoint file: a `state_dict` saved with safetensors or `torch.save`.")
        return None
    return loading.upload_key(upload)


def _server_path(side: str) -> NetworkKey | None:
    folders = served_folders()
    path = st.selectbox(
        "Path on the server",
        listed_files(folders),
        index=None,
        accept_new_options=True,
        placeholder="choose or type a path",
        key=f"server_path{side}",
        help="Served: " + ", ".join(literal(str(folder)) for folder in folders),
    )
    if not path:
        st.info("Choose a file in a served folder. Serve another with `streamlit run app/main.py -- --root DIR`.")
        return None
    return loading.file_key(served_path(path, folders))


def _pretrained(side: str) -> NetworkKey:
    about = "ImageNet weights, downloaded once."
    return NetworkKey("pretrained", st.selectbox("Network", PRETRAINED_NAMES, key=f"pretrained{side}", help=about))


_CHOICES = {BY_NAME: _by_name} | dict(zip(ORIGINS, (_zoo, _runs, _upload, _server_path, _pretrained), strict=True))
