"""How a network's file is read, where the file leaves it open: which of its weights, and the kind of its norms."""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app.dashboard import loading
from app.dashboard.keys import NetworkKey
from app.dashboard.language import t
from app.dashboard.memory import recall, remember

NORMS = ("group-4", "group-8", "group-16", "group-32", "layer", "instance", "batch_statistics")
AS_FOUND = ""


def choose_weights(key: NetworkKey | None, side: str) -> NetworkKey | None:
    """Show the weights that a file holds, where it holds several, and return the key with the chosen ones."""
    options = loading.weights_of(key) if key is not None else ()
    if key is None or len(options) < 2:
        return key
    chosen: str = remember(
        st.selectbox,
        t("picker.weights"),
        options=options,
        format_func=lambda name: name or t("picker.plain_weights"),
        key=f"weights{side}",
        default=options[0],
        help=t("picker.weights_help"),
    )
    return key._replace(weights=chosen)


def choose_norm(key: NetworkKey, side: str, upload: UploadedFile | None = None) -> str | None:
    """Show the choice of the kind of norms where a file does not show it; None: as ``load_checkpoint`` assumes.

    An upload that is no longer at hand stays as it was read; the page says that it must be uploaded again.

    Args:
        upload: the file, where it is at hand.
    """
    widget = f"norm{side} {key.name}"  # what is chosen for a file is not meant for the next one
    if not recall(widget) and not loading.is_norm_open(key, upload):
        return None
    if key.is_private and upload is None:
        st.caption(t("picker.norm_upload_again"))
        return recall(widget) or None
    chosen: str = remember(
        st.selectbox,
        t("picker.norm"),
        (AS_FOUND, *NORMS),
        accept_new_options=True,
        format_func=lambda name: name or t("picker.norm_as_found"),
        key=widget,
        name=f"norm{side}",
        default=AS_FOUND,
        help=t("picker.norm_help"),
    )
    return chosen or None
