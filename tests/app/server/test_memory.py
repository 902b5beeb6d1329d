"""What the dashboard remembers: one network for the session, over pages and in the address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import connection_weights
from app.dashboard import roots
from app.dashboard.keys import ImagesKey, NetworkKey, file_key
from app.dashboard.widgets.handover import reuse_code
from app.dashboard.widgets.network_origins import DIGITS, START
from densenet_core import Checkpoint, load_zoo, save_checkpoint, zoo_names
from densenet_core.checkpoints.zoo import zoo_path

pytestmark = pytest.mark.slow
MAIN = str(Path(__file__).parents[3] / "app" / "main.py")
TWO_PAGES = """
import streamlit as st
from app.dashboard.views import agreement, feature_reuse
(agreement if st.session_state.get("page") == "agreement" else feature_reuse).show()
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["streamlit"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def text(app: AppTest) -> str:
    assert not app.exception
    return "\n".join(str(part.value) for part in [*app.subheader, *app.caption, *app.info]).replace("\\", "")


def address(app: AppTest) -> dict[str, str]:
    values = dict(app.query_params)
    return {key: value[-1] if isinstance(value, list) else value for key, value in values.items()}


def test_the_network_and_the_options_are_kept_on_another_page_and_back() -> None:
    app = AppTest.from_string(TWO_PAGES, default_timeout=240)
    app.session_state["agreement_second"] = "l1_per_input_map"  # of the weights: nothing is measured
    app.run()
    app.selectbox(key="zoo_name").select(DIGITS).run()
    app.selectbox(key="scaling").select("none").run()
    app.session_state["page"] = "agreement"
    app.run()
    assert DIGITS in text(app)
    assert "Trained on: **Digits (8x8)**" in text(app)
    app.session_state["page"] = "reuse"
    app.run()
    assert app.selectbox(key="zoo_name").value == DIGITS
    assert app.selectbox(key="scaling").value == "none"


def test_an_address_opens_what_its_sender_saw() -> None:
    sender = AppTest.from_file(MAIN, default_timeout=240).run()
    sender.button(key=f"try_{DIGITS}").click().run()
    sender.selectbox(key="measure").select("l1_per_input_map").run()
    sender.selectbox(key="color_map").select("jet").run()
    receiver = AppTest.from_file(MAIN, default_timeout=240)
    for key, value in (address(sender) | {"cell": "2.3.7"}).items():
        receiver.query_params[key] = value
    receiver.run()
    assert receiver.selectbox(key="zoo_name").value == DIGITS
    assert receiver.selectbox(key="measure").value == "l1_per_input_map"
    assert receiver.selectbox(key="color_map").value == "jet"
    assert "##### Block 2: from layer 3 to layer 7" in [part.value for part in receiver.markdown]
    assert address(receiver) == address(sender) | {"cell": "2.3.7"}


@pytest.mark.parametrize(
    "query",
    [
        {"network": "zoo:no-such"},
        {"network": "path:/etc/passwd"},
        {"network": "run:../.."},
        {"network": "x"},
        {"cell": "9.9.9"},
        {"cell": "a.b.c"},
        {"measure": "<b>"},
        {"scaling": "None"},
        {"images_number": "many", "measure": "taylor"},
    ],
)
def test_an_address_that_names_nothing_is_no_error(query: dict[str, str]) -> None:
    app = AppTest.from_file(MAIN, default_timeout=240)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    assert not app.get("plotly_chart") if query.get("network") == "path:/etc/passwd" else True


def test_recent_networks_are_one_choice_away() -> None:
    app = AppTest.from_file(MAIN, default_timeout=240).run()
    app.button(key=f"try_{DIGITS}").click().run()
    app.run()
    assert START in app.selectbox(key="recent").options
    app.selectbox(key="recent").select_index(app.selectbox(key="recent").options.index(START)).run()
    assert app.selectbox(key="zoo_name").value == START
    assert f"{load_zoo(START).num_params:,}" in text(app)


def test_an_upload_is_kept_without_its_widget_and_named_by_its_hash(small_checkpoint: Checkpoint) -> None:
    save_checkpoint(small_checkpoint, "net.safetensors")
    app = AppTest.from_file(MAIN, default_timeout=240).run()
    app.file_uploader(key="start_upload").upload("net.safetensors", Path("net.safetensors").read_bytes()).run()
    assert re.fullmatch(r"upload:[0-9a-f]{12}", address(app)["network"])
    assert "net.safetensors" in text(app)
    assert f"{small_checkpoint.num_params:,}" in text(app)
    app.selectbox(key="origin").select("zoo").run()
    app.selectbox(key="origin").select("upload").run()
    assert f"{small_checkpoint.num_params:,}" in text(app)
    stranger = AppTest.from_file(MAIN, default_timeout=240)
    stranger.query_params["network"] = address(app)["network"]
    stranger.run()
    assert "Upload the same file" in text(stranger)
    assert not stranger.get("plotly_chart")


def test_a_network_without_a_data_set_in_its_record_is_measured_on_none(small_checkpoint: Checkpoint) -> None:
    save_checkpoint(small_checkpoint, "runs/net/model.safetensors")
    app = AppTest.from_file(MAIN, default_timeout=240)
    app.query_params["network"] = "run:runs/net"
    app.query_params["measure"] = "taylor"
    app.run()
    assert "On which data set was this network trained?" in text(app)
    assert not app.get("plotly_chart")


def test_images_are_normalized_as_in_training() -> None:
    """The CIFAR network of the zoo was trained on a class folder with CIFAR's statistics, not ImageNet's."""
    app = AppTest.from_file(MAIN, default_timeout=240)
    app.query_params["measure"] = "contribution"
    app.query_params["images_number"] = "20"
    app.run()
    assert app.selectbox(key="images_folder").value == "folder"
    assert app.selectbox(key="images_normalize_cifar10").value == "cifar10"
    assert not app.error  # a visitor who has chosen nothing made no mistake
    assert "not on this server" in text(app)
    app.button(key="try_digits").click().run()
    assert app.selectbox(key="images_digits").value == "digits"
    assert "of digits, normalized as digits" in text(app)


def test_a_folder_below_data_and_one_with_test_in_it_are_listed(tmp_path: Path) -> None:
    for part in ("data/mine/test/cat", "data/mine/train/cat"):
        (tmp_path / part).mkdir(parents=True)
    assert roots.data_path("data/mine") == tmp_path / "data" / "mine"
    assert "data/mine" in roots.list_image_folders()
    assert "data/mine/test" in roots.list_image_folders()


@pytest.mark.parametrize("images", [None, ImagesKey("digits", "data", None, 20)])
def test_the_python_that_is_handed_over_makes_the_figure(images: ImagesKey | None) -> None:
    measure = "total_abs_weight" if images is None else "contribution"
    key = file_key(zoo_path(DIGITS))
    code = reuse_code(key, images, measure, "block_max", "viridis", 1)
    exec(code.python, {})
    assert Path(f"feature_reuse_{measure}.pdf").read_bytes().startswith(b"%PDF")
    header, *rows = Path(f"feature_reuse_{measure}.csv").read_text().splitlines()
    assert measure in header.split(",")
    assert len(rows) == len(connection_weights(load_zoo(DIGITS)))
    assert code.command is not None
    assert code.command.startswith(f"densenet-lens reuse {DIGITS} --measure {measure} ")


def test_pretrained_weights_have_python_and_no_command() -> None:
    key = NetworkKey("pretrained", "densenet121")
    code = reuse_code(key, None, "mean_abs_weight", "none", "jet", 2)
    assert "load_pretrained('densenet121')" in code.python
    assert code.command is None


def test_the_first_network_is_one_that_ships() -> None:
    assert {START, DIGITS} <= set(zoo_names())


def test_a_cell_can_be_typed() -> None:
    app = AppTest.from_file(MAIN, default_timeout=240).run()
    app.text_input(key="cell_text").set_value("block 2, 1 -> 3").run()
    assert not app.exception
    assert "##### Block 2: from layer 1 to layer 3" in [part.value for part in app.markdown]
    assert app.text_input(key="cell_text").value == "block 2, 1 → 3"
    app.text_input(key="cell_text").set_value("9 9 9").run()
    assert "no connection “9 9 9”" in app.warning[0].value
    assert app.text_input(key="cell_text").value == "block 2, 1 → 3"
