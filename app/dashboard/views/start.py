"""The first page: what this is, a place to drop a checkpoint, trained networks to try, and the heatmap of one."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app.dashboard.language import t
from app.dashboard.loading import is_norm_open
from app.dashboard.memory import keep, recall
from app.dashboard.refusals import show_error
from app.dashboard.views import feature_reuse
from app.dashboard.widgets.network_origins import DROPPED, START, choose_upload, upload_key
from app.dashboard.widgets.network_picker import Choice, choose_network
from densenet_core import CheckpointError
from densenet_core.checkpoints.zoo import zoo_names


def show() -> None:
    """Draw the page."""
    st.title("DenseNet Lens", anchor=False)
    st.markdown(t("start.sentence"))
    drop, shipped = st.columns(2, gap="large")
    with drop:
        _show_drop_zone()
    with shipped:
        _show_trained_networks()
    feature_reuse.show()


def _show_drop_zone() -> None:
    upload = st.file_uploader(
        t("start.drop"), key=DROPPED, help=t("start.drop_help", limit=st.get_option("server.maxUploadSize"))
    )
    if upload is None or recall("start_upload_read") == upload.file_id:
        return
    keep("start_upload_read", upload.file_id)
    try:
        key = choose_upload(upload)
    except CheckpointError as error:
        key = upload_key(upload)
        if not is_norm_open(key, upload):
            show_error(error)
            return
    choose_network(Choice("upload", key.name))  # where the file leaves the norms open, the sidebar asks for them


def _show_trained_networks() -> None:
    """Show the zoo's networks; those on photographs first."""
    st.markdown(t("start.try"))
    with st.container(gap=None):
        for name in sorted(zoo_names(), key=lambda name: (name != START, name)):
            st.button(
                name,
                key=f"try_{name}",
                on_click=partial(choose_network, Choice("zoo", name)),
                icon=":material/grid_on:",
                type="tertiary",
            )
