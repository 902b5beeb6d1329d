"""The commands explain, lens and classes on a network of the zoo."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from analysis.figures.export import table_bytes
from app.cli.main import run
from app.cli.prediction import join_tables
from densenet_core import Checkpoint, DenseNetSpec, save_checkpoint
from tests.conftest import trained_like

pytestmark = pytest.mark.slow
NETWORK = "densenet-40-12-digits"


@pytest.fixture
def digit(tmp_path: Path) -> Path:
    """A handwritten 3 of the test set, enlarged."""
    digits = load_digits()
    row = np.flatnonzero(digits.target == 3)[4]
    pixels = np.rint(digits.images[row] * (255 / 16)).astype(np.uint8)
    file = tmp_path / "three.png"
    Image.fromarray(pixels).resize((80, 80), Image.Resampling.NEAREST).save(file)
    return file


def test_explain(digit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure, table = tmp_path / "out.pdf", tmp_path / "out.csv"
    assert run(["explain", NETWORK, str(digit), "--figure", str(figure), "--table", str(table)]) == 0
    printed = capsys.readouterr().out
    assert "logit of 3" in printed and "bias" in printed and "source 12" in printed
    assert figure.read_bytes().startswith(b"%PDF") and len(pd.read_csv(table)) == 14


def test_explain_why_not(digit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", NETWORK, str(digit), "--class", "3", "--against", "8", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["class"] == "3, not 8" and found["top"][0]["class"] == "3"
    assert sum(found["contributions"].values()) == pytest.approx(found["logit"], rel=1e-4)


def test_lens_and_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "lens.svg"
    assert run(["lens", NETWORK, "--images", "60", "--untrained", "--figure", str(figure), "--json"]) == 0
    printed = capsys.readouterr().out
    found = json.loads(printed[: printed.rindex("}") + 1])
    trained, untrained = found.values()
    assert trained[-1]["error"] < 10 < untrained[-1]["error"] and len(trained) == 13
    assert figure.exists()


def test_no_change_is_printed_without_a_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = ["class", "num_images", "block", "source_layer", "target_layer", "ablation", "error_rise"]
    table = pd.DataFrame([(c, 10, 1, 0, 1, -1e-9, -1e-3) for c in range(10)], columns=columns)
    no_pairs = pd.DataFrame(columns=["block", "source_layer", "target_layer", "class", "predicted", "images"])
    monkeypatch.setattr("analysis.prediction.by_class.reuse_by_class", lambda *_, **__: table)
    monkeypatch.setattr("analysis.prediction.by_class.confusion_pairs", lambda _: no_pairs)
    assert run(["classes", NETWORK]) == 0
    printed = capsys.readouterr().out
    assert "+0.0 points" in printed and "+0.000" in printed and "-0.0" not in printed


def test_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = DenseNetSpec((2, 2), 4, 8, in_channels=1)
    save_checkpoint(Checkpoint(spec, trained_like(spec).state_dict()), tmp_path / "small.safetensors")
    files = tmp_path / "classes.png", tmp_path / "classes.csv"
    words = ["classes", str(tmp_path / "small.safetensors"), "--dataset", "digits", "--images", "100"]
    assert run([*words, "--figure", str(files[0]), "--table", str(files[1])]) == 0
    assert "taken for" in capsys.readouterr().out
    assert files[0].exists() and len(pd.read_csv(files[1])) == spec.num_connections * 10


def test_what_is_wrong_is_one_sentence(digit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.png").write_text("no image")
    assert run(["explain", NETWORK, str(tmp_path / "no.png")]) == 2
    assert "is not a readable PNG, JPEG or WebP image" in capsys.readouterr().err
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        assert run(["explain", NETWORK, str(tmp_path / "pipe.png")]) == 2
        assert "pipe.png' can't be read: it is not a regular file" in capsys.readouterr().err
        assert run(["explain", NETWORK, str(digit), "--names", str(tmp_path / "pipe.png")]) == 2
        assert "pipe.png' can't be read: it is not a regular file" in capsys.readouterr().err
    assert run(["explain", NETWORK, str(digit), "--class", "cow"]) == 2
    assert "class 'cow' is not a class of the network" in capsys.readouterr().err
    assert run(["explain", NETWORK, str(digit), "--class", "3", "--against", "3"]) == 2
    assert "--class and --against are both '3': choose two classes" in capsys.readouterr().err
    assert run(["explain", NETWORK, str(digit), "--against", "3"]) == 2
    assert "three.png' is predicted as '3', the class of --against: choose another" in capsys.readouterr().err


def test_a_file_name_that_is_not_unicode_is_written_escaped() -> None:
    table = join_tables({Path("\udcff.png"): pd.DataFrame({"source_layer": [0]})})
    assert table_bytes(table) == b"source_layer,image\n0,\\udcff.png\n"
