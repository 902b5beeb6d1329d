"""Which image is explained: one of the data set, by class or by how sure the network is, or an upload."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import streamlit as st

from app.dashboard import loading
from app.dashboard.caching import cached
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import names, t
from app.dashboard.memory import remembered
from app.dashboard.widgets.data_picker import pick_images
from app.text import literal
from densenet_core import DataError

if TYPE_CHECKING:
    from analysis.prediction.image_files import PreparedImage
    from analysis.prediction.predictor import Predictor
    from densenet_core.data.images import Images

ORIGINS = ("dataset", "upload")
WAYS = ("class", "wrong", "uncertain")
MAX_LISTED = 200


class ChosenImage(NamedTuple):
    """An image: a row of the images that are used of a data set, or an upload by Streamlit's id."""

    images: ImagesKey | None
    row: int = 0
    upload: str = ""


def choose_image(key: NetworkKey) -> ChosenImage | None:
    """Show the choice; None where nothing is chosen yet. What is wrong is then on the page."""
    origin = st.segmented_control(
        t("prediction.origin"),
        ORIGINS,
        default=ORIGINS[0],
        format_func=names("prediction.origins", ORIGINS),
        key="prediction_origin",
        label_visibility="collapsed",
    )
    if origin == "upload":
        return _upload(key)
    images = pick_images(key)
    return None if images is None else _of_dataset(key, images)


def _of_dataset(key: NetworkKey, images: ImagesKey) -> ChosenImage | None:
    left, middle, right = st.columns(3)
    way = remembered(
        left.selectbox,
        t("prediction.way"),
        options=WAYS,
        key="prediction_way",
        default=WAYS[0],
        format_func=names("prediction.ways", WAYS),
    )
    classes = loading.load_images(images).class_names
    if way == "class":
        number = remembered(
            middle.selectbox,
            t("prediction.class"),
            options=range(len(classes)),
            key="prediction_class",
            default=0,
            format_func=classes.__getitem__,
        )
        labels = image_labels(images)
        rows, kind = [(row, classes[label]) for row, label in enumerate(labels) if label == number], f"class{number}"
    else:
        found = predictions(key, images)
        found = found[found["predicted"] != found["label"]] if way == "wrong" else found.sort_values("probability")
        pairs = found[["row", "label", "predicted", "probability"]].itertuples(index=False, name=None)
        kind = way
        rows = [(row, f"{classes[label]} → {classes[own]} ({p:.0%})") for row, label, own, p in pairs]
    if not rows:
        st.info(t("prediction.none"))
        return None
    titles = {row: f"{row}: {title}" for row, title in rows[:MAX_LISTED]}
    row = remembered(
        right.selectbox,
        t("prediction.image"),
        options=titles,
        key=f"prediction_row_{kind}",
        default=next(iter(titles)),
        format_func=titles.__getitem__,
    )
    return ChosenImage(images, row)


def _upload(key: NetworkKey) -> ChosenImage | None:
    upload = st.file_uploader(t("prediction.upload"), ("png", "jpg", "jpeg", "webp"), key="prediction_upload")
    if upload is None:
        return None
    try:
        _uploaded(key, upload.file_id, upload.getvalue())
    except ValueError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return None
    return ChosenImage(None, upload=upload.file_id)


@st.cache_resource(max_entries=8, scope="session", show_spinner=False)
def _uploaded(key: NetworkKey, file_id: str, _content: bytes | None) -> PreparedImage:
    """An upload as the network sees it; kept for its session alone."""
    from analysis.prediction.image_files import MAX_BYTES, open_image, prepare_image

    if _content is None:
        raise DataError("the uploaded image is gone: upload it again")
    if len(_content) > MAX_BYTES:
        raise DataError(f"the image is larger than {MAX_BYTES // 2**20} MB: scale it down")
    return prepare_image(open_image(_content), loading.load(key))


def seen_image(key: NetworkKey, chosen: ChosenImage) -> PreparedImage:
    """The chosen image as the network sees it."""
    if chosen.images is None:
        return _uploaded(key, chosen.upload, None)
    from analysis.prediction.image_files import prepare_dataset_image

    return prepare_dataset_image(used_images(chosen.images), chosen.row)


@cached(8, copies=False)
def used_images(images: ImagesKey) -> Images:
    """The images of the data set that the sidebar's number asks for."""
    from densenet_core.data.images import evenly_spaced

    return evenly_spaced(loading.load_images(images), images.number)


@cached(8)
def image_labels(images: ImagesKey) -> list[int]:
    """The classes of the images that are used."""
    return [int(label) for _, labels in used_images(images).batches(256) for label in labels]


@cached(8, private_entries=2, copies=False)
def opened(key: NetworkKey) -> Predictor:
    """The network, opened once for all that is asked of it."""
    from analysis.prediction.predictor import as_predictor

    return as_predictor(loading.load(key))


@cached(16, spinner="measuring")
def predictions(key: NetworkKey, images: ImagesKey) -> pd.DataFrame:
    """Row, label, predicted class and its probability, of the images that are used."""
    from analysis.prediction.explain import predicted_classes

    return predicted_classes(opened(key), used_images(images))


def class_titles(key: NetworkKey, chosen: ChosenImage) -> tuple[str, ...]:
    """The names of the classes: the data set's, or those that are known of the network."""
    if chosen.images is not None:
        return loading.load_images(chosen.images).class_names
    from analysis.prediction.image_files import class_names

    return class_names(loading.load(key))
