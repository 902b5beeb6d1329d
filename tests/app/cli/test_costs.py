"""Commands that count and compare costs, and print the paper's tables."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from analysis.architecture.cost import count_cost, total_cost
from app.cli.main import run
from densenet_core import load_zoo


def test_cost_of_a_name_a_shorthand_and_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for network in ("121", "densenet121"):
        assert run(["cost", network, "--input", "224"]) == 0
        out = capsys.readouterr().out
        assert "2,834,161,664" in out
        assert "7,978,856" in out
    assert run(["cost", "densenet-40-12-digits", "--layers", "--csv", str(tmp_path / "cost.csv")]) == 0
    assert "features.denseblock3.denselayer12.conv1" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "cost.csv")["params"].sum() == load_zoo("densenet-40-12-digits").num_params


@pytest.mark.slow
def test_compare(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "densenet-bc-40-12", "resnet-20", "--measure"]) == 0
    out = capsys.readouterr().out
    assert "176,122" in out
    assert "269,722" in out
    assert "forward_ms" in out
    assert run(["compare", "resnet-20", "resnet-20"]) == 0


@pytest.mark.slow
def test_tables_by_their_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["table", "2", "--format", "latex"]) == 0
    assert "\\toprule" in capsys.readouterr().out
    assert run(["table", "3", "--format", "csv", "--out", str(tmp_path / "t.csv")]) == 0
    errors = pd.read_csv(tmp_path / "t.csv")["top-1, single crop (10-crop)"]
    assert [text.split()[0] for text in errors] == ["25.02", "23.80", "22.58", "22.15"]
    assert run(["table", "1"]) == 0
    for ending, said in (("tex", "\\toprule"), ("csv", "DenseNet-121,"), ("txt", "DenseNet-121  ")):
        file = tmp_path / f"by_ending.{ending}"
        assert run(["table", "3", "--out", str(file)]) == 0
        assert said in file.read_text()


def test_costs_are_for_images_of_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = load_zoo("densenet-40-12-digits")
    assert network.record["image_size"] == 8
    expected = total_cost(count_cost(network.architecture, 8))["mult_adds"]
    assert run(["cost", "densenet-40-12-digits", "--csv", str(tmp_path / "a.csv")]) == 0
    assert "DenseNet (L=40, k=12), images of 8 x 8 pixels" in (out := capsys.readouterr().out)
    assert f"{expected:,}" in out
    assert set(pd.read_csv(tmp_path / "a.csv")["input_size"]) == {8}
    assert run(["cost", "densenet-40-12-digits", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["input_size"], content["total"]["mult_adds"]) == (8, expected)
    assert run(["compare", "densenet-40-12-digits", "resnet-20"]) == 0
    assert re.search(r"^input_size +8 +8$", capsys.readouterr().out, re.MULTILINE)
    assert run(["cost", "densenet-40-12"]) == 0
    assert "images of 32 x 32 pixels" in capsys.readouterr().out
