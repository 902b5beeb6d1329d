"""Networks of which only the feature reuse is known: shown where that is enough, refused by name elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from analysis import connection_weights
from analysis.available import available_analyses
from app.cli.main import run
from densenet_core import Checkpoint, load_checkpoint, load_zoo
from densenet_core.networks.build import create_model
from tests.app.pages.pages import heatmap_cells, upload
from tests.densenet_core.checkpoints.formats.foreign import ForeignDenseNet, trained

pytestmark = pytest.mark.slow
REFUSED = "only the feature reuse is known: tensors 'stages.0.0.gate.0.weight'"


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("odd") / "gated.pth"
    torch.save(trained(ForeignDenseNet(gated=True, new_first=True)).state_dict(), file)
    return file


def test_the_reuse_page_shows_it_and_says_what_needs_more(app: AppTest, gated: Path) -> None:
    upload(app, "gated.pth", gated.read_bytes())
    assert not app.exception
    assert not app.error
    assert len(heatmap_cells(app)) == len(connection_weights(load_checkpoint(gated)))
    app.selectbox(key="measure").select("taylor").run()
    assert not app.exception
    assert REFUSED in app.error[0].value.replace("\\", "")


@pytest.mark.parametrize("name", ["agreement", "claims", "gradient_flow", "pruning"])
def test_other_pages_refuse_it_by_name(name: str, gated: Path) -> None:
    page = AppTest.from_string(f"from app.dashboard.views import {name}\n{name}.show()\n", default_timeout=240).run()
    upload(page, "gated.pth", gated.read_bytes())
    assert not page.exception
    assert REFUSED in page.error[0].value.replace("\\", "")


@pytest.mark.parametrize("command", [["evaluate"], ["claims"], ["prune", "--out", "cut.safetensors"], ["cost"]])
def test_commands_refuse_it_in_one_line(command: list[str], gated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command[0], str(gated), *command[1:]]) == 2
    assert REFUSED in capsys.readouterr().err


def test_inspect_says_what_it_is_and_what_can_be_done(gated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(gated)]) == 0
    out = capsys.readouterr().out
    for line in (
        "Identified by   shapes alone; 12 convolutions and 12 norms have one place each; running statistics",
        "Concatenation   new feature maps first",
        "Block 2         'shrinks.0.c', 'stages.1.0.expand', 'stages.1.1.expand'",
        "  yes  feature reuse by effective weights",
        "  no   loss and error on images",
    ):
        assert line in out
    assert run(["reuse", str(gated)]) == 0


def test_abilities_of_usual_networks() -> None:
    assert available_analyses(load_zoo("densenet-40-12-digits"))["possible"].all()
    resnet = create_model("resnet-20")
    found = available_analyses(Checkpoint(resnet.spec, resnet.state_dict())).set_index("analysis")
    assert found.index[found["possible"]].tolist() == [
        "cost, memory, latency, comparison, ONNX",
        "loss and error on images",
    ]
    assert (
        found.loc["claims, redundancy, short paths", "reason"]
        == "feature reuse is measured on DenseNets: this is a ResNet-20"
    )


def test_the_order_can_be_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(ForeignDenseNet(new_first=True).state_dict(), tmp_path / "a.pth")
    assert run(["inspect", str(tmp_path / "a.pth")]) == 0
    assert "old feature maps first (assumed: the running statistics do not show it)" in capsys.readouterr().out
    assert run(["reuse", str(tmp_path / "a.pth"), "--order", "new_first", "--table", str(tmp_path / "t.csv")]) == 0
    assert run(["inspect", str(tmp_path / "a.pth"), "--order", "new_first"]) == 0
    assert "new feature maps first\n" in capsys.readouterr().out
    assert run(["reuse", str(tmp_path / "a.pth"), "--order", "newest"]) == 2
    assert "--order 'newest' is unknown: choose from old_first, new_first" in capsys.readouterr().err
