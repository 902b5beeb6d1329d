from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.results import results
from analysis.results.results import mean_over_seeds, measured_results, published_results, shipped_results
from analysis.results.rows import COLUMNS
from densenet_core import load_zoo, save_checkpoint
from densenet_core.checkpoints.zoo import zoo_names
from densenet_core.files import only_in
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from densenet_core.training.runs import index
from tests.conftest import shared_file


def reference(name: str) -> list[dict[str, str]]:
    with shared_file(f"reference/{name}").open() as stream:
        return list(csv.DictReader(stream))


def test_table_2_is_carried_over_to_the_last_number() -> None:
    table = published_results()
    table = table[table["source"] == "Huang et al. 2017, Table 2"]
    names = {"c10": "C10", "c10_plus": "C10+", "c100": "C100", "c100_plus": "C100+", "svhn": "SVHN"}
    rows = reference("table2_cifar_svhn.csv")
    expected = sorted((names[key], float(row[key])) for row in rows for key in names if row[key])
    found = sorted(zip(table["dataset"], table["error"], strict=True))
    assert found == expected
    assert table["model"].nunique() == len(rows)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("table3_imagenet.csv", "Huang et al. 2017, Table 3"),
        ("resnet_imagenet_torch.csv", "fb.resnet.torch, pretrained models"),
    ],
)
def test_the_imagenet_tables_are_carried_over(file: str, source: str) -> None:
    table = published_results()
    table = table[table["source"] == source].set_index(["model", "error_kind"])["error"]
    for row in reference(file):
        for kind in ("top1_single_crop", "top5_single_crop", "top1_10_crop", "top5_10_crop"):
            assert table[row["model"], kind] == float(row[kind])


def test_osmrs_numbers_are_carried_over() -> None:
    table = published_results()
    table = table[table["source"] == "osmr/imgclsmob"]
    rows = reference("osmr_model_zoo.csv")
    assert len(table) == sum(bool(row[key]) for row in rows for key in ("top1_error", "top5_error"))
    by_model = table[table["error_kind"] != "top5_single_crop"].set_index(["dataset", "model"])
    names = {"ImageNet-1K": "ImageNet", "CIFAR-10": "C10+", "CIFAR-100": "C100+", "SVHN": "SVHN"}
    for row in rows:
        found = by_model.loc[(names[row["dataset"]], row["model"])]
        assert (found["error"], found["params"]) == (float(row["top1_error"]), int(row["params"]))


def test_costs_are_exact_where_the_network_can_be_built_and_the_printed_ones_stand_beside() -> None:
    table = published_results()
    row = table[(table["model"] == "ResNet-1202 with stochastic depth")].iloc[0]
    assert (row["params"], row["params_printed"]) == (19_421_274, 10_200_000)
    imagenet = table[table["arch"] == "densenet121"].iloc[0]
    assert (imagenet["params"], imagenet["mult_adds"]) == (7_978_856, 2_834_161_664)
    c100 = table[(table["arch"] == "densenet-bc-100-12") & (table["dataset"] == "C100+")].iloc[0]
    assert c100["params"] == 769_162 + 90 * 343  # 90 more classes


def test_torchvisions_own_numbers_need_no_download() -> None:
    table = published_results()
    row = table[(table["model"] == "densenet121 (IMAGENET1K_V1)") & (table["error_kind"] == "top1_single_crop")].iloc[0]
    assert row["error"] == pytest.approx(100 - 74.434)
    assert row["params"] == row["params_printed"]


def test_every_row_says_where_it_comes_from() -> None:
    table = pd.concat([published_results(), shipped_results()])
    assert list(table.columns) == list(COLUMNS)
    for column in ("origin", "family", "model", "dataset", "error_kind", "error", "source"):
        assert table[column].notna().all(), column
    assert set(published_results()["origin"]) == {"published"}
    assert table["error"].between(0, 100).all()


def test_the_shipped_sweep_is_whole() -> None:
    table = shipped_results().query("dataset == 'Digits (8x8)'")
    counts = table.groupby(["family", "model"])["seed"].nunique()
    assert counts.ge(3).all()
    assert counts.groupby("family").size().loc[["DenseNet", "DenseNet-BC", "ResNet"]].ge(4).all()
    assert set(table["origin"]) == {"measured"}
    for column in ("epochs", "hardware", "seed", "params", "mult_adds"):
        assert table[column].notna().all(), column


@pytest.mark.slow
def test_measured_results_are_the_runs_own_records(tmp_path: Path) -> None:
    config = TrainingConfig("densenet-7-2", "digits", "demo", epochs=1, runs_dir=str(tmp_path))
    folder = train(config, show_progress=False)
    (tmp_path / "empty").mkdir()
    table = measured_results([folder, tmp_path / "empty"], include_zoo=False)
    (row,) = table.to_dict("records")
    metrics = pd.read_csv(folder / "metrics.csv")
    assert row["error"] == metrics[metrics["split"] == "test"]["error"].iloc[-1]
    assert (row["family"], row["dataset"], row["epochs"], row["source"]) == ("DenseNet", "Digits (8x8)", 1, "demo")
    assert row["note"] is None
    assert len(table.attrs["skipped"]) == 1
    assert "empty" in table.attrs["skipped"][0]
    assert len(measured_results([])) == len(zoo_names())


def test_the_records_of_runs_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MIN_FILES", 2)
    network, read, original = load_zoo("densenet-40-12-digits"), [], results.read_header
    monkeypatch.setattr(results, "read_header", lambda place: read.append(Path(place).name) or original(place))
    (cache := tmp_path / "cache").mkdir()
    (tmp_path / "damaged.safetensors").write_text("no network")

    def save(name: str, epochs: int) -> None:
        save_checkpoint(replace(network, record=network.record | {"epochs": epochs}), tmp_path / name)

    def table() -> pd.DataFrame:
        read.clear()
        return measured_results(sorted(tmp_path.glob("*.safetensors")), include_zoo=False, keep_in=cache)

    save("a.safetensors", 1)
    save("b.safetensors", 2)
    first = table()
    assert read == ["a.safetensors", "b.safetensors", "damaged.safetensors"] and len(first.attrs["skipped"]) == 1
    pd.testing.assert_frame_equal(table(), first)
    assert read == ["damaged.safetensors"]
    save("b.safetensors", 3)
    save("c.safetensors", 4)
    assert table()["epochs"].tolist() == [1, 3, 4]
    assert read == ["b.safetensors", "c.safetensors", "damaged.safetensors"]
    with only_in([cache]):  # what was read without limits is not shown within them
        assert table().empty


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", "3"),
        ("epochs", 10**400),
        ("epochs_planned", 1.5),
        ("seed", True),
        ("test_error", float("nan")),
        ("test_error", 10**400),
        ("image_size", -8),
        ("name", ["a"]),
        ("hardware", {"a": 1}),
        ("dataset", None),
    ],
)
def test_a_record_with_other_values_is_skipped_and_named(key: str, value: Any, tmp_path: Path) -> None:
    network = load_zoo("densenet-40-12-digits")
    save_checkpoint(replace(network, record=network.record | {key: value}), tmp_path / "odd.safetensors")
    table = measured_results([tmp_path / "odd.safetensors"], include_zoo=False)
    assert table.empty
    assert f"has a record that can't be used: its {key} is " in table.attrs["skipped"][0]


def test_a_run_from_trained_weights_says_so(tmp_path: Path) -> None:
    network = load_zoo("densenet-40-12-digits")
    record = network.record | {"epochs": 3, "epochs_planned": 4, "started_from": {"file": "first", "epochs": 6}}
    save_checkpoint(replace(network, record=record), tmp_path / "again.safetensors")
    (row,) = measured_results([tmp_path / "again.safetensors"], include_zoo=False).to_dict("records")
    assert row["note"] == "stopped before epoch 4; started from weights trained for 6 epochs"


def test_seeds_become_a_mean_with_its_deviation_and_nothing_else_is_mixed() -> None:
    base = (
        published_results().iloc[:1].assign(origin="measured", arch="densenet-7-2", seeds=1, epochs=5, hardware="CPU")
    )
    runs = pd.concat([base.assign(error=e, seed=i, source=f"run{i}") for i, e in enumerate([1.0, 2.0, 6.0])])
    other = base.assign(error=9.0, seed=0, epochs=6, source="longer")
    table = mean_over_seeds(pd.concat([runs, other, published_results().iloc[:3]], ignore_index=True))
    measured = table[table["origin"] == "measured"].sort_values("epochs")
    assert measured["error"].tolist() == [3.0, 9.0]
    assert measured["spread"].iloc[0] == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert measured["seeds"].tolist() == [3, 1]
    assert measured["source"].tolist() == ["densenet-7-2, seeds 0, 1, 2", "longer"]
    assert (table["origin"] == "published").sum() == 3
