from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from analysis import connection_weights
from analysis.figures.training.animation import animation_bytes, has_ffmpeg
from analysis.reuse.emergence import (
    likeness_to_end,
    onset,
    record_reuse,
    reuse_at,
    reuse_over_training,
)
from analysis.reuse.untrained import build_untrained
from densenet_core import DenseNetSpec, RunError, create_model, load_checkpoint
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from densenet_core.training.runs.files import REUSE, read_metrics

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = str(tmp_path_factory.mktemp("runs"))
    config = TrainingConfig("densenet-7-2", "digits", "demo", epochs=3, runs_dir=folder)
    return train(config, show_progress=False, on_epoch=record_reuse)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, for tests that change its files."""
    return Path(shutil.copytree(trained, tmp_path / "demo"))


def test_every_epoch_has_its_table_and_the_last_is_the_networks(run: Path) -> None:
    tables = reuse_over_training(run)
    assert tables["epoch"].unique().tolist() == [1, 2, 3]
    last = tables[tables["epoch"] == 3].drop(columns="epoch").reset_index(drop=True)
    pd.testing.assert_frame_equal(last, connection_weights(load_checkpoint(run)), check_dtype=False)
    first = tables[tables["epoch"] == 1]["mean_abs_weight"]
    assert (first.to_numpy() != last["mean_abs_weight"].to_numpy()).all()


def as_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def with_epochs_as_text(file: Path) -> None:
    tables = pd.read_parquet(file)
    tables.assign(epoch=tables["epoch"].astype(str)).to_parquet(file)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "emptied": lambda file: file.write_bytes(b""),
    "no epochs": lambda file: pd.read_parquet(file).drop(columns="epoch").to_parquet(file),
    "epochs as text": with_epochs_as_text,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_begun_anew_with_a_warning(damage: str, run: Path, caplog: pytest.LogCaptureFixture) -> None:
    DAMAGE[damage](run / REUSE)
    model = create_model("densenet-7-2", in_channels=1)
    for rows in (4, 6):  # of epochs 2 and 3
        record_reuse(run, model, read_metrics(run / "metrics.csv")[:rows])
    tables = reuse_over_training(run)
    assert tables["epoch"].unique().tolist() == [2, 3]
    assert caplog.text.count("reuse.parquet' is damaged") == 1
    assert "begins anew with epoch 2" in caplog.text
    assert "<" not in caplog.text.partition("is damaged")[2]


def test_a_file_that_can_not_be_written_is_named_and_not_its_temporary(run: Path) -> None:
    as_folder(run / REUSE)
    with pytest.raises(OSError, match="it is a folder in the place of a file") as e:
        record_reuse(run, create_model("densenet-7-2", in_channels=1), read_metrics(run / "metrics.csv")[:4])
    assert e.value.filename == str(run / REUSE)


def test_a_killed_run_leaves_no_epoch_twice(run: Path) -> None:
    model = create_model("densenet-7-2", in_channels=1)
    metrics = read_metrics(run / "metrics.csv")[:4]
    record_reuse(run, model, metrics)  # epoch 2, as a resumed run does that had written epochs 2 and 3 already
    tables = reuse_over_training(run)
    assert tables["epoch"].unique().tolist() == [1, 2]
    second = tables[tables["epoch"] == 2]["mean_abs_weight"].to_numpy()
    assert second == pytest.approx(connection_weights(model)["mean_abs_weight"].to_numpy())


def test_a_resnet_has_none(tmp_path: Path) -> None:
    record_reuse(tmp_path, create_model("resnet-8"), [])
    with pytest.raises(RunError, match=r"has no reuse\.parquet: train it with"):
        reuse_over_training(tmp_path)


def test_a_damaged_file_says_so(run: Path) -> None:
    (run / "reuse.parquet").write_bytes(b"cut")
    with pytest.raises(RunError, match=r"reuse\.parquet' is damaged"):
        reuse_over_training(run)


def test_reuse_sets_in_where_the_order_stays_that_of_the_end() -> None:
    orders = {1: [3, 2, 1, 4], 2: [1, 2, 3, 4], 3: [2, 1, 4, 3], 4: [1, 2, 3, 4], 5: [10, 20, 30, 40]}
    tables = pd.concat([pd.DataFrame({"epoch": e, "mean_abs_weight": values}) for e, values in orders.items()])
    likeness = likeness_to_end(tables)
    assert likeness["likeness"].tolist() == pytest.approx([0.2, 1.0, 0.6, 1.0, 1.0])
    assert onset(likeness) == 4
    assert onset(likeness.tail(2)) == 4


def test_the_animation_has_a_frame_an_epoch(run: Path) -> None:
    tables = reuse_over_training(run)
    with Image.open(io.BytesIO(animation_bytes(tables, "gif"))) as gif:
        assert gif.n_frames == 3
    with zipfile.ZipFile(io.BytesIO(animation_bytes(tables, "zip"))) as archive:
        assert archive.namelist() == [f"epoch_000{epoch}.pdf" for epoch in (1, 2, 3)]
        assert archive.read("epoch_0002.pdf").startswith(b"%PDF")
    with pytest.raises(ValueError, match="format 'avi' is unknown: choose from gif, mp4, zip"):
        animation_bytes(tables, "avi")


@pytest.mark.skipif(not has_ffmpeg(), reason="ffmpeg is not installed")
def test_the_animation_as_mp4_holds_its_last_frame(run: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(animation_bytes(reuse_over_training(run), "mp4"))
    probe = ("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(tmp_path / "a.mp4"))
    seconds = float(subprocess.run(probe, capture_output=True, text=True, check=True).stdout)
    assert seconds == pytest.approx(2 * 0.2 + 2.0, abs=0.05)


def test_mp4_without_ffmpeg_says_so(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RunError, match="MP4 needs the program ffmpeg"):
        animation_bytes(reuse_over_training(run), "mp4")


def test_the_table_of_one_epoch_is_read_back(tmp_path: Path) -> None:
    table = connection_weights(build_untrained(DenseNetSpec((2,), 2, 4)))
    tables = pd.concat([table.assign(epoch=epoch, mean_abs_weight=float(epoch)) for epoch in (1, 2)])
    tables.to_parquet(tmp_path / REUSE, index=False)
    found = reuse_at(tmp_path, 2)
    assert list(found.columns) == list(table.columns)
    assert (found["mean_abs_weight"] == 2).all() and found.index.equals(table.index)
    with pytest.raises(RunError, match="no table of epoch 3: choose from 1 to 2"):
        reuse_at(tmp_path, 3)


@pytest.mark.parametrize("column", ["epoch", "block", "mean_abs_weight"])
def test_tables_without_a_needed_column_are_named_damaged(column: str, run: Path) -> None:
    pd.read_parquet(run / REUSE).drop(columns=column).to_parquet(run / REUSE)
    with pytest.raises(RunError, match=f"is damaged: it has no column '{column}'"):
        reuse_over_training(run)
