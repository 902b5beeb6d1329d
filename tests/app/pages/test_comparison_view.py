"""The page that compares two networks, by Streamlit's AppTest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from analysis.prediction.similarity import layer_similarity
from analysis.reuse.emergence import record_reuse
from app.dashboard.widgets import downloads
from densenet_core import create_model, load_checkpoint, load_zoo, save_checkpoint
from densenet_core.checkpoints.checkpoint import Checkpoint
from densenet_core.data.datasets import load_test_images
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from tests.app.pages.pages import DIGITS, FEW, page
from tests.app.pages.taking_home.again import make_again

pytestmark = pytest.mark.slow


def test_comparison_opens_on_densenet_121_and_resnet_50(app: AppTest) -> None:
    app = page(app, "comparison")
    assert not app.exception
    assert "7,978,856" in app.table[0].value.to_string()
    assert "25,557,032" in app.table[0].value.to_string()


def test_comparison_of_an_input_too_small(app: AppTest) -> None:
    app = page(app, "comparison")
    app.number_input[0].set_value(8).run()
    assert not app.exception
    assert "the smallest that works is 29" in app.error[0].value.replace("\\", "")


def test_comparison_measures_when_asked_for(app: AppTest) -> None:
    app = page(app, "comparison")
    for side, name in (("a", "densenet-40-12"), ("b", "resnet-20")):
        app.selectbox(key=f"arch{side}").select(name).run()
    app.button(key="start_latency").click().run()
    assert not app.exception
    assert "forward_ms" in app.dataframe[-1].value.columns


def test_comparison_draws_training_curves_of_two_runs(app: AppTest) -> None:
    for seed, name in enumerate(("one", "two")):
        config = TrainingConfig("densenet-7-2", "digits", name, epochs=1, seed=seed)
        train(config, show_progress=False, on_epoch=record_reuse)
    app = page(app, "comparison")
    for side, run in (("a", "one"), ("b", "two")):
        app.selectbox(key=f"origin{side}").select("run").run()
        app.selectbox(key=f"run{side}").select(Path("runs") / run).run()
    assert not app.exception
    blocks = {f"reuse_{part}{block}" for part in ("both", "difference") for block in (1, 2, 3)}
    assert blocks | {"curves"} <= {chart.key for chart in app.get("plotly_chart")}
    app.toggle(key="seeds").set_value(True).run()
    assert not app.exception and not app.warning
    assert "reuse_seeds3" in {chart.key for chart in app.get("plotly_chart")}
    app.toggle(key="seeds").set_value(False).run()
    app.selectbox(key="runb").select(Path("runs") / "one").run()
    app.selectbox(key="epochb").select(1).run()
    assert not app.exception
    assert "1.00" in next(caption.value for caption in app.caption if "correlation" in caption.value)
    app.selectbox(key="runb").select(Path("runs") / "two").run()
    (Path("runs") / "one" / "metrics.csv").write_text("epoch,split,loss,error,seconds\n1,train,1.0,50.0,1.0\n1,te")
    app.run()
    assert "1 damaged line" in app.warning[0].value


def test_comparison_says_why_it_can_not_measure(app: AppTest) -> None:
    app = page(app, "comparison")
    app.number_input[0].set_value(32).run()
    app.button(key="start_latency").click().run()
    assert not app.exception
    assert "too few for a training step's batch norm" in app.error[0].value.replace("\\", "")


@pytest.mark.parametrize("names", [("highway-19", "resnet-sd-110"), ("fractalnet-21", "dsn-densenet-40-12")])
def test_comparison_of_the_other_short_path_networks(names: tuple[str, str], app: AppTest) -> None:
    app = page(app, "comparison")
    for side, name in zip("ab", names, strict=True):
        app.selectbox(key=f"arch{side}").select(name).run()
    assert not app.exception
    assert not app.error
    params = {"highway-19": "2,262,714", "fractalnet-21": "33,724,618"}
    assert params[names[0]] in app.table[0].value.to_string()


def test_similarity_of_the_layers_of_two_networks(
    app: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, file = create_model("resnet-8", in_channels=1), tmp_path / "runs" / "r" / "model.safetensors"
    save_checkpoint(Checkpoint(model.spec, model.state_dict()), file)
    (file.parent / "config.json").write_text("{}")
    app = page(app, "comparison")
    assert "weights" in next(each.value for each in app.caption if "what their layers compute" in each.value)
    for side, origin in (("a", "zoo"), ("b", "run")):
        app.selectbox(key=f"origin{side}").select(origin).run()
    app.selectbox(key="zoo_namea").select(DIGITS).run()
    app.toggle(key="similarity").set_value(True).run()
    app.button(key="start_similarity").click().run()
    assert not app.exception and not app.error
    assert app.query_params["similarity"] in ("True", ["True"])  # by version
    images = load_test_images("digits")
    item = app.session_state[downloads._ITEMS]["similarity_of_both"]
    found = item.data[item.data["weights"] == "trained"]
    expected = layer_similarity(load_zoo(DIGITS), images, load_checkpoint(file), num_images=FEW)
    np.testing.assert_allclose(found["cka"], expected["cka"], atol=1e-6)
    others = set(app.session_state[downloads._ITEMS]) - {"similarity_of_both"}
    assert "similarity_of_both" in make_again(app, tmp_path, monkeypatch, others)
