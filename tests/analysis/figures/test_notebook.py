"""Figures and checkpoints as the value of a notebook's cell."""

import io
import pickle
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from analysis import connection_weights, feature_reuse_figure
from densenet_core import checkpoint_from_state_dict, create_model


@pytest.fixture(scope="module")
def table():
    return connection_weights(create_model("densenet-10-4"))


def test_a_notebook_shows_the_picture_of_a_figure(table):
    figure = feature_reuse_figure(table)
    picture, size = figure._repr_png_()
    width, height = figure.get_size_inches()
    assert size == {"width": round(100 * width), "height": round(100 * height)}
    pixels = Image.open(io.BytesIO(picture))
    assert pixels.size == pytest.approx((200 * width, 200 * height), abs=1)
    assert len(set(pixels.convert("RGB").getdata())) > 100  # colors: a heatmap is drawn


def test_every_figure_for_paper_is_shown_by_notebooks():
    folder = Path(__file__).parents[3] / "analysis/figures"
    bare = re.compile(r"(?<![\w.])Figure\(figsize")
    assert [file.name for file in folder.rglob("*.py") if bare.search(file.read_text("utf-8"))] == []


def test_figures_are_pickled(table):
    assert isinstance(pickle.loads(pickle.dumps(feature_reuse_figure(table))), Figure)


def test_a_checkpoint_is_shown_in_one_line():
    checkpoint = checkpoint_from_state_dict(create_model("densenet-10-4").state_dict(), {"dataset": "a\nb"})
    assert re.fullmatch(r"<Checkpoint: DenseNet \(L=10, k=4\), \d+ tensors, trained on 'a\\nb'>", repr(checkpoint))
