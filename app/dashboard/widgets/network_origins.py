"""The places a network may come from, and the widget in which it is chosen there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app.dashboard import loading
from app.dashboard.keys import CHECKPOINT_ENDINGS, NetworkKey, file_key
from app.dashboard.language import t
from app.dashboard.memory import keep, recall, remember
from app.dashboard.roots import (
    distinct_names,
    in_served_folders,
    list_files,
    resolve_served,
    runs_dir,
    served_folders,
    trained_runs,
)
from app.dashboard.widgets.reading import choose_norm
from app.text import literal
from densenet_core.checkpoints.pretrained import PRETRAINED_NAMES
from densenet_core.checkpoints.zoo import zoo_names, zoo_path
from densenet_core.networks.names import MODEL_NAMES

ORIGINS = ("zoo", "run", "upload", "path", "pretrained")
BY_NAME = "arch"
START = "densenet-40-12-cifar10-jpeg"  # what the dashboard opens on: the network of the paper's Figure 5
DIGITS = "densenet-40-12-digits"  # whose images come with scikit-learn: it can be measured everywhere
DROPPED = "start_upload"  # the key of the first page's uploader; its file is at hand while that page is drawn
WIDGETS = {  # the key of the widget that holds an origin's choice
    "arch": "arch",
    "zoo": "zoo_name",
    "run": "run",
    "upload": "uploaded",
    "path": "server_path",
    "pretrained": "pretrained",
}


def choose_upload(upload: UploadedFile, side: str = "", norm: str | None = None) -> NetworkKey:
    """Read an uploaded file and keep it for the session.

    Args:
        norm: the kind of its norms, as in ``load_checkpoint``.

    Raises:
        CheckpointError: as ``loading.read_upload``.
    """
    key = loading.read_upload(upload, upload_key(upload).name, norm)
    keep(f"uploaded{side}", key.name)
    return key


def upload_key(upload: UploadedFile) -> NetworkKey:
    """Return the key of an uploaded file before it is read, and remember the file's name."""
    key = NetworkKey("upload", _hash(upload))
    st.session_state.setdefault("upload_names", {})[key.name] = upload.name
    return key


def _hash(upload: UploadedFile) -> str:
    hashes: dict[str, str] = st.session_state.setdefault("upload_hashes", {})
    if upload.file_id not in hashes:
        hashes[upload.file_id] = hashlib.sha256(upload.getbuffer()).hexdigest()[:12]
    return hashes[upload.file_id]


def _by_name(side: str) -> NetworkKey | None:
    name: str = remember(
        st.selectbox,
        t("picker.architecture"),
        MODEL_NAMES,
        accept_new_options=True,
        key=f"arch{side}",
        default="resnet50" if side == "b" else "densenet121",
        in_address=False,
        help=t("picker.architecture_help"),
    )
    return NetworkKey("arch", name) if name else None


def _zoo(side: str) -> NetworkKey:
    name: str = remember(
        st.selectbox,
        t("picker.zoo"),
        options=zoo_names(),
        key=f"zoo_name{side}",
        default=START if START in zoo_names() else zoo_names()[0],
        in_address=False,
        help=t("picker.zoo_help"),
    )
    return file_key(zoo_path(name))


def _runs(side: str) -> NetworkKey | None:
    runs = trained_runs()
    if not runs:
        st.info(t("picker.no_runs", folder=literal(str(runs_dir()))))
        return None
    names = distinct_names(runs)
    run: Path = remember(
        st.selectbox,
        t("picker.run"),
        options=runs,
        format_func=names.__getitem__,
        key=f"run{side}",
        default=runs[0],
        in_address=False,
    )
    return file_key(run)


def _upload(side: str) -> NetworkKey | None:
    upload = st.file_uploader(
        t("picker.upload"),
        key=f"upload{side}",
        help=t("picker.upload_help", endings=", ".join(CHECKPOINT_ENDINGS)),
    )
    before = recall(f"uploaded{side}")
    dropped: UploadedFile | None = st.session_state.get(DROPPED)
    if upload is None and dropped is not None and upload_key(dropped).name == before:
        upload = dropped
    if upload is not None:
        return choose_upload(upload, side, choose_norm(upload_key(upload), side, upload))
    if before is None:
        st.info(t("picker.no_upload"))
        return None
    if before not in st.session_state.get("upload_names", {}):
        st.info(t("picker.other_upload", hash=literal(before)))
        return None
    st.caption(t("picker.uploaded", name=literal(st.session_state["upload_names"][before])))
    return NetworkKey("upload", before, norm=choose_norm(NetworkKey("upload", before), side))


def _server_path(side: str) -> NetworkKey | None:
    folders = served_folders()
    path: str | None = remember(
        st.selectbox,
        t("picker.path"),
        list_files(folders),
        accept_new_options=True,
        placeholder=t("picker.path_placeholder"),
        key=f"server_path{side}",
        default=None,
        in_address=False,
        help=t("picker.served", folders=", ".join(literal(str(folder)) for folder in folders)),
    )
    if not path:
        st.info(t("picker.no_path"))
        return None
    with in_served_folders():
        key = file_key(resolve_served(path, folders))
    return key._replace(norm=choose_norm(key, side))


def _pick_pretrained(side: str) -> NetworkKey:
    name: str = remember(
        st.selectbox,
        t("picker.network"),
        options=PRETRAINED_NAMES,
        key=f"pretrained{side}",
        default=PRETRAINED_NAMES[0],
        in_address=False,
        help=t("picker.pretrained_help"),
    )
    return NetworkKey("pretrained", name)


CHOICES = {BY_NAME: _by_name} | dict(zip(ORIGINS, (_zoo, _runs, _upload, _server_path, _pick_pretrained), strict=True))
