"""The sidebar's choice of a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import streamlit as st

from app.dashboard import loading
from app.dashboard.keys import NetworkKey, file_key
from app.dashboard.language import names, t
from app.dashboard.roots import CHECKPOINT_ENDINGS, RUNS_DIR, listed_files, listed_runs, served_folders, served_path
from app.text import literal
from densenet_core import CheckpointError
from densenet_core.checkpoints.pretrained import PRETRAINED_NAMES
from densenet_core.checkpoints.zoo import ZOO_FOLDER, zoo_names, zoo_path
from densenet_core.networks.names import MODEL_NAMES

ORIGINS = ("zoo", "run", "upload", "path", "pretrained")
BY_NAME = "arch"


def pick_network(
    title: str | None = None, side: str = "", with_names: bool = False, table_is_enough: bool = False
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
        st.subheader(title or t("picker.network"))
        origin = st.selectbox(
            t("picker.origin"), origins, format_func=names("picker.origins", origins), key=f"origin{side}"
        )
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
        t("picker.architecture"),
        MODEL_NAMES,
        index=MODEL_NAMES.index("resnet50" if side == "b" else "densenet121"),
        accept_new_options=True,
        key=f"arch{side}",
        help=t("picker.architecture_help"),
    )
    return NetworkKey("arch", name) if name else None


def _zoo(side: str) -> NetworkKey:
    name = st.selectbox(t("picker.zoo"), zoo_names(), key=f"zoo_name{side}", help=t("picker.zoo_help"))
    return file_key(zoo_path(name))


def _runs(side: str) -> NetworkKey | None:
    runs = listed_runs([folder for folder in served_folders() if folder != ZOO_FOLDER])
    if not runs:
        st.info(t("picker.no_runs", folder=literal(str(RUNS_DIR))))
        return None
    named = Counter(run.name for run in runs)
    run = st.selectbox(
        t("picker.run"), runs, format_func=lambda run: run.name if named[run.name] == 1 else str(run), key=f"run{side}"
    )
    return file_key(run)


def _upload(side: str) -> NetworkKey | None:
    upload = st.file_uploader(
        t("picker.upload"),
        key=f"upload{side}",
        help=t("picker.upload_help", endings=", ".join(CHECKPOINT_ENDINGS)),
    )
    if upload is None:
        st.info(t("picker.no_upload"))
        return None
    return loading.upload_key(upload)


def _server_path(side: str) -> NetworkKey | None:
    folders = served_folders()
    path = st.selectbox(
        t("picker.path"),
        listed_files(folders),
        index=None,
        accept_new_options=True,
        placeholder=t("picker.path_placeholder"),
        key=f"server_path{side}",
        help=t("picker.served", folders=", ".join(literal(str(folder)) for folder in folders)),
    )
    if not path:
        st.info(t("picker.no_path"))
        return None
    return file_key(served_path(path, folders))


def _pretrained(side: str) -> NetworkKey:
    about = t("picker.pretrained_help")
    name = st.selectbox(t("picker.network"), PRETRAINED_NAMES, key=f"pretrained{side}", help=about)
    return NetworkKey("pretrained", name)


_CHOICES = {BY_NAME: _by_name} | dict(zip(ORIGINS, (_zoo, _runs, _upload, _server_path, _pretrained), strict=True))
