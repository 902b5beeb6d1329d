"""The Prediction page: the choice of an image, and what it shows against what the functions return."""

from __future__ import annotations

import io
import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from streamlit.testing.v1 import AppTest

from analysis.figures.prediction.style import filter_grid, mark_place
from analysis.prediction import by_class
from analysis.prediction.by_class import reuse_by_class
from analysis.prediction.explain import explain_image, predicted_classes
from analysis.prediction.image_files import prepare_dataset_image
from analysis.prediction.predictor import Predictor
from analysis.prediction.volumes import open_volume, slice_at
from app.dashboard.widgets import downloads
from densenet_core import Checkpoint, DataError, DenseNet, DenseNetSpec, load_checkpoint, load_zoo, save_checkpoint
from densenet_core.data.datasets import load_test_images
from densenet_core.data.images import sample_evenly
from tests.app.pages.pages import FEW, page, shown
from tests.app.pages.taking_home.again import make_again

pytestmark = pytest.mark.slow
NAME = "densenet-40-12-digits"
# What the page offers whatever it looks at; the tests of the zoo network and of reuse by class make it again.
OVERVIEW = {"network_input", "top_classes", "prediction", "source_map", "class_map", "grad_cam", "feature_maps"}


def test_the_page_shows_what_the_functions_return(
    app: AppTest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = page(app, "prediction")
    assert not found.exception
    images = sample_evenly(load_test_images("digits"), FEW)
    row = found.pills(key="prediction_row_class0").value
    expected = explain_image(load_zoo(NAME), prepare_dataset_image(images, row), tuple("0123456789"))
    assert f"Logit of {expected.title}: {expected.logit:.2f}" in shown(found).replace("\\", "")
    assert make_again(found, tmp_path, monkeypatch) == OVERVIEW
    found.selectbox(key="prediction_for").select(3).run()
    found.selectbox(key="prediction_against").select(8).run()
    assert not found.exception
    assert "3, not 8" in shown(found).replace("\\", "")


def test_least_certain_images_come_first(app: AppTest) -> None:
    found = page(app, "prediction")
    found.selectbox(key="prediction_way").select("uncertain").run()
    assert not found.exception
    table = predicted_classes(load_zoo(NAME), sample_evenly(load_test_images("digits"), FEW))
    assert found.pills(key="prediction_row_uncertain").value == int(table.loc[table["probability"].idxmin(), "row"])


def look(app: AppTest, name: str) -> AppTest:
    """The page on the small network."""
    found = page(app, "prediction", origin="run")
    found.segmented_control(key="prediction_look").set_value(name).run()
    assert not found.exception
    assert not found.error
    return found


def reuse_by_class_of(folder: Path, number: int) -> pd.DataFrame:
    return reuse_by_class(load_checkpoint(folder), load_test_images("digits"), num_images=number)


def charts(found: AppTest) -> int:
    return len(found.get("plotly_chart"))


def test_reuse_by_class_is_measured_when_asked_for_and_an_image_is_in_the_address(
    app: AppTest,
    small_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = look(app, "by_class")
    assert charts(found) == 1  # the bars
    found.button(key="start_by_class").click().run()
    assert not found.exception
    assert charts(found) == 5  # the three blocks, the clusters
    found.segmented_control(key="by_class_measure").set_value("difference").run()
    assert not found.exception
    assert charts(found) == 5  # the difference in place of the loss
    results = lru_cache(reuse_by_class_of)  # measured once for all scripts
    monkeypatch.setattr(by_class, "reuse_by_class", lambda _, test, num_images: results(small_run, num_images))
    assert make_again(found, tmp_path, monkeypatch) > {"class_difference", "class_clusters"}  # of a run's folder
    found.selectbox(key="prediction_class").select(3).run()
    assert not found.exception
    assert found.query_params["prediction_class"] in ("3", ["3"])  # by version


def test_depth_is_measured_over_the_data_set_and_in_every_block(
    app: AppTest,
    small_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = look(app, "depth")
    assert charts(found) == 2
    found.button(key="start_lens").click().run()
    assert not found.exception
    assert charts(found) == 4
    found.segmented_control(key="prediction_replace").set_value("mean").run()
    assert not found.exception
    found.button(key="start_probes").click().run()
    assert not found.exception
    assert charts(found) == 5
    ours = {"layer_lens", "lens_error", "lens_decided", "linear_probes"}
    assert make_again(found, tmp_path, monkeypatch, OVERVIEW) > ours


def test_similarity_stands_beside_the_untrained_network(
    app: AppTest,
    small_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = look(app, "similarity")
    found.button(key="start_similarity").click().run()
    assert not found.exception
    drawn = [json.loads(chart.proto.spec)["data"] for chart in found.get("plotly_chart")[-2:]]
    assert [len(heatmap["customdata"]) for (heatmap,) in drawn] == [9, 9]  # 3 blocks, sources 0 to 2
    assert "layer_similarity" in make_again(found, tmp_path, monkeypatch, OVERVIEW)


def test_driving_images_and_connections(
    app: AppTest,
    small_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = look(app, "drives")
    found.button(key="start_drives").click().run()
    assert not found.exception
    assert "driving_images" in make_again(found, tmp_path, monkeypatch, OVERVIEW)
    found.segmented_control(key="prediction_look").set_value("connections").run()
    assert not found.exception
    assert charts(found) == 3
    found.button(key="start_paths").click().run()
    assert not found.exception
    assert "stem > " in found.dataframe[-1].value.iloc[0, -1]
    carried = {"read_scores", "read_maps"} & set(found.session_state[downloads._ITEMS])
    assert len(carried) == 1
    ours = {"decision_heatmap", "decision_arcs", "strongest_paths", *carried}
    assert make_again(found, tmp_path, monkeypatch, OVERVIEW) > ours


def test_thumbnails_turn_and_the_address_names_the_image(app: AppTest) -> None:
    found = page(app, "prediction")
    found.session_state["images_number"] = 200
    found.run()
    rows = image_labels_of(200, 0)
    assert found.pills(key="prediction_row_class0").value == rows[0]
    found.button(key="thumbnails_later").click().run()
    assert not found.exception
    assert found.pills(key="prediction_row_class0").value == rows[12]
    assert found.query_params["prediction_row_class0"] in (str(rows[12]), [str(rows[12])])  # by version


def image_labels_of(number: int, label: int) -> list[int]:
    _, labels = next(sample_evenly(load_test_images("digits"), number).batches(number))
    return [row for row, own in enumerate(labels.tolist()) if own == label]


def test_volumes_are_read_from_arrays_and_shown_by_slices() -> None:
    network = Checkpoint(spec := DenseNetSpec((2,), 2, 4, in_channels=1, spatial_dims=3), DenseNet(spec).state_dict())
    volume = np.arange(4 * 8 * 8, dtype="uint8").reshape(4, 8, 8)
    seen = open_volume(as_file(volume), network)
    assert seen.images.shape == (1, 1, 4, 8, 8)
    assert torch.equal(seen.images[0, 0], torch.from_numpy(volume) / 255)
    assert slice_at(seen.pixels, 0.6)[0].tolist() == seen.pixels[0, 2].tolist()
    found = explain_image(network, seen, tuple(map(str, range(spec.num_classes))))
    assert slice_at(found.maps, 0.6).dim() == 3
    with pytest.raises(DataError, match="the network takes"):
        open_volume(as_file(volume[0]), network)
    with pytest.raises(DataError, match=r"not a readable \.npy"):
        open_volume(b"no array", network)
    with pytest.raises(DataError, match=r"not a readable \.npy"):
        open_volume(as_file(np.array([object()])), network)


def test_a_volume_is_uploaded_and_cut_into_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = DenseNetSpec((2, 2), 2, 4, in_channels=1, spatial_dims=3)
    save_checkpoint(Checkpoint(spec, DenseNet(spec).state_dict()), tmp_path / "net.safetensors")
    monkeypatch.setattr("sys.argv", ["streamlit", "--root", str(tmp_path)])
    app = AppTest.from_string("from app.dashboard.views import prediction\nprediction.show()\n", default_timeout=240)
    app.query_params["network"] = f"path:{tmp_path / 'net.safetensors'}"
    app.run()
    volume = np.random.default_rng(0).random((6, 8, 8), dtype="float32")
    app.file_uploader(key="prediction_upload_npy").upload("scan.npy", as_file(volume))
    app.run()
    assert not app.exception
    assert not app.error
    assert app.slider(key="prediction_slice").max == 6
    names = "\n".join(f"kind {number}" for number in range(10)).encode()
    for file, content, is_wrong in (("few.txt", b"one\ntwo", True), ("names.txt", names, False)):
        app.file_uploader(key="prediction_names").upload(file, content)
        app.run()
        assert all("has 2 class names, the network predicts 10" in error.value for error in app.error)
        assert bool(app.error) == is_wrong
        (tmp_path / file).write_bytes(content)
    assert "kind 3" in app.selectbox(key="prediction_for").options
    app.slider(key="prediction_slice").set_value(1).run()
    (tmp_path / "scan.npy").write_bytes(as_file(volume))
    assert "feature_maps" in make_again(app, tmp_path, monkeypatch)
    app.segmented_control(key="prediction_look").set_value("connections").run()
    assert not app.exception
    assert not app.error
    assert charts(app) == 3


def as_file(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def test_a_frame_marks_the_place_and_filters_keep_their_colors() -> None:
    image = mark_place(torch.zeros(1, 8, 8, dtype=torch.uint8), 0.25, 0.75)
    rows, columns = np.nonzero(image.sum(2))
    assert rows.mean() / len(image) == pytest.approx(0.25, abs=0.02)
    assert columns.mean() / len(image) == pytest.approx(0.75, abs=0.02)
    filters = torch.zeros(2, 3, 1, 2)
    filters[0, 0, 0, 1] = 5.0  # red
    tiles = filter_grid(filters, columns=1, min_side=2)
    assert tiles[0, 1].tolist() == [255, 0, 0]
    assert tiles[0, 0].tolist() == [0, 0, 0]


def test_a_click_on_a_layer_runs_no_forward_pass(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    found = page(app, "prediction")
    assert not found.exception
    passes: list[object] = []
    monkeypatch.setattr(DenseNet, "forward", lambda *_: passes.append(0))
    monkeypatch.setattr(Predictor, "final_maps", lambda *_: passes.append(0))
    found.session_state["prediction_source"] = 2
    found.run()
    assert not found.exception and not passes
    assert "feature maps of source layer 2" in shown(found)
