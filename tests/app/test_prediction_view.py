"""The Prediction page: the choice of an image, and what it shows against what the functions return."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from analysis.prediction.explain import explain_image, predicted_classes
from analysis.prediction.image_files import prepare_dataset_image
from analysis.prediction.predictor import Predictor
from densenet_core import DenseNet, load_zoo
from densenet_core.data.datasets import load_test_images
from densenet_core.data.images import evenly_spaced
from tests.app.test_views import FEW, app, page, shown  # noqa: F401 (a fixture)

NAME = "densenet-40-12-digits"


def test_the_page_shows_what_the_functions_return(app: AppTest) -> None:  # noqa: F811
    found = page(app, "prediction")
    assert not found.exception
    images = evenly_spaced(load_test_images("digits"), FEW)
    row = found.selectbox(key="prediction_row_class0").value
    expected = explain_image(load_zoo(NAME), prepare_dataset_image(images, row), tuple("0123456789"))
    assert f"Logit of {expected.title}: {expected.logit:.2f}" in shown(found).replace("\\", "")
    found.selectbox(key="prediction_for").select(3).run()
    found.selectbox(key="prediction_against").select(8).run()
    assert not found.exception
    assert "3, not 8" in shown(found).replace("\\", "")


def test_least_certain_images_come_first(app: AppTest) -> None:  # noqa: F811
    found = page(app, "prediction")
    found.selectbox(key="prediction_way").select("uncertain").run()
    assert not found.exception
    table = predicted_classes(load_zoo(NAME), evenly_spaced(load_test_images("digits"), FEW))
    assert found.selectbox(key="prediction_row_uncertain").value == int(table.loc[table["probability"].idxmin(), "row"])


def test_reuse_by_class_is_measured_when_asked_for_and_an_image_is_in_the_address(app: AppTest) -> None:  # noqa: F811
    found = page(app, "prediction")
    charts = len(found.get("plotly_chart"))
    found.button(key="start_by_class").click().run()
    assert not found.exception
    assert len(found.get("plotly_chart")) == charts + 1
    found.selectbox(key="prediction_class").select(3).run()
    assert not found.exception
    assert found.query_params["prediction_class"] in ("3", ["3"])  # by version


def test_a_click_on_a_layer_runs_no_forward_pass(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    found = page(app, "prediction")
    assert not found.exception
    passes: list[object] = []
    monkeypatch.setattr(DenseNet, "forward", lambda *_: passes.append(0))
    monkeypatch.setattr(Predictor, "final_maps", lambda *_: passes.append(0))
    found.session_state["prediction_source"] = 2
    found.run()
    assert not found.exception and not passes
    assert "Source layer 2" in shown(found)
