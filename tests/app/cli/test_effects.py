"""Commands that measure on images: reuse by effect, claims, agreement and prune."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from analysis.claims.claims import ON_IMAGES
from analysis.claims.figure_5 import FIGURE_5
from app.cli.main import run
from densenet_core import Checkpoint, DenseNetSpec, load_checkpoint, save_checkpoint
from densenet_core.networks.build import build_model
from tests.conftest import trained_like

NETWORK = "densenet-40-12-digits"


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "densenet-lens"


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """The file of a network of 20 connections for the digits."""
    model = build_model(DenseNetSpec((3, 3), 4, 8, in_channels=1))
    record = {"dataset": "Digits (8x8)", "recipe": {"dataset": "digits"}}
    save_checkpoint(Checkpoint(model.spec, model.state_dict(), record), tmp_path / "tiny.safetensors")
    return str(tmp_path / "tiny.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["contribution", "taylor", "ablation"])
def test_reuse_by_a_measure_on_images(measure: str, tiny: str, own_cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights.csv"
    assert run(["reuse", tiny, "--measure", measure, "--images", "20", "--table", str(out)]) == 0
    assert measure in out.read_text().splitlines()[0].split(",")
    assert any(own_cache.glob("ablation-*")) == (measure == "ablation")


@pytest.mark.slow
def test_claims_are_printed_and_written(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "claims.csv"
    assert run(["claims", tiny, "--dataset", "digits", "--images", "20", "--table", str(out)]) == 0
    said = capsys.readouterr().out
    assert " 4. Layers after the first block give the transition's output (row 0) the least weight of all." in said
    assert "share of the dense layers whose least-weighted source is row 0" in said
    assert "holds if at least 0.75; untrained" in said
    assert len(pd.read_csv(out)) == len(FIGURE_5) + len(ON_IMAGES)


@pytest.mark.slow
def test_agreement_prints_numbers_and_writes_the_scatter(
    own_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scatter.pdf"
    assert run(["agreement", NETWORK, "--second", "taylor", "--images", "20", "--figure", str(out)]) == 0
    assert "rank correlation (Spearman)" in capsys.readouterr().out
    assert out.read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_prune_writes_a_network_that_every_command_reads(
    tiny: str, own_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "small.safetensors")
    assert run(["prune", tiny, "--keep", "0.8", "--measure", "mean_abs_weight", "--out", out, "--finetune", "1"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"connections +20 +16", said)
    for command in (
        ["evaluate", out],
        ["inspect", out],
        ["cost", out, "--input", "8"],
        ["reuse", out],
        ["claims", out],
    ):
        assert run(command) == 0, command
    assert "4 of 20 connections cut" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("parts", [(".",), ("train", "test")])
def test_prune_fine_tunes_on_every_folder_that_it_measures_on(
    parts: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (Path(part) / name for part in parts for name in ("cat", "dog")):
        (tmp_path / "data" / place).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (8, 8), (30 * number, 0, 0)).save(tmp_path / "data" / place / f"{number}.png")
    spec = DenseNetSpec((3,), 2, 4, num_classes=2)
    save_checkpoint(Checkpoint(spec, trained_like(spec).state_dict()), tmp_path / "a.safetensors")
    words = ["prune", str(tmp_path / "a.safetensors"), "--keep", "0.8", "--out", str(tmp_path / "b.safetensors")]
    words += ["--dataset", "folder", "--data", str(tmp_path / "data"), "--normalize", "none"]
    assert run([*words, "--finetune", "1", "--against-scratch", "1"]) == 0
    assert "from scratch" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "b.safetensors").record["finetuned"]["data"] == "data"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prune", NETWORK, "--out", "small.pt"], "--out file 'small.pt' does not end in .safetensors"),
        (["reuse", NETWORK, "--measure", "taylor", "--dataset", "cifar10"], "data set cifar10 is not under"),
        (["evaluate", NETWORK, "--crops", "10"], "crops 10 is for photographs"),
        (["claims", NETWORK, "--beside", "nothing"], "checkpoint 'nothing' is neither"),
    ],
)
def test_what_is_wrong_with_an_effect_is_one_sentence(
    arguments: list[str], message: str, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert message in capsys.readouterr().err
