"""Which image is explained: a thumbnail of the data set's, by class or by how sure the network is, or an upload."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app.dashboard import loading
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import names, t
from app.dashboard.memory import choose_for, recall, remember
from app.dashboard.refusals import show_error
from app.dashboard.views.prediction.images import (
    ChosenImage,
    image_labels,
    predictions,
    prepare_upload,
    thumbnail,
)
from app.dashboard.widgets.data_picker import pick_images
from app.text import literal

ORIGINS = ("dataset", "upload")
WAYS = ("class", "wrong", "uncertain")
NUM_THUMBNAILS = 12  # of a row
IMAGE_ENDINGS = ("png", "jpg", "jpeg", "webp")
MAX_NAMES_FILE = 1  # MB


def choose_image(key: NetworkKey) -> ChosenImage | None:
    """Show the choice; None where nothing is chosen yet. What is wrong is then on the page."""
    if loading.load(key).architecture.spatial_dims != 2:
        return _upload(key, t("prediction.upload_volume"), ("npy",))
    origin = remember(
        st.segmented_control,
        t("prediction.origin"),
        options=ORIGINS,
        key="prediction_origin",
        default=ORIGINS[0],
        format_func=names("prediction.origins", ORIGINS),
        label_visibility="collapsed",
        required=True,
    )
    if origin == "upload":
        return _upload(key, t("prediction.upload"), IMAGE_ENDINGS)
    images = pick_images(key)
    return None if images is None else _of_dataset(key, images)


def _of_dataset(key: NetworkKey, images: ImagesKey) -> ChosenImage | None:
    left, right = st.columns([1, 1])
    way = remember(
        left.selectbox,
        t("prediction.way"),
        options=WAYS,
        key="prediction_way",
        default=WAYS[0],
        format_func=names("prediction.ways", WAYS),
    )
    classes = loading.load_images(images).class_names
    if way == "class":
        number = remember(
            right.selectbox,
            t("prediction.class"),
            options=range(len(classes)),
            key="prediction_class",
            default=0,
            format_func=classes.__getitem__,
        )
        rows = {row: str(row) for row, label in enumerate(image_labels(images)) if label == number}
        kind = f"class{number}"
    else:
        found = _rows_by_certainty(key, images, way, classes)
        if found is None:
            return None
        rows, kind = found, way
    if not rows:
        st.info(t("prediction.none"))
        return None
    return ChosenImage(images, _choose_thumbnail(images, rows, kind))


def _rows_by_certainty(key: NetworkKey, images: ImagesKey, way: str, classes: tuple[str, ...]) -> dict[int, str] | None:
    """Return the rows with the network's predictions; None until a long job is done."""
    found = predictions(key, images)
    if found is None:
        return None
    found = found[found["predicted"] != found["label"]] if way == "wrong" else found.sort_values("probability")
    pairs = found[["row", "label", "predicted", "probability"]].itertuples(index=False, name=None)
    return {row: f"{classes[label]} → {classes[own]}, {p:.0%}" for row, label, own, p in pairs}


def _choose_thumbnail(images: ImagesKey, rows: dict[int, str], kind: str) -> int:
    """Show a row of thumbnails and buttons to the rows before and after; return the chosen image."""
    key, places = f"prediction_row_{kind}", list(rows)
    chosen = str(st.session_state.get(key, recall(key, st.query_params.get(key))))
    place = next((place for place, row in enumerate(places) if str(row) == chosen), 0)
    first = place - place % NUM_THUMBNAILS
    with st.container(key="thumbnails"):
        row: int = remember(
            st.pills,
            t("prediction.image"),
            options=places[first : first + NUM_THUMBNAILS],
            key=key,
            default=places[0],
            format_func=lambda row: f"![{row}]({thumbnail(images, row)}) {literal(rows[row])}",
            label_visibility="collapsed",
            required=True,
        )
    if len(places) > NUM_THUMBNAILS:
        _show_turns(key, places, first)
    return row


def _show_turns(key: str, places: list[int], first: int) -> None:
    behind = first + NUM_THUMBNAILS
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for name, icon, start in (
            ("earlier", "chevron_left", first - NUM_THUMBNAILS),
            ("later", "chevron_right", behind),
        ):
            is_there = 0 <= start < len(places)
            st.button(
                t(f"prediction.{name}"),
                key=f"thumbnails_{name}",
                icon=f":material/{icon}:",
                type="tertiary",
                disabled=not is_there,
                on_click=partial(choose_for, key, places[start]) if is_there else None,
            )
        last = min(behind, len(places))
        st.caption(t("prediction.images_shown", first=first + 1, last=last, total=len(places)))


def _upload(key: NetworkKey, label: str, endings: tuple[str, ...]) -> ChosenImage | None:
    from analysis.prediction.image_files import MAX_BYTES

    limit = min(MAX_BYTES // 2**20, st.get_option("server.maxUploadSize"))
    upload = st.file_uploader(label, endings, key=f"prediction_upload_{endings[0]}", max_upload_size=limit)
    if upload is None:
        st.write(t("prediction.choose"))
        return None
    try:
        prepare_upload(key, upload.file_id, upload.getvalue())
    except ValueError as error:
        show_error(error, upload.name)
        return None
    names_file, class_names = _name_classes(key)
    return ChosenImage(None, 0, upload.file_id, upload.name, names_file, class_names)


def _name_classes(key: NetworkKey) -> tuple[str, tuple[str, ...]]:
    """Take a text file with the names of the classes; return its name and the names, or "" and ()."""
    with st.popover(t("prediction.name_classes"), icon=":material/label:"):
        file = st.file_uploader(
            t("prediction.names_file"), ("txt",), key="prediction_names", max_upload_size=MAX_NAMES_FILE
        )
    if file is None:
        return "", ()
    from analysis.prediction.image_files import parse_names

    try:
        return file.name, parse_names(file.getvalue(), loading.load(key).architecture.num_classes, file.name)
    except ValueError as error:
        show_error(error)
        return "", ()
