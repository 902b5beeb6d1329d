"""The Efficiency page, by Streamlit's AppTest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from densenet_core import Checkpoint, save_checkpoint
from tests.app.pages.pages import page, points, shown

pytestmark = pytest.mark.slow


def test_efficiency_opens_on_the_papers_figure_3(app: AppTest) -> None:
    app = page(app, "efficiency")
    assert not app.exception
    assert points(app) == 9  # and ResNet-18, which the figure leaves out
    assert "At ResNet\\-152's error of 22\\.16 % DenseNet\\-BC needs 1\\.8 times fewer parameters" in shown(app)


def test_efficiency_of_every_data_set(app: AppTest) -> None:
    app = page(app, "efficiency")
    for dataset in ("C10", "C10+", "C100", "C100+", "SVHN", "ImageNet", "Digits (8x8)"):
        app.selectbox(key="dataset").select(dataset).run()
        assert not app.exception, dataset
        assert points(app) >= 8, dataset


def test_a_data_set_without_published_results_asks_for_no_source(app: AppTest) -> None:
    app = page(app, "efficiency", dataset="CIFAR-10 (JPEG)+")
    assert not app.exception
    assert [each.label for each in app.multiselect] == []
    assert points(app) >= 4


def test_every_cost_axis(app: AppTest) -> None:
    app = page(app, "efficiency")
    for cost in ("mult_adds", "activation_bytes"):
        app.segmented_control(key="cost").set_value(cost).run()
        assert not app.exception, cost
        assert points(app) == 9, cost
    app.segmented_control(key="cost").set_value("images_per_s").run()  # which the paper's sources do not have
    assert not app.exception
    assert "Choose another axis, source or family." in shown(app)
    app.segmented_control(key="cost").set_value("forward_ms").run()
    assert not app.exception
    assert app.button(key="start_latency")
    assert not app.get("plotly_chart")


def test_latency_is_measured_when_asked_for(app: AppTest) -> None:
    app = page(app, "efficiency")
    app.selectbox(key="dataset").select("C10+").run()
    app.multiselect(key="sources C10+ test").set_value(["liuzhuang13/DenseNet, README"]).run()
    app.segmented_control(key="cost").set_value("forward_ms").run()
    assert "3 networks, 32 × 32 pixels" in shown(app)
    app.button(key="start_latency").click().run()
    assert not app.exception
    assert points(app) == 3


def test_toggles_sources_and_families(app: AppTest) -> None:
    app = page(app, "efficiency")
    app.toggle(key="log").set_value(False).run()
    app.toggle(key="pareto").set_value(False).run()
    assert not app.exception
    sources = app.multiselect(key="sources ImageNet top1_single_crop")
    sources.set_value(["osmr/imgclsmob"]).run()
    assert not app.exception
    assert points(app) == 47
    sources = app.multiselect(key="sources ImageNet top1_single_crop")
    sources.set_value([]).run()
    assert not app.exception
    assert "No result here has this cost" in shown(app)


def test_a_run_that_others_broke_does_not_take_the_page_down(app: AppTest, small_checkpoint: Checkpoint) -> None:
    folder = Path("runs") / "odd"
    record = {"dataset": "x", "arch": "y", "epochs": None, "epochs_planned": 3, "image_size": "8"}
    save_checkpoint(replace(small_checkpoint, record=record), folder / "model.safetensors")
    app = page(app, "efficiency")
    assert not app.exception
    assert "has a record that can't be used" in app.warning[0].value.replace("\\", "")


def test_many_broken_runs_are_one_warning(app: AppTest, small_checkpoint: Checkpoint) -> None:
    for number in range(5):
        save_checkpoint(replace(small_checkpoint, record={"name": "x"}), f"runs/x{number}/model.safetensors")
    (warning,) = page(app, "efficiency").warning
    assert warning.value.count("has a record") == 3
    assert warning.value.endswith("… and 2 more.")
