from __future__ import annotations

import re
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis import connection_weights, feature_reuse_figure, save_figure, scale_measure
from analysis.figures import figure_bytes
from analysis.figures.connection import source_profile, target_profile, weight_histogram
from analysis.figures.figure_5 import Connection, feature_reuse_screen
from analysis.figures.style.heatmap import block_matrix, ticks
from densenet_core import Checkpoint, DenseNet, DenseNetSpec

pytestmark = pytest.mark.slow


@pytest.fixture
def table(small_checkpoint: Checkpoint) -> pd.DataFrame:
    return connection_weights(small_checkpoint)


def test_block_matrix_has_every_row_in_its_place(table: pd.DataFrame) -> None:
    matrix = block_matrix(table, table["mean_abs_weight"], 2)
    assert matrix.shape == (5, 5)
    for row in table[table["block"] == 2].itertuples():
        assert matrix[row.source_layer, row.target_layer - 1] == row.mean_abs_weight
    assert np.isnan(matrix[np.tril_indices(5, -1)]).all()


@pytest.mark.parametrize("file_format", ["pdf", "svg", "png"])
def test_the_same_input_produces_the_same_bytes(table: pd.DataFrame, file_format: str) -> None:
    first, second = (figure_bytes(feature_reuse_figure(table), file_format) for _ in range(2))
    assert first == second
    assert first != figure_bytes(feature_reuse_figure(table, scaling="network_max"), file_format)


def test_the_pdf_embeds_its_fonts_as_truetype(table: pd.DataFrame) -> None:
    pdf = figure_bytes(feature_reuse_figure(table), "pdf")
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext is not installed")
def test_the_pdfs_words_can_be_found(table: pd.DataFrame, tmp_path: Path) -> None:
    save_figure(feature_reuse_figure(table), tmp_path / "f.pdf")
    text = subprocess.run(["pdftotext", tmp_path / "f.pdf", "-"], capture_output=True, text=True, check=True).stdout
    for words in (
        "Dense block 3",
        "Source layer",
        "Color: mean |w| per channel, per block, dense layers",
        "transition",
        "classifier",
    ):
        assert words in text


@pytest.mark.parametrize(("columns", "inches"), [(1, 3.25), (2, 6.875)])
def test_png_has_the_width_of_the_papers_columns_at_300_dpi(table: pd.DataFrame, columns: int, inches: float) -> None:
    image = matplotlib.image.imread(BytesIO(figure_bytes(feature_reuse_figure(table, columns=columns), "png")))
    assert image.shape[1] == int(inches * 300)


def test_cells_have_the_colours_of_their_values(table: pd.DataFrame) -> None:
    figure = feature_reuse_figure(table, color_map="viridis")
    values = scale_measure(table, "mean_abs_weight")
    for block, ax in enumerate(figure.axes[:3], start=1):
        mesh = ax.collections[0]
        matrix = block_matrix(table, values, block)
        places = mesh.get_offsets().astype(int)
        assert len(places) == (table["block"] == block).sum()
        np.testing.assert_allclose(mesh.get_array(), matrix[places[:, 1], places[:, 0]])
        assert (mesh.norm.vmin, mesh.norm.vmax, mesh.cmap.name) == (0, 1, "viridis")
        assert ax.yaxis_inverted()  # source 0 on top
        rectangle = ax.patches[-1]
        assert [text.get_text() for text in ax.texts] == [("transition", "transition", "classifier")[block - 1]]
        size = len(matrix)
        assert (rectangle.get_x(), rectangle.get_width(), rectangle.get_height()) == (size - 1, 1, size)


@pytest.mark.parametrize("blocks", [(2,), (2, 2), (2, 3, 4, 2), (2,) * 6])
@pytest.mark.parametrize("columns", [1, 2])
def test_nothing_is_cut_off_for_any_number_of_blocks(blocks: tuple[int, ...], columns: int) -> None:
    figure = feature_reuse_figure(connection_weights(DenseNet(DenseNetSpec(blocks, 2, 4))), columns=columns)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    page = figure.bbox
    for text in figure.findobj(lambda artist: hasattr(artist, "get_text") and artist.get_text()):
        if text.get_visible():
            box = text.get_window_extent(renderer)
            assert box.x0 >= page.x0 - 1, text
            assert box.x1 <= page.x1 + 1, text
            assert box.y0 >= page.y0 - 1, text
            assert box.y1 <= page.y1 + 1, text


def test_the_table_goes_beside_the_figure(table: pd.DataFrame, tmp_path: Path) -> None:
    files = save_figure(feature_reuse_figure(table), tmp_path / "new" / "fig5.pdf", table)
    assert [file.name for file in files] == ["fig5.pdf", "fig5.csv"]
    pd.testing.assert_frame_equal(pd.read_csv(files[1]), table, check_dtype=False, rtol=1e-12)


def test_unknown_options_list_the_known(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="color_map 'hot' is unknown: choose from jet, viridis, cividis"):
        feature_reuse_figure(table, color_map="hot")
    with pytest.raises(ValueError, match="columns 3 is neither 1 nor 2"):
        feature_reuse_figure(table, columns=3)
    with pytest.raises(ValueError, match=re.escape("figure file 'f.jpg' does not end in .pdf, .svg, .png")):
        save_figure(feature_reuse_figure(table), tmp_path / "f.jpg")


@pytest.mark.parametrize(("last", "first", "expected"), [(12, 0, [0, 2, 4, 6, 8, 10, 12]), (3, 1, [1, 2, 3])])
def test_ticks_are_round(last: int, first: int, expected: list[int]) -> None:
    assert ticks(last, first) == expected


def test_the_screens_cells_carry_what_a_hover_shows(table: pd.DataFrame) -> None:
    figure = feature_reuse_screen(table, "l1_per_input_map", "network_max", marked=Connection(2, 0, 1))
    markers = [trace for trace in figure.data if trace.type == "scatter"]
    values = scale_measure(table, "l1_per_input_map", "network_max")
    custom = np.concatenate([trace.customdata for trace in markers])
    assert custom[:, :3].astype(int).tolist() == table[["block", "source_layer", "target_layer"]].values.tolist()
    np.testing.assert_allclose(custom[:, 4].astype(float), table["l1_per_input_map"])
    np.testing.assert_allclose(custom[:, 5].astype(float), values)
    for trace in markers:
        assert trace.hoverinfo != "skip"  # the trap: a scatter that skips hover is not selected either
        np.testing.assert_array_equal(trace.y, [row[1] for row in trace.customdata])


def test_the_screens_heatmap_shows_the_scaled_values(table: pd.DataFrame) -> None:
    heatmaps = [trace for trace in feature_reuse_screen(table).data if trace.type == "heatmap"]
    for block, trace in enumerate(heatmaps, start=1):
        np.testing.assert_allclose(trace.z, block_matrix(table, scale_measure(table, "mean_abs_weight"), block))


def test_profiles_are_the_row_and_the_column(table: pd.DataFrame) -> None:
    cell = Connection(2, 1, 3)
    row, column = (profile(table, "mean_abs_weight", cell).data[0] for profile in (source_profile, target_profile))
    matrix = block_matrix(table, table["mean_abs_weight"], 2)
    np.testing.assert_allclose(row.y, matrix[1, 1:])
    assert list(row.x) == [2, 3, 4, 5]
    np.testing.assert_allclose(column.y, matrix[:3, 2])
    assert list(column.x) == [0, 1, 2]


def test_the_histogram_counts_every_weight() -> None:
    weights = np.random.default_rng(0).normal(size=(12, 12, 3, 3))
    assert sum(weight_histogram(weights).data[0].y) == weights.size
