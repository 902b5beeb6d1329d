"""What a file does not show about its network is chosen on the page: the kind of norms without running statistics."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from densenet_core import DenseNetSpec, save_checkpoint
from densenet_core.checkpoints.checkpoint import Checkpoint
from densenet_core.networks.build import build_model
from tests.app.pages.odd.test_addresses import opened
from tests.app.pages.pages import DIGITS, heatmap_cells, shown

SPEC = DenseNetSpec((2, 2), 4, 8, norm="group", norm_groups=4)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    model = build_model(SPEC)
    torch.save(model.state_dict(), tmp_path / "groups.pth")
    torch.save(build_model(SPEC), tmp_path / "whole.pt")  # its classes show the norms
    save_checkpoint(Checkpoint(SPEC, model.state_dict()), tmp_path / "own.safetensors")
    monkeypatch.setattr("sys.argv", ["streamlit", "--root", str(tmp_path)])
    return tmp_path


def norms(page: AppTest) -> list[AppTest]:
    return [each for each in page.selectbox if each.label == "Norms"]


def test_the_kind_of_norms_is_chosen_where_a_file_is_and_is_in_the_link(folder: Path) -> None:
    file = folder / "groups.pth"
    page = opened("feature_reuse", network=f"path:{file}")
    assert SPEC.title not in shown(page).replace("\\", "")  # only what it concatenates is known
    norms(page)[0].set_value("group-4").run()
    assert not page.exception and not page.error
    assert SPEC.title in shown(page).replace("\\", "")
    assert len(heatmap_cells(page)) == 2 * (3 + 3)  # n(n+1)/2 + n+1 of each block
    assert any(f"load_checkpoint({str(file)!r}, norm='group-4')" in code.value for code in page.code)
    assert any(f"densenet-lens reuse {file}" in code.value and "--norm group-4" in code.value for code in page.code)
    again = opened("feature_reuse", **dict(page.query_params))
    assert not again.error and norms(again)[0].value == "group-4"


def test_an_unknown_kind_of_norms_is_an_error_in_words(folder: Path) -> None:
    page = opened("feature_reuse", network=f"path:{folder / 'groups.pth'}", norm="grup")
    assert not page.exception
    assert "Norm 'grup' is unknown" in page.error[0].value.replace("\\", "")


@pytest.mark.parametrize("network", [f"zoo:{DIGITS}", "path:own.safetensors", "path:whole.pt"])
def test_it_is_not_asked_where_the_file_shows_it(network: str, folder: Path) -> None:
    page = opened("feature_reuse", network=network.replace("path:", f"path:{folder}/"))
    assert not page.exception and not page.error
    assert not norms(page)
    assert "DenseNet" in shown(page)


def test_it_is_asked_for_a_file_that_is_dropped_on_the_first_page(folder: Path) -> None:
    page = opened("start")
    page.file_uploader(key="start_upload").upload("groups.pth", (folder / "groups.pth").read_bytes())
    page.run()
    assert not page.exception
    norms(page)[0].set_value("group-4").run()
    assert not page.exception and not page.error
    assert SPEC.title in shown(page).replace("\\", "")
    assert len(heatmap_cells(page)) == 2 * (3 + 3)
