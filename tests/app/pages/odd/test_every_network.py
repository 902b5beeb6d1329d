"""No page ends in an uncaught error, whatever network is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from analysis import connection_weights
from analysis.reuse.pruning import prune
from app.dashboard.pages import PAGES
from densenet_core import Checkpoint, DenseNet, DenseNetSpec, save_checkpoint
from densenet_core.networks.build import create_model
from tests.app.pages.pages import MAIN
from tests.densenet_core.checkpoints.formats.foreign import ForeignDenseNet, trained

pytestmark = pytest.mark.slow
WITHOUT_NETWORK = {"efficiency", "training", "notes"}
RECORD = {"dataset": "Digits (8x8)", "recipe": {"dataset": "digits"}}
NETWORKS = ("densenet", "resnet", "fractalnet", "highway", "concatenating", "pruned", "three_dimensional")


def dense(dims: int = 2) -> Checkpoint:
    spec = DenseNetSpec((2, 2), 2, 4, in_channels=1, spatial_dims=dims)
    return Checkpoint(spec, DenseNet(spec).state_dict(), RECORD)


def by_name(name: str) -> Checkpoint:
    model = create_model(name, num_classes=10, in_channels=1)
    return Checkpoint(model.spec, model.state_dict(), RECORD)


def write(name: str, folder: Path) -> Path:
    if name == "concatenating":
        file = folder / "net.pth"
        torch.save(trained(ForeignDenseNet(gated=True, new_first=True)).state_dict(), file)
        return file
    if name == "pruned":
        network = dense()
        network = prune(network, connection_weights(network), "mean_abs_weight", keep=0.6)
    elif name == "three_dimensional":
        network = dense(dims=3)
    else:
        kinds = {"resnet": "resnet-20", "fractalnet": "fractalnet-21", "highway": "highway-10-8"}
        network = by_name(kinds[name]) if name in kinds else dense()
    file = folder / "net.safetensors"
    save_checkpoint(network, file)
    return file


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["streamlit", "--root", str(tmp_path)])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    app = AppTest.from_string("", default_timeout=120)
    app.session_state["images_number"] = 20
    return app


@pytest.mark.parametrize("network", NETWORKS)
def test_every_page_shows_it_or_says_why_not(network: str, app: AppTest, tmp_path: Path) -> None:
    app.query_params["network"] = f"path:{write(network, tmp_path)}"
    for page in [page for page in PAGES if page not in WITHOUT_NETWORK]:
        app._script_path = _page(page, tmp_path)
        app.run()
        assert not app.exception, (page, app.exception[0].value)
        assert str(tmp_path) in app.session_state["kept"]["network"], page  # this network, not the first of the zoo


def _page(module: str, folder: Path) -> str:
    script = folder / f"{module}.py"
    script.write_text(f"from app.dashboard.pages import show_page\nshow_page({module!r})\n")
    return str(script)


def test_the_reuse_page_rejects_resnets(app: AppTest, tmp_path: Path) -> None:
    file = write("resnet", tmp_path)
    app = AppTest.from_file(MAIN, default_timeout=240)
    app.query_params["network"] = f"path:{file}"
    app.run()
    assert not app.exception
    assert not app.error
    assert "feature reuse is measured on DenseNets: this is a ResNet" in app.info[0].value.replace("\\", "")
    assert [link.proto.label for link in app.get("page_link")] == ["Compare two networks"]
    assert not app.get("plotly_chart")
