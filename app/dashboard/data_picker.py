"""The sidebar's choice of images for what is measured on data."""

from __future__ import annotations

from typing import get_args

import streamlit as st

from app.dashboard import loading
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import t
from app.dashboard.roots import DATA_DIR, data_path
from app.text import literal
from densenet_core import CheckpointError, DataError
from densenet_core.data.names import DATASET_NAMES, Normalization


def pick_images(key: NetworkKey) -> ImagesKey | None:
    """Shows the choice in the sidebar; None where the images can't be read or do not fit the network.

    What is wrong is then on the page.
    """
    try:
        spec, record = loading.spec_and_record(key)
    except CheckpointError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return None
    with st.sidebar:
        st.subheader(t("images.title"))
        fitting = "digits" if spec.in_channels == 1 else "cifar10"
        dataset = st.selectbox(
            t("images.dataset"), DATASET_NAMES, index=DATASET_NAMES.index(fitting), key=f"images_{fitting}"
        )
        root = str(DATA_DIR)
        normalize: Normalization | None = None
        if dataset != "digits":
            root = st.text_input(t("images.folder"), root, key="images_root", help=t("images.folder_help"))
        if dataset == "folder":
            normalize = st.selectbox(t("images.normalize"), get_args(Normalization), index=2, key="images_normalize")
        number = st.number_input(
            t("images.number"), 10, 10_000, 200, step=50, key="images_number", help=t("images.number_help")
        )
    try:
        found = ImagesKey(dataset, str(data_path(root)), normalize, int(number))
        loading.check_images(found, key)
    except (DataError, CheckpointError) as error:
        st.error(literal(str(error)), icon=":material/error:")
        if record.get("dataset"):
            st.caption(t("images.trained_on", dataset=literal(str(record["dataset"]))))
        return None
    return found
