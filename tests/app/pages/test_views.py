"""Every control of the dashboard, by Streamlit's AppTest."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import streamlit as st
import torch
from streamlit.testing.v1 import AppTest

from analysis import connection_weights, figure5_observations, scale_measure
from analysis.figures.figure_5 import Connection
from analysis.reuse.emergence import record_reuse
from analysis.reuse.scaling import SCALINGS
from app.dashboard.widgets.network_picker import ORIGINS, START
from densenet_core import Checkpoint, load_zoo, save_checkpoint, zoo_names
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from tests.conftest import SHARED, shared_file

pytestmark = pytest.mark.slow
MAIN = str(Path(__file__).parents[3] / "app" / "main.py")

DIGITS = "densenet-40-12-digits"  # whose images are at hand everywhere


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["streamlit"])
    return AppTest.from_file(MAIN, default_timeout=240)


def shown(app: AppTest) -> str:
    """All text of the page."""
    parts = [*app.title, *app.subheader, *app.markdown, *app.caption, *app.info, *app.error]
    return "\n".join([*(str(part.value) for part in parts), *(expander.label for expander in app.expander)])


def heatmap_cells(app: AppTest) -> list[list[object]]:
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    return [row for trace in figure["data"] if trace["type"] == "scatter" for row in trace["customdata"]]


def choose(app: AppTest, origin: str) -> AppTest:
    app.run()
    app.selectbox(key="origin").select(origin)
    return app.run()


def test_it_opens_on_the_heatmap_of_a_zoo_network(app: AppTest) -> None:
    app.run()
    assert not app.exception
    assert not app.error
    table = connection_weights(load_zoo(START))
    cells = heatmap_cells(app)
    assert len(cells) == len(table)
    assert [float(row[4]) for row in cells] == pytest.approx(table["mean_abs_weight"].tolist())


def test_every_network_of_the_zoo(app: AppTest) -> None:
    app.run()
    for name in zoo_names():
        app.selectbox(key="zoo_name").select(name).run()
        assert not app.exception
        assert f"{load_zoo(name).num_params:,}" in shown(app)


def test_every_scaling(app: AppTest) -> None:
    app.run()
    for scaling in SCALINGS:
        app.selectbox(key="scaling").select(scaling).run()
        expected = scale_measure(connection_weights(load_zoo(START)), "mean_abs_weight", scaling)
        assert [float(row[5]) for row in heatmap_cells(app)] == pytest.approx(expected.tolist()), scaling


def test_measure_and_colours(app: AppTest) -> None:
    app.run()
    app.selectbox(key="measure").select("l1_per_input_map").run()
    app.selectbox(key="color_map").select("cividis").run()
    assert not app.exception
    table = connection_weights(load_zoo(START))
    assert [float(row[4]) for row in heatmap_cells(app)] == pytest.approx(table["l1_per_input_map"].tolist())


def test_the_observations_say_what_the_table_says(app: AppTest) -> None:
    app.run()
    page = shown(app).replace("\\", "")
    for seen in figure5_observations(connection_weights(load_zoo(START))).itertuples():
        assert seen.statement in page
        assert f"**{seen.value:.3g}**" in page


def test_the_strongest_connection_is_shown_first_and_a_chosen_one_after(app: AppTest) -> None:
    app.run()
    table = connection_weights(load_zoo(START))
    strongest = table.loc[table["mean_abs_weight"].idxmax()]
    assert f"##### Block {strongest['block']}: from" in shown(app)
    app.session_state["cell"] = Connection(2, 1, 3)
    app.run()
    assert "##### Block 2: from layer 1 to layer 3" in shown(app)


def test_downloads(app: AppTest) -> None:
    app.run()
    for file_format in ("pdf", "svg", "png", "csv"):
        assert app.download_button(key=f"download_{file_format}").label == file_format.upper()
    assert not app.exception


def test_no_runs_says_how_to_train_one(app: AppTest) -> None:
    choose(app, "run")
    assert not app.exception
    assert "densenet-lens train --arch densenet-40-12 --dataset digits" in shown(app)


def test_a_run_that_takes_long_to_start_is_waited_for_and_then_chosen(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainingConfig("densenet-7-2", "digits", "late", epochs=1)
    polls: dict[str, float | None] = {}
    module = "app.dashboard.views.training"
    monkeypatch.setattr(f"{module}.new_run.start_training", lambda config: None)
    monkeypatch.setattr(f"{module}.new_run.first_word", lambda folder, process: None)  # its patience is over
    monkeypatch.setattr(
        f"{module}.st.fragment", lambda draw, run_every=None: polls.update({draw.__name__: run_every}) or draw
    )
    found = page(app, "training")
    found.text_input(key="new_name").set_value("late")
    next(button for button in found.button if button.label == "Start").click().run()
    assert polls.popitem() == ("_wait_for_runs", 2.0)
    train(replace(config, name="early"), show_progress=False)
    found.run()
    assert polls.popitem() == ("_watch", 2.0)  # none trains
    train(config, show_progress=False)
    found.run()
    assert polls.popitem() == ("_watch", None)
    assert found.selectbox(key="training_run").value == "late"


def test_a_run_of_ones_own(app: AppTest) -> None:
    train(TrainingConfig("densenet-7-2", "digits", "demo", epochs=1), show_progress=False)
    choose(app, "run")
    assert not app.exception
    assert "DenseNet \\(L=7, k=2\\)" in shown(app)
    assert "Digits \\(8x8\\)" in shown(app)


def upload(app: AppTest, name: str, content: bytes) -> AppTest:
    choose(app, "upload")
    app.file_uploader(key="upload").upload(name, content)
    return app.run()


def test_an_upload(app: AppTest, small_checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(small_checkpoint, tmp_path / "net.safetensors")
    upload(app, "net.safetensors", (tmp_path / "net.safetensors").read_bytes())
    assert not app.exception
    assert not app.error
    assert len(heatmap_cells(app)) == len(connection_weights(small_checkpoint))


def test_a_real_upload(app: AppTest) -> None:
    file = shared_file("checkpoints/densenet_bc_100_12_cifar10.pth.tar")
    upload(app, file.name, file.read_bytes())
    assert not app.exception
    assert "769,162" in shown(app)


INVALID = {
    b"": "empty or cut short",
    b"not a checkpoint at all": "neither safetensors nor a file of torch",
    b"\x80\x02cposix\nsystem\n(S'true'\ntR.": "wants to run code of its own (posix.system)",
    bytes([255] * 7) + b"\x00{" + bytes(50): "cut short or damaged",
}


def test_an_invalid_upload_shows_the_error(app: AppTest) -> None:
    choose(app, "upload")
    for content, message in INVALID.items():
        app.file_uploader(key="upload").set_value(("net.pth", content, "application/octet-stream")).run()
        assert not app.exception
        assert len(app.error) == 1
        assert message in app.error[0].value.replace("\\", "")
        assert not app.get("plotly_chart")


def test_an_empty_upload_says_what_to_give(app: AppTest) -> None:
    choose(app, "upload")
    assert "Give a checkpoint file" in shown(app)


def test_a_path_under_a_served_folder(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    file = shared_file("checkpoints/densenet_bc_100_12_cifar10.pth.tar")
    monkeypatch.setattr("sys.argv", ["streamlit", "--root", str(SHARED / "checkpoints")])
    choose(app, "path")
    app.selectbox(key="server_path").select(str(file)).run()
    assert not app.exception
    assert "769,162" in shown(app)


def test_a_path_outside_the_served_folders_is_refused(
    app: AppTest, small_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    save_checkpoint(small_checkpoint, tmp_path / "net.safetensors")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link.safetensors").symlink_to(tmp_path / "net.safetensors")
    for path in ("net.safetensors", "runs/../net.safetensors", "runs/link.safetensors", "/etc/passwd"):
        app = choose_all(AppTest.from_file(MAIN, default_timeout=240), origin="path", server_path=path).run()
        assert not app.exception
        assert "outside the folders that this server serves" in app.error[0].value.replace("\\", ""), path
        assert not app.get("plotly_chart")


def test_pretrained_weights_that_cannot_be_had_say_so(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(Path.cwd() / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    choose(app, "pretrained")
    assert not app.exception
    assert "can't be downloaded (no route to host)" in app.error[0].value.replace("\\", "")


def test_no_origin_ends_in_a_traceback(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(Path.cwd() / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: Path("/nowhere").write_text(""))
    app.run()
    for origin in ORIGINS:
        app.selectbox(key="origin").select(origin).run()
        assert not app.exception, origin


FEW = 30  # images


def page(app: AppTest, name: str, **choices: object) -> AppTest:
    """Run a page other than the first by itself, with these values of its widgets."""
    found = AppTest.from_string(
        f"import streamlit as st\nfrom app.dashboard.views import {name}\n{name}.show()\n", default_timeout=240
    )
    return choose_all(found, zoo_name=DIGITS, images_number=FEW, **choices).run()


def choose_all(app: AppTest, **choices: object) -> AppTest:
    """Set the values of widgets, by their keys, before the page is drawn."""
    for key, value in choices.items():
        app.session_state[key] = value
    return app


def points(app: AppTest) -> int:
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    return sum(len(trace["customdata"]) for trace in figure["data"] if "customdata" in trace)


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
    assert {"reuse_both", "reuse_difference", "curves"} <= {chart.key for chart in app.get("plotly_chart")}
    app.toggle(key="seeds").set_value(True).run()
    assert not app.exception and not app.warning
    assert "reuse_seeds" in {chart.key for chart in app.get("plotly_chart")}
    app.toggle(key="seeds").set_value(False).run()
    app.selectbox(key="runb").select(Path("runs") / "one").run()
    app.selectbox(key="epochb").select(1).run()
    assert not app.exception
    assert "1.00" in next(caption.value for caption in app.caption if "correlation" in caption.value)
    app.selectbox(key="runb").select(Path("runs") / "two").run()
    (Path("runs") / "one" / "metrics.csv").write_text("epoch,split,loss,error,seconds\n1,train,1.0,50.0,1.0\n1,te")
    app.run()
    assert "1 damaged line" in app.warning[0].value


def test_training_without_runs_says_how_to_start_one(app: AppTest) -> None:
    app = page(app, "training")
    assert not app.exception
    assert "Start one in the sidebar" in shown(app)


def test_training_shows_curves_and_how_reuse_emerges(app: AppTest) -> None:
    config = TrainingConfig("densenet-7-2", "digits", "demo", epochs=2)
    train(config, show_progress=False, on_epoch=record_reuse)
    app = page(app, "training")
    assert not app.exception
    assert app.dataframe[0].value["state"].tolist() == ["finished"]
    curves, emergence, observations = (json.loads(chart.proto.spec) for chart in app.get("plotly_chart"))
    assert len(curves["data"]) == 2
    assert [frame["name"] for frame in emergence["frames"]] == ["1", "2"]
    assert len(observations["data"]) == 5


def test_an_invalid_new_run_shows_the_error(app: AppTest) -> None:
    app = page(app, "training")
    app.text_input(key="new_name").set_value("../x")
    app.button[0].click().run()
    assert not app.exception
    assert "name '../x' is not a folder name" in app.error[0].value.replace("\\", "")


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


def test_a_table_is_sent_when_it_is_opened(app: AppTest) -> None:
    app.run()
    assert not app.dataframe
    app.session_state["reuse_table"] = True
    app.run()
    assert len(app.dataframe[0].value) == len(connection_weights(load_zoo(START)))


def test_a_spinner_is_shown_only_while_something_is_computed(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[str] = []
    monkeypatch.setattr("streamlit.spinner", lambda text: words.append(text) or nullcontext())
    st.cache_resource.clear()
    st.cache_data.clear()
    app.run()
    assert words
    words.clear()
    app.selectbox(key="scaling").select("none").run()
    assert words == []


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


def test_the_new_run_form_passes_every_setting_on(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.dashboard.views.training import new_run
    from densenet_core.training.config import PLACE_FIELDS, training_settings

    started: list[TrainingConfig] = []
    monkeypatch.setattr(new_run, "start_training", started.append)
    monkeypatch.setattr(new_run, "first_word", lambda folder, process: None)
    app = page(app, "training")
    drawn = {widget.key for kind in ("selectbox", "number_input", "checkbox", "text_input") for widget in app.get(kind)}
    paths = {*PLACE_FIELDS, "initial_weights"}  # of the server
    assert {f"new_{each.name}" for each in training_settings() if each.name not in paths} <= drawn
    app.selectbox(key="new_schedule").set_value("one_cycle")
    app.number_input(key="new_momentum").set_value(0.8)
    app.text_input(key="new_milestones").set_value("0.25, 0.5")
    app.checkbox(key="new_channels_last").set_value(False)
    app.button[0].click().run()
    assert not app.exception
    assert (started[0].schedule, started[0].momentum, started[0].milestones) == ("one_cycle", 0.8, (0.25, 0.5))
    assert (started[0].channels_last, started[0].epochs, started[0].batch_size) == (False, 30, 64)
