"""Files with several sets of weights: chosen on the command line and on the page, and named by ``inspect``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from streamlit.testing.v1 import AppTest

from analysis import connection_weights
from app.cli.main import run
from densenet_core import CheckpointError, DenseNetSpec, load_checkpoint
from densenet_core.errors import SeveralNetworksError
from tests.conftest import trained_like

SPEC = DenseNetSpec((2, 2), 3, 6, num_classes=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    plain, averaged = (trained_like(SPEC).state_dict() for _ in range(2))
    averaged = {key: tensor * 0.5 if tensor.is_floating_point() else tensor for key, tensor in averaged.items()}
    torch.save({"state_dict": plain, "state_dict_ema": averaged, "epoch": 3}, folder / "ema.pth")
    both = {f"{name}.{key}": t for name, state in (("a", plain), ("b", averaged)) for key, t in state.items()}
    torch.save(both, folder / "two.pth")
    torch.save({"student": plain, "teacher": averaged}, folder / "nested.pth")
    return folder


def test_inspect_names_every_set_and_what_else_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(folder / "ema.pth")]) == 0
    lines = capsys.readouterr().out.splitlines()
    pairs = {line[:16].strip(): line[16:].strip() for line in lines if line[:1] not in (" ", "")}
    assert pairs["Weights"] == "state_dict"
    assert pairs["Other weights"] == "'state_dict_ema': choose with --weights NAME"
    assert pairs["Also in the file"] == "'epoch'"
    assert run(["inspect", str(folder / "ema.pth"), "--weights", "state_dict_ema", "--json"]) == 0
    held = json.loads(capsys.readouterr().out)["file"]
    assert (held["weights"], held["other_weights"]) == ("state_dict_ema", ["state_dict"])


@pytest.mark.parametrize("weights", ["state_dict", "state_dict_ema"])
def test_reuse_reads_the_weights_that_are_named(weights: str, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    assert run(["reuse", str(folder / "ema.pth"), "--table", str(table), "--weights", weights]) == 0
    state = torch.load(folder / "ema.pth")[weights]
    first = state["features.denseblock1.denselayer1.conv1.weight"].abs().mean().item()
    assert pd.read_csv(table)["mean_abs_weight"][0] == pytest.approx(first, rel=1e-6)


@pytest.mark.parametrize("command", ["inspect", "cost", "evaluate", "claims", "agreement", "lens", "classes"])
def test_an_unknown_name_is_one_sentence(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, str(folder / "ema.pth"), "--weights", "no"]) == 2
    error = capsys.readouterr().err
    assert "no weights named 'no': it holds 'state_dict', 'state_dict_ema'" in error and error.count("\n") == 1


@pytest.mark.parametrize(("file", "names"), [("two.pth", ("a", "b")), ("nested.pth", ("student", "teacher"))])
def test_two_networks_in_one_file_must_be_chosen_from(file: str, names: tuple[str, str], folder: Path) -> None:
    with pytest.raises(SeveralNetworksError, match="choose one with --weights NAME") as refused:
        load_checkpoint(folder / file)
    assert refused.value.names == names
    one, other = (load_checkpoint(folder / file, weights=name).arrays["classifier.weight"] for name in names)
    np.testing.assert_allclose(other, 0.5 * one)


def test_a_zoo_network_has_one_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "densenet-40-12-digits", "--weights", "ema"]) == 2
    assert "zoo network 'densenet-40-12-digits' has one set" in capsys.readouterr().err


def page(path: str) -> None:
    from pathlib import Path

    import streamlit as st

    from app.dashboard import loading
    from app.dashboard.keys import file_key
    from app.dashboard.widgets.reading import choose_weights

    key = choose_weights(file_key(Path(path)), "")
    assert key is not None
    st.text(repr(float(loading.load(key).arrays["classifier.weight"].sum())))


@pytest.mark.parametrize(("file", "names"), [("ema.pth", ["state_dict", "state_dict_ema"]), ("two.pth", ["a", "b"])])
def test_the_page_offers_the_sets(file: str, names: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["main.py", "--root", str(folder)])  # pages open served files only
    app = AppTest.from_function(page, kwargs={"path": str(folder / file)}, default_timeout=20).run()
    assert not app.exception
    picker = app.selectbox(key="weights")
    assert picker.options == names
    plain = float(app.text[0].value)
    picker.select(names[1])
    app.run()
    assert float(app.text[0].value) == pytest.approx(0.5 * plain, rel=1e-5)


def test_no_set_of_an_optimizer_is_offered(tmp_path: Path) -> None:
    state = trained_like(SPEC).state_dict()
    momentum = {number: {"exp_avg": tensor} for number, tensor in enumerate(state.values())}
    torch.save({"model": state, "optimizer": {"state": momentum, "param_groups": []}}, tmp_path / "a.pth")
    held = load_checkpoint(tmp_path / "a.pth").held
    assert held is not None
    assert (held.weights, held.other_weights, held.others) == ("model", (), ("optimizer",))
    with pytest.raises(CheckpointError, match="no weights named 'optimizer'"):
        load_checkpoint(tmp_path / "a.pth", weights="optimizer")
    assert len(connection_weights(load_checkpoint(tmp_path / "a.pth"))) == 12


def test_why_lists_every_reading_and_its_result(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", "--why", "--json", str(folder / "ema.pth")]) == 0
    rows = {(row["weights"], row["reading"]): row["result"] for row in json.loads(capsys.readouterr().out)}
    assert rows["state_dict", "torchvision"] == rows["state_dict_ema", "torchvision"] == f"read as {SPEC.title}"
    assert rows["state_dict", "MONAI"] == "no tensor is named features.denseblock1.denselayer1.layers.norm1.weight"
    assert rows["state_dict", "by shapes: a plain DenseNet"] == "fits with blocks of 2, 2 layers"
    state = trained_like(SPEC).state_dict()
    del state["features.denseblock1.denselayer2.conv1.weight"]
    torch.save(state, tmp_path / "cut.pth")
    assert run(["inspect", "--why", str(tmp_path / "cut.pth")]) == 0
    lines = capsys.readouterr().out.splitlines()
    (named,) = (line for line in lines if "the names match, but" in line)
    assert "features.denseblock1.denselayer2.conv1.weight" in named
    assert any("by shapes: with another head or none" in line and "does not fit" in line for line in lines)
