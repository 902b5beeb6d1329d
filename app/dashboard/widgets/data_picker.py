"""The sidebar's choice of images for what is measured on data.

The data set and the normalization come from the network's record: measured otherwise, a network has another error.
Where the record does not name them the page asks, and measures nothing before it has an answer.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, get_args

import streamlit as st

from analysis.reuse.connections import dense_spec
from app.dashboard import loading
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import t
from app.dashboard.memory import recall, remember
from app.dashboard.refusals import show_error
from app.dashboard.roots import data_path, list_image_folders
from app.dashboard.server.options import DATA_DIR
from app.dashboard.widgets.network_origins import DIGITS
from app.dashboard.widgets.network_picker import Choice, choose_network
from app.text import literal
from densenet_core import CheckpointError, DataError
from densenet_core.data.names import DATASET_NAMES, Normalization
from densenet_core.data.recorded import RecordedData, choose_data, recorded_data


def pick_images(key: NetworkKey, densenet_only: bool = False) -> ImagesKey | None:
    """Show the choice in the sidebar; None where nothing is chosen, or the images can't be read or do not fit.

    The page says what is wrong, and else which images its numbers are measured on.

    Args:
        densenet_only: refuse other networks before asking for a data set.
    """
    try:
        _, record = loading.spec_and_record(key)
        if densenet_only:
            dense_spec(loading.load(key))
    except CheckpointError as error:
        show_error(error)
        return None
    try:
        found = _choose(record)
        if found is None:
            st.info(t("images.which"), icon=":material/help:")
            return None
        loading.check_images(found, key)
    except (DataError, CheckpointError) as error:
        _explain(error, record)
        return None
    _show_images(found)
    return found


def _explain(error: ValueError, record: dict[str, Any]) -> None:
    """Say why there are no images, and offer a network whose images come with the suite."""
    if _is_first_folder(record):  # a visitor who has chosen nothing made no mistake
        st.info(t("images.not_here", dataset=literal(str(record["dataset"]))), icon=":material/image:")
    else:
        show_error(error)
        if record.get("dataset"):
            st.caption(t("images.trained_on", dataset=literal(str(record["dataset"]))))
    _offer_shipped_images(record)


def _choose(record: dict[str, Any]) -> ImagesKey | None:
    """Return the images that were chosen; None while a question is open.

    Raises:
        CheckpointError: the folder is not served.
    """
    recorded = recorded_data(record)
    with st.sidebar:
        st.subheader(t("images.title"))
        dataset = _choose_dataset(recorded)
        folder = str(DATA_DIR) if dataset in (None, "digits") else _choose_folder()
        normalize = _recorded_normalize(record, dataset)
        if dataset == "folder":
            normalize = _choose_normalize(normalize)
        number = remember(
            st.number_input,
            t("images.number"),
            limits=(10, 10_000),
            key="images_number",
            default=200,
            step=50,
            help=t("images.number_help"),
        )
    if dataset is None or (dataset == "folder" and normalize is None):
        return None
    return ImagesKey(dataset, str(data_path(folder)), normalize, int(number))


def _choose_dataset(recorded: RecordedData | None) -> str | None:
    """Return the data set; each recorded one has a widget of its own, so that another network begins with its own."""
    default = recorded.dataset if recorded else None
    dataset: str | None = remember(
        st.selectbox,
        t("images.dataset"),
        options=(*DATASET_NAMES, *((None,) if default is None else ())),
        key=f"images_{default or 'unknown'}",
        name="images",
        default=default,
        format_func=lambda name: t("images.choose") if name is None else name,
        help=t("images.recorded") if recorded else None,
    )
    return dataset


def _choose_folder() -> str:
    return str(
        remember(
            st.selectbox,
            t("images.folder"),
            _folders(),
            accept_new_options=True,
            key="images_root",
            default=str(DATA_DIR),
            help=t("images.folder_help"),
        )
        or DATA_DIR
    )


def _folders() -> list[str]:
    """Return the folders to choose from, with the one that was typed."""
    typed = st.session_state.get("images_root") or recall("images_root") or str(DATA_DIR)
    return list(dict.fromkeys([*list_image_folders(), typed]))


def _recorded_normalize(record: dict[str, Any], dataset: str | None) -> Normalization | None:
    """Return the channel statistics of the network's training, where its record names them."""
    try:
        return choose_data(record, dataset, None).normalize
    except DataError:
        return None


def _choose_normalize(recorded: Normalization | None) -> Normalization | None:
    choices: tuple[Normalization | None, ...] = (*get_args(Normalization), *((None,) if recorded is None else ()))
    chosen: Normalization | None = remember(
        st.selectbox,
        t("images.normalize"),
        options=choices,
        key=f"images_normalize_{recorded or 'unknown'}",
        name="images_normalize",
        default=recorded,
        format_func=lambda name: t("images.choose") if name is None else name,
    )
    return chosen


def _is_first_folder(record: dict[str, Any]) -> bool:
    """Return whether the images are looked for where the network's record sends everybody, and nothing is there."""
    recorded = recorded_data(record)
    default = recorded.dataset if recorded else None
    as_recorded = default not in (None, "digits") and recall(f"images_{default}") == default
    return as_recorded and "dataset" in record and not DATA_DIR.exists() and recall("images_root") == str(DATA_DIR)


def _offer_shipped_images(record: dict[str, Any]) -> None:
    """Offer a network whose images come with the suite."""
    recorded = recorded_data(record)
    if recorded is None or recorded.dataset != "digits":
        choice = Choice("zoo", DIGITS)
        st.button(t("images.try_digits", network=DIGITS), on_click=partial(choose_network, choice), key="try_digits")


def _show_images(images: ImagesKey) -> None:
    """Say which images the page's numbers are measured on, and how they are normalized."""
    root = Path(images.root)
    place = literal(str(root.relative_to(Path.cwd()) if root.is_relative_to(Path.cwd()) else root))
    names = {"digits": "digits", "folder": place}
    dataset = names.get(images.dataset, f"{images.dataset} ({place})")
    normalize = images.normalize or {"svhn": "none"}.get(images.dataset, images.dataset)
    st.caption(t("images.shown", number=images.number, dataset=dataset, normalize=normalize))
