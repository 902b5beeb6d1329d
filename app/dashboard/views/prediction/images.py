"""The chosen image as the network sees it, and what is kept of the images that can be chosen."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import streamlit as st
from torch import Tensor

from app.dashboard import loading
from app.dashboard.caching import cache
from app.dashboard.jobs.task import Task
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.widgets.long_work import amount, result_of
from densenet_core import DataError

if TYPE_CHECKING:
    from analysis.prediction.explain import Explanation
    from analysis.prediction.image_files import PreparedImage
    from analysis.prediction.predictor import Predictor
    from densenet_core.data.images import Images

THUMBNAIL = 64  # pixels a side


class ChosenImage(NamedTuple):
    """An image: a row of the images that are used of a data set, or an upload by Streamlit's id."""

    images: ImagesKey | None
    row: int = 0
    upload: str = ""
    name: str = ""  # of the uploaded file
    names_file: str = ""  # of the text file with the classes' names, if one was uploaded
    class_names: tuple[str, ...] = ()  # in that file


@st.cache_resource(max_entries=8, scope="session", show_spinner=False)
def prepare_upload(key: NetworkKey, file_id: str, _content: bytes | None) -> PreparedImage:
    """Return an upload as the network sees it; kept for its session alone."""
    if _content is None:
        raise DataError("the uploaded image is gone: upload it again")
    network = loading.load(key)
    if network.architecture.spatial_dims != 2:
        from analysis.prediction.volumes import open_volume

        return open_volume(_content, network)
    from analysis.prediction.image_files import open_image, prepare_image

    return prepare_image(open_image(_content), network)


def prepare_chosen(key: NetworkKey, chosen: ChosenImage) -> PreparedImage:
    """Return the chosen image as the network sees it."""
    if chosen.images is None:
        return prepare_upload(key, chosen.upload, None)
    from analysis.prediction.image_files import prepare_dataset_image

    return prepare_dataset_image(used_images(chosen.images), chosen.row)


@cache(8, copies=False)
def used_images(images: ImagesKey) -> Images:
    """Return the images of the data set that the sidebar's number asks for; read in this process, a few at a time."""
    import torch

    from densenet_core.data.images import sample_evenly

    return sample_evenly(loading.load_images(images), images.number).to(torch.device("cpu"), num_workers=0)


@cache(8)
def image_labels(images: ImagesKey) -> list[int]:
    """Return the classes of the images that are used."""
    used = used_images(images)
    source = getattr(used, "source", None)
    if source is not None:  # photographs: nothing is decoded
        return [int(label) for _, label in source.samples]
    return [int(label) for _, labels in used.batches(256) for label in labels]


@cache(1024)
def thumbnail(images: ImagesKey, row: int) -> str:
    """Return a small picture of an image, as the address of its own content."""
    from PIL import Image

    from analysis.figures.prediction.style import picture
    from analysis.prediction.image_files import prepare_dataset_image

    pixels = picture(prepare_dataset_image(used_images(images), row).pixels)
    how = Image.Resampling.NEAREST if pixels.shape[0] < THUMBNAIL else Image.Resampling.BILINEAR
    file = io.BytesIO()
    Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), how).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@cache(8, private_entries=2, copies=False)
def open_predictor(key: NetworkKey) -> Predictor:
    """Return the network, opened once for all questions about it."""
    from analysis.prediction.predictor import as_predictor

    return as_predictor(loading.load(key))


def predictions(key: NetworkKey, images: ImagesKey) -> pd.DataFrame | None:
    """Row, label, predicted class and its probability of the images that are used; None until a long job is done."""
    if not loading.takes_long(key, images, passes=1):
        return _predictions_at_once(key, images)
    found: pd.DataFrame | None = result_of(Task("predicted", key, (images,)), amount(images))
    return found


@cache(16, spinner="measuring")
def _predictions_at_once(key: NetworkKey, images: ImagesKey) -> pd.DataFrame:
    from analysis.prediction.explain import predicted_classes

    return predicted_classes(open_predictor(key), used_images(images))


@cache(64, private_entries=16, copies=False)
def explain_chosen(
    key: NetworkKey, chosen: ChosenImage, titles: tuple[str, ...], for_class: int | None, against: int | None
) -> Explanation:
    """Return the prediction for the chosen image, and what each layer adds to it."""
    from analysis.prediction.explain import explain_image

    return explain_image(open_predictor(key), prepare_chosen(key, chosen), titles, for_class, against)


def class_titles(key: NetworkKey, chosen: ChosenImage) -> tuple[str, ...]:
    """Return the names of the classes: the data set's, those of a text file, or those known for the network."""
    if chosen.images is not None:
        return loading.load_images(chosen.images).class_names
    if chosen.class_names:
        return chosen.class_names
    from analysis.prediction.image_files import class_names

    return class_names(loading.load(key))


def flat(values: Tensor, position: float, dims: int) -> Tensor:
    """Return what a picture shows of (..., *spatial): a slice of a volume, a strip of a signal, else all of it.

    Args:
        position: of the slice, 0 (the first) to 1 (the last).
    """
    if dims == 2:
        return values
    from analysis.prediction.volumes import slice_at, strip_of

    return slice_at(values, position) if dims == 3 else strip_of(values)
