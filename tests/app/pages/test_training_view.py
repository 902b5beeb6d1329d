"""The Training page, by Streamlit's AppTest."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from analysis.reuse.emergence import record_reuse
from app.dashboard.views.training import estimate
from app.dashboard.views.training.estimate import seconds_per_epoch
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from densenet_core.training.runs.status import read_summary
from tests.app.pages.pages import page, shown

pytestmark = pytest.mark.slow
CONFIG = TrainingConfig("densenet-7-2", "digits", "demo", epochs=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("trained")
    return train(replace(CONFIG, runs_dir=str(runs)), show_progress=False, on_epoch=record_reuse)


@pytest.fixture
def demo(app: AppTest, trained: Path) -> Path:
    """The folder of a finished run with the feature reuse of each epoch, the only one where ``app`` is drawn."""
    return Path(shutil.copytree(trained, CONFIG.folder))


def running_process() -> SimpleNamespace:
    return SimpleNamespace(poll=lambda: None, returncode=None)


def test_a_run_that_takes_long_to_start_is_waited_for_and_then_chosen(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainingConfig("densenet-7-2", "digits", "late", epochs=1)
    polls: dict[str, float | None] = {}
    process = running_process()
    module = "app.dashboard.views.training"
    monkeypatch.setattr(f"{module}.new_run.start_training", lambda config: process)
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
    assert polls.popitem() == ("_watch", 2.0)  # its process has not ended
    process.poll = lambda: 0
    found.run()
    assert polls.popitem() == ("_watch", None)
    assert found.selectbox(key="training_run").value == "late"


def test_what_a_start_came_to_is_said_until_the_next_one(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of the same name with other settings is refused after its process has claimed the folder."""
    config = TrainingConfig("densenet-7-2", "digits", "demo", epochs=1)
    train(config, show_progress=False)
    process = running_process()
    module = "app.dashboard.views.training.new_run"
    monkeypatch.setattr(f"{module}.start_training", lambda config: process)
    monkeypatch.setattr(f"{module}.first_word", lambda folder, process: None)
    found = page(app, "training")
    found.text_input(key="new_name").set_value("demo")
    next(button for button in found.button if button.label == "Start").click().run()
    assert "Started demo" in found.success[0].value
    found.run()
    assert "Started demo" in found.success[0].value
    (config.folder / "log.txt").write_text("densenet-lens: it has other settings\n")
    process.poll, process.returncode = lambda: 2, 2
    for _ in range(2):
        found.run()
        assert not found.success
        assert found.error[0].value.replace("\\", "") == "The run 'demo' did not start: it has other settings"


def test_training_without_runs_says_how_to_start_one(app: AppTest) -> None:
    app = page(app, "training")
    assert not app.exception
    assert "Start one in the sidebar" in shown(app)


def test_training_shows_curves_and_feature_reuse(app: AppTest, demo: Path) -> None:
    app = page(app, "training")
    assert not app.exception
    assert app.dataframe[0].value["State"].tolist() == ["finished"]
    assert app.dataframe[1].value.columns.tolist() == ["Run", "State", "Epoch", "Error (%)"]  # on a phone
    curves, *blocks, observations = (json.loads(chart.proto.spec) for chart in app.get("plotly_chart"))
    assert len(curves["data"]) == 2
    assert len(blocks) == 3
    assert len(observations["data"]) == 5
    assert any("on this machine" in caption.value for caption in app.sidebar.caption)


def test_the_seconds_of_an_epoch_are_those_of_runs_on_this_machine(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = read_summary(demo).seconds_per_epoch
    assert seconds_per_epoch(CONFIG, [demo]) == pytest.approx(taken)
    assert seconds_per_epoch(replace(CONFIG, arch="densenet-10-4"), [demo]) > 2 * taken
    assert seconds_per_epoch(replace(CONFIG, dataset="cifar10"), [demo]) is None
    shutil.copytree(demo, other := demo.with_name("other"))
    (other / "owner.json").write_text('{"process": 1, "host": "another machine"}')
    assert seconds_per_epoch(CONFIG, [other]) is None
    reads: list[Path] = []
    read = estimate.read_config
    monkeypatch.setattr(estimate, "read_config", lambda folder: (reads.append(folder), read(folder))[1])
    seconds_per_epoch(CONFIG, [demo, other])
    assert not reads
    (other / "owner.json").write_text((demo / "owner.json").read_text() + "\n")
    assert seconds_per_epoch(CONFIG, [other]) == pytest.approx(taken)
    assert reads == [other]


def test_the_emergence_of_reuse_is_played_and_paused(app: AppTest, demo: Path) -> None:
    app = page(app, "training")
    assert app.select_slider[0].value == 2
    last = _blocks(app)
    app.button(key="emergence_play").click().run()
    assert not app.select_slider
    assert _blocks(app) != last
    app.run()  # as the page does by itself
    assert app.button(key="emergence_play").label == "Pause"
    app.run()
    assert app.select_slider[0].value == 2
    assert app.button(key="emergence_play").label == "Play"
    before = app.select_slider[0].key
    app.button(key="emergence_play").click().run()
    app.button(key="emergence_play").click().run()
    assert app.select_slider[0].value == 1  # where it was paused
    assert app.select_slider[0].key != before  # so that a browser can't send its value back


def _blocks(app: AppTest) -> list[object]:
    return [json.loads(chart.proto.spec)["data"] for chart in app.get("plotly_chart")[1:-1]]


def test_the_curves_of_two_runs_are_drawn_together(app: AppTest, demo: Path) -> None:
    shutil.copytree(demo, demo.with_name("other"))
    app = page(app, "training")
    app.selectbox(key="training_run").set_value("demo").run()
    app.multiselect(key="training_beside").select("other")
    app.toggle(key="curves_log").set_value(True)
    app.toggle(key="curves_smooth").set_value(True).run()
    assert not app.exception
    both = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert [line["name"].split(":")[0] for line in both["data"]] == ["demo", "demo", "other", "other"]
    assert both["layout"]["yaxis"]["type"] == "log"
    first, last = (app.get("plotly_chart")[0].proto.config, app.get("plotly_chart")[1].proto.config)
    assert "resetScale2d" in first and "resetScale2d" not in last  # curves zoom, heatmaps do not


def test_an_invalid_new_run_shows_the_error(app: AppTest) -> None:
    app = page(app, "training")
    app.text_input(key="new_name").set_value("../x")
    app.button[0].click().run()
    assert not app.exception
    assert "Name '../x' is not a folder name" in app.error[0].value.replace("\\", "")


def test_the_new_run_form_passes_every_setting_on(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.dashboard.views.training import new_run
    from densenet_core.training.config import PLACE_FIELDS, training_settings

    started: list[TrainingConfig] = []
    monkeypatch.setattr(new_run, "start_training", lambda config: started.append(config) or running_process())
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


def test_a_run_is_renamed_and_deleted_by_what_the_page_says_at_the_click(app: AppTest, demo: Path) -> None:
    app = page(app, "training")
    app.text_input(key="rename_demo").set_value("../other").run()
    app.button(key="rename_run").click().run()
    assert "other" in app.error[0].value and demo.exists()
    app.text_input(key="rename_demo").set_value("other").run()
    app.button(key="rename_run").click().run()
    assert not app.exception and not app.error
    assert app.selectbox(key="training_run").value == "other"
    app.checkbox(key="sure_other").check().run()
    app.button(key="delete_run").click().run()
    assert not app.exception and not demo.with_name("other").exists()
