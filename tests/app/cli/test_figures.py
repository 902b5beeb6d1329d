"""The commands that draw: the paper's figures by their number, and short paths."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import PIL.Image
import pytest

from analysis import connection_weights
from analysis.reuse.untrained import build_untrained
from app.cli.main import run
from app.facts import weights_hash
from app.text import suite_version
from densenet_core import Checkpoint, DenseNetSpec, load_zoo, save_checkpoint
from densenet_core.networks.build import build_model
from densenet_core.networks.relatives.highway_spec import HighwaySpec
from densenet_core.training.runs.files import REUSE

pytestmark = pytest.mark.slow


def test_figures_by_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["train", "--arch", "densenet-7-2", "--epochs", "1", "--name"]
    assert run([*line, "a"]) == 0
    assert run([*line, "b"]) == 0
    for arguments in (["3"], ["4-left"], ["4-middle"], ["4-right", "runs/a", "runs/b"], ["5", "runs/a"]):
        assert run(["figure", *arguments, "--out", f"fig{arguments[0]}.svg"]) == 0
        assert Path(f"fig{arguments[0]}.svg").read_text().count("<path") > 10
        assert len(pd.read_csv(f"fig{arguments[0]}.csv")) > 3
    assert run(["figure", "4-left", "runs/a", "--out", "own.pdf"]) == 0
    assert pd.read_csv("own.csv")["source"].tolist() == ["a"]


@pytest.mark.parametrize("which", ["1", "2"])
@pytest.mark.parametrize("network", ["densenet-bc-100-12", "densenet-40-12-digits", "net.safetensors"])
def test_figures_of_an_architecture(
    which: str, network: str, small_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(small_checkpoint, "net.safetensors")
    assert run(["figure", which, network, "--out", "fig.pdf"]) == 0
    assert Path("fig.pdf").read_bytes().startswith(b"%PDF")
    assert {"1": "source_layer", "2": "in_maps"}[which] in pd.read_csv("fig.csv")


def test_another_block_and_another_image(tmp_path: Path) -> None:
    out = tmp_path / "fig.svg"
    assert run(["figure", "1", "121", "--block", "2", "--out", str(out)]) == 0
    assert len(pd.read_csv(out.with_suffix(".csv"))) == 12 * 13 / 2 + 13
    assert run(["figure", "2", "121", "--input", "64", "--out", str(out)]) == 0
    assert pd.read_csv(out.with_suffix(".csv"))["in_size"].iloc[0] == 64


@pytest.mark.parametrize(
    ("networks", "measure"),
    [(["densenet-40-12", "resnet-sd-32"], "probability"), (["fractalnet-21"], "share_in_join")],
)
def test_short_paths_by_name(networks: list[str], measure: str, tmp_path: Path) -> None:
    out = tmp_path / "paths.pdf"
    assert run(["short-paths", *networks, "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"%PDF")
    table = pd.read_csv(out.with_suffix(".csv"))
    assert table[measure].between(0, 1).all()
    assert table["network"].nunique() == len(networks)


@pytest.mark.parametrize(("option", "column"), [([], "share_carried"), (["--gates"], "mean_gate")])
def test_short_paths_of_a_highway_network(option: list[str], column: str, tmp_path: Path) -> None:
    spec = HighwaySpec((2, 4, 1), (4, 6, 8), in_channels=1)
    save_checkpoint(Checkpoint(spec, build_model(spec).state_dict()), tmp_path / "highway.safetensors")
    out = tmp_path / "paths.pdf"
    line = ["short-paths", str(tmp_path / "highway.safetensors"), *option, "--dataset", "digits", "--images", "20"]
    assert run([*line, "--out", str(out)]) == 0
    assert pd.read_csv(out.with_suffix(".csv"))[column].between(0, 1).all()


def test_reuse_of_two_networks_shows_how_they_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["densenet-40-12-digits", "densenet-bc-76-12-digits"]
    assert run(["reuse", *names, "--figure", str(tmp_path / "a.pdf")]) == 0
    assert "Rank correlation of the 273 scaled cells by mean_abs_weight: 0.45" in capsys.readouterr().out
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    header, *rows = (tmp_path / "a.csv").read_text().splitlines()
    assert header == "block,source_layer,target_layer,target_kind,first,second,difference"
    assert len(rows) == 273
    assert run(["reuse", names[0], "densenet-bc-40-12-cifar10-jpeg"]) == 2
    assert "choose networks of the same shape" in capsys.readouterr().err
    assert run(["reuse", *names, names[0]]) == 2
    assert "3 networks are given: add --seeds" in capsys.readouterr().err


def test_reuse_of_seeds_shows_mean_and_spread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = DenseNetSpec((2, 2), 4, 8)
    files = [str(tmp_path / f"{seed}.safetensors") for seed in range(3)]
    for seed, file in enumerate(files):
        save_checkpoint(Checkpoint(spec, build_untrained(spec, seed=seed).arrays, {"dataset": "C10"}), file)
    assert run(["reuse", *files, "--seeds", "--figure", str(tmp_path / "a.pdf")]) == 0
    assert "of 12 cells differ between the networks" in capsys.readouterr().out
    assert (tmp_path / "a.csv").read_text().startswith("block,source_layer,target_layer,target_kind,mean,std,low,high")
    assert run(["reuse", files[0], "--seeds"]) == 2
    assert "1 network is given: give two or more seeds" in capsys.readouterr().err


def test_reuse_of_two_epochs_shows_how_they_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = DenseNetSpec((2, 2), 4, 8)
    tables = [connection_weights(build_untrained(spec, seed=epoch)).assign(epoch=epoch) for epoch in (1, 2)]
    pd.concat(tables).to_parquet(tmp_path / REUSE, index=False)
    assert run(["reuse", str(tmp_path), "--epochs", "1", "2", "--table", str(tmp_path / "a.csv")]) == 0
    assert "Epoch 1 (first) and epoch 2 (second)" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "a.csv")) == len(tables[0])
    assert run(["reuse", str(tmp_path), "--epochs", "1", "7"]) == 2
    assert "choose from 1 to 2" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_a_figure_names_its_network_and_its_command(kind: str, tmp_path: Path) -> None:
    out = tmp_path / f"own figure.{kind}"
    assert run(["--quiet", "reuse", "densenet-40-12-digits", "--figure", str(out)]) == 0
    said = out.read_bytes().decode("latin-1").replace("\x00", "")
    if kind == "png":
        said = " ".join(PIL.Image.open(out).text.values())  # type: ignore[attr-defined]
    weights = weights_hash(load_zoo("densenet-40-12-digits"))
    command = f"densenet-lens reuse densenet-40-12-digits --figure '{out}'"
    for part in ("own figure: densenet-40-12-digits", weights, command, f"DenseNet Lens {suite_version()}"):
        assert part in said


def test_a_figure_without_weights_names_its_command(tmp_path: Path) -> None:
    out = tmp_path / "fig.svg"
    assert run(["figure", "1", "121", "--out", str(out)]) == 0
    assert f"densenet-lens figure 1 121 --out {out}" in out.read_text()
