"""The pages that measure on images: reuse by effect, agreement, claims, gradient flow and pruning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.reuse.agreement import agreement
from analysis.reuse.measures import IMAGE_MEASURES
from analysis.reuse.measuring import measure_reuse
from densenet_core import load_checkpoint, load_zoo, save_checkpoint
from densenet_core.checkpoints.checkpoint import Checkpoint
from densenet_core.data.datasets import load_test_images
from densenet_core.networks.build import create_model
from tests.app.pages.pages import choose_all, heatmap_cells, page, shown

pytestmark = pytest.mark.slow
NAME = "densenet-40-12-digits"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("measure", IMAGE_MEASURES)
def test_the_heatmap_of_a_measure_on_images(
    measure: str,
    app: AppTest,
    small_run: Path,
) -> None:
    choose_all(app, origin="run", images_number=30, measure=measure).run()
    if measure == "ablation":
        assert not app.get("plotly_chart")  # it takes long, and starts when it is asked for
        app.button(key="start_measured").click().run()
    assert not app.exception
    table = measure_reuse(load_checkpoint(small_run), (measure,), load_test_images("digits"), 30)
    assert [float(row[4]) for row in heatmap_cells(app)] == pytest.approx(table[measure].tolist(), abs=1e-6)


def test_images_that_do_not_fit_say_so_and_the_measure_can_be_changed_back(app: AppTest) -> None:
    choose_all(app, zoo_name=NAME, images_number=30, measure="taylor").run()
    app.selectbox(key="images_digits").select("cifar10").run()
    assert not app.exception
    assert "Data set cifar10 is not under 'data'" in app.error[0].value.replace("\\", "")
    app.selectbox(key="measure").select("mean_abs_weight").run()
    assert not app.error
    assert heatmap_cells(app)


def test_images_outside_the_served_folders_are_refused(app: AppTest) -> None:
    app.query_params["measure"] = "taylor"
    app.session_state["images_root"] = "/etc"
    app.run()
    assert not app.exception
    assert "outside the folders that this server serves" in app.error[0].value.replace("\\", "")


def test_agreement_shows_what_the_function_gives(app: AppTest) -> None:
    found = page(app, "agreement", agreement_second="contribution")
    assert not found.exception
    table = measure_reuse(load_zoo(NAME), ("contribution",), load_test_images("digits"), 30)
    expected = agreement(table, "mean_abs_weight", "contribution")
    assert [metric.value for metric in found.metric] == [
        f"{expected.spearman:.2f}",
        f"{expected.low:.2f} to {expected.high:.2f}",
        f"{expected.within_targets:.2f}",
        f"{expected.overlap:.0%}",
    ]
    found.selectbox(key="agreement_kind").select("transition").run()
    assert not found.exception
    found.selectbox(key="agreement_first").select("l1_per_input_map").run()
    assert not found.exception


def test_claims_stand_beside_an_untrained_network(app: AppTest, small_run: Path) -> None:
    found = page(app, "claims", origin="run")
    assert "Plain-14, untrained" not in shown(found).replace("\\", "")
    found.button(key="start_claims").click().run()
    assert not found.exception
    assert "14. DenseNets need fewer parameters than ResNets" in shown(found).replace("\\", "")
    assert "not decidable" in shown(found)
    assert "Plain-14, untrained" in shown(found).replace("\\", "")


def test_gradient_flow_of_the_network_and_its_controls(app: AppTest) -> None:
    found = page(app, "gradient_flow")
    assert not found.exception
    figure = json.loads(found.get("plotly_chart")[0].proto.spec)
    names = [trace["name"] for trace in figure["data"]]
    assert names == [
        "DenseNet (L=40, k=12), this network",
        "DenseNet (L=40, k=12), untrained",
        "ResNet-38, untrained",
        "Plain-38, untrained",
    ]
    assert len(found.get("plotly_chart")) == 2  # and the paths


def test_pruning_curves_begin_at_the_networks_error(app: AppTest, small_run: Path) -> None:
    found = page(app, "pruning", origin="run", pruning_measures=["mean_abs_weight"])
    found.button(key="start_pruning").click().run()
    assert not found.exception
    figure = json.loads(found.get("plotly_chart")[0].proto.spec)
    assert [trace["name"] for trace in figure["data"]] == ["mean |w| per channel", "random (mean over seeds)"]
    found.selectbox(key="pruning_budget").select("params").run()
    assert not found.exception
    assert not found.error


@pytest.mark.parametrize("name", ["agreement", "claims", "gradient_flow", "pruning"])
def test_pages_for_densenets_reject_resnets(name: str, app: AppTest, tmp_path: Path) -> None:
    model = create_model("resnet-8", in_channels=1)
    save_checkpoint(Checkpoint(model.spec, model.state_dict()), tmp_path / "runs" / "r" / "model.safetensors")
    (tmp_path / "runs" / "r" / "config.json").write_text("{}")
    found = page(app, name, origin="run")
    assert not found.exception
    assert "this is a ResNet-8" in shown(found).replace("\\", "")
