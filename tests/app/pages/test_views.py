"""The first page and the choice of a network, by Streamlit's AppTest."""

from __future__ import annotations

import errno
from contextlib import nullcontext
from pathlib import Path

import pytest
import streamlit as st
import torch
from streamlit.testing.v1 import AppTest

from analysis import connection_weights, figure5_observations, scale_measure
from analysis.figures.figure_5 import Connection
from analysis.reuse.scaling import SCALINGS
from app.dashboard.widgets.network_origins import ORIGINS, START
from densenet_core import Checkpoint, load_zoo, save_checkpoint, zoo_names
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from tests.app.pages.pages import MAIN, choose, choose_all, heatmap_cells, shown, upload
from tests.conftest import SHARED, shared_file

pytestmark = pytest.mark.slow


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


def test_a_run_of_ones_own(app: AppTest) -> None:
    train(TrainingConfig("densenet-7-2", "digits", "demo", epochs=1), show_progress=False)
    choose(app, "run")
    assert not app.exception
    assert "DenseNet \\(L=7, k=2\\)" in shown(app)
    assert "Digits \\(8x8\\)" in shown(app)


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
    b"not a checkpoint at all": "the file is text, which holds no weights",
    b"\x80\x02cposix\nsystem\n(S'true'\ntR.": "wants to run code of its own (posix.system)",
    bytes([255] * 7) + b"\x00{" + bytes(50): "cut short or damaged",
}


def test_an_invalid_upload_shows_the_error(app: AppTest) -> None:
    choose(app, "upload")
    for content, message in INVALID.items():
        app.file_uploader(key="upload").set_value(("net.pth", content, "application/octet-stream")).run()
        assert not app.exception
        assert len(app.error) == 1
        said = app.error[0].value.replace("\\", "")
        assert said.startswith("net.pth: ") and message in said
        assert not app.get("plotly_chart")


def test_an_empty_upload_says_what_to_give(app: AppTest) -> None:
    choose(app, "upload")
    assert "Upload a checkpoint file" in shown(app)


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
        raise OSError(errno.EHOSTUNREACH, "no route to host")

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
