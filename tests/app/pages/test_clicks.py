"""A click right after a change acts by the change, and is not lost where the page is drawn again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.dashboard.jobs.session import the_queue
from app.dashboard.keys import ImagesKey
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from tests.app.pages.pages import choose_all, heatmap_cells, page

SCRIPT = """
from functools import partial
import streamlit as st
from app.dashboard.widgets.clicks import forget_clicks, note_click, was_clicked
choice = st.text_input("Choice", "before", key="choice")
if st.session_state.pop("is_drawn_again", False):
    st.rerun()
if not st.session_state.get("is_elsewhere"):
    if was_clicked("go"):
        st.write(choice)
    st.button("Go", key="go", on_click=partial(note_click, "go"))
forget_clicks()
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def written(app: AppTest) -> list[str]:
    return [str(each.value) for each in app.markdown]


def test_a_click_is_done_once_with_the_choice_of_its_drawing() -> None:
    app = AppTest.from_string(SCRIPT).run()
    app.text_input(key="choice").set_value("after")
    app.button(key="go").click().run()
    assert written(app) == ["after"]
    assert written(app.run()) == []


def test_a_click_is_done_where_the_page_is_drawn_again_before_its_button() -> None:
    app = AppTest.from_string(SCRIPT).run()
    app.session_state["is_drawn_again"] = True
    app.button(key="go").click().run()
    assert written(app) == ["before"]


def test_a_page_does_not_do_what_was_clicked_on_the_one_before() -> None:
    app = AppTest.from_string(SCRIPT).run()
    app.session_state["is_elsewhere"] = True
    app.button(key="go").click().run()
    app.session_state["is_elsewhere"] = False
    assert written(app.run()) == []


def started_on(app: AppTest, start: str, number: int) -> list[int]:
    """Change the number of images and start at once; return the numbers of what is measured."""
    app.number_input(key="images_number").set_value(number)
    app.button(key=start).click().run()
    assert not app.exception
    options: list[tuple[Any, ...]] = [job.task.options for job in the_queue().jobs()]
    return [each.number for option in options for each in option if isinstance(each, ImagesKey)]


@pytest.mark.slow
@pytest.mark.usefixtures("small_run")
def test_effects_are_measured_on_the_number_typed_before_the_click(app: AppTest) -> None:
    choose_all(app, origin="run", images_number=30, measure="ablation").run()
    assert started_on(app, "start_measured", 20) == [20]
    assert heatmap_cells(app)


@pytest.mark.slow
@pytest.mark.usefixtures("small_run")
def test_claims_are_tested_on_the_number_typed_before_the_click(app: AppTest) -> None:
    assert started_on(page(app, "claims", origin="run"), "start_claims", 20) == [20]


@pytest.mark.slow
def test_a_run_gets_the_name_typed_before_the_click_and_goes_only_where_that_is_sure(app: AppTest) -> None:
    folder = TrainingConfig("densenet-7-2", "digits", "first", epochs=1).folder
    train(TrainingConfig("densenet-7-2", "digits", "first", epochs=1), show_progress=False)
    found = page(app, "training")
    found.text_input(key="rename_first").set_value("second").run()
    found.text_input(key="rename_first").set_value("third")
    found.button(key="rename_run").click().run()
    assert [each.name for each in folder.parent.iterdir()] == ["third"]
    found.checkbox(key="sure_third").check().run()
    found.checkbox(key="sure_third").uncheck()
    found.button(key="delete_run").click().run()
    assert folder.with_name("third").exists()
    found.checkbox(key="sure_third").check().run()
    found.button(key="delete_run").click().run()
    assert not folder.with_name("third").exists()
