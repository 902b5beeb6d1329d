"""No address ends in an uncaught error: values of other pages, out of range, unknown, very long, unreadable."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.dashboard.pages import PAGES
from densenet_core import Checkpoint, DenseNet, DenseNetSpec, save_checkpoint
from tests.app.pages.pages import DIGITS
from tests.app.pages.test_prediction_view import as_file

ODD = ("9" * 5000, "\0", "-1", "1.2.3.4", "<b>{x}%s")
SOURCES = (Path(__file__).parents[4] / "app" / "dashboard").rglob("*.py")
NAMES = {
    name for file in SOURCES for name in re.findall(r'(?:[kK](?:ey|EY)|name)=f?"(\w+)', file.read_text())
}  # of all widgets
NAMES |= {"cell", "prediction_cell", "section", "language", "networka", "networkb"}
NAMES |= {"prediction_depth_12", "prediction_row_class0"}


def opened(page: str, **address: str) -> AppTest:
    script = (
        "from app.dashboard.language import choose_language\nfrom app.dashboard.pages import show_page\n"
        f"choose_language()\nshow_page({page!r})\n"
    )
    found = AppTest.from_string(script, default_timeout=240)
    for name, value in address.items():
        found.query_params[name] = value
    return found.run()


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("page", PAGES)
def test_odd_values_are_the_defaults(page: str) -> None:
    for text in ODD if page == "feature_reuse" else ODD[:1]:
        found = opened(page, **dict.fromkeys(NAMES, text), network=f"zoo:{DIGITS}")
        assert not found.exception, (page, text[:20], found.exception[0].value)


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("name", [*ODD, "zoo:", "zoo:none", "run:\0", f"path:{'a' * 5000}", "pretrained:x", "upload:x"])
def test_odd_networks_are_the_first_one_or_an_error_in_words(name: str) -> None:
    found = opened("feature_reuse", network=name)
    assert not found.exception
    assert found.error or found.get("plotly_chart") or found.info


def test_a_slice_is_kept_within_the_next_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = DenseNetSpec((2, 2), 2, 4, in_channels=1, spatial_dims=3)
    file = tmp_path / "net.safetensors"
    save_checkpoint(Checkpoint(spec, DenseNet(spec).state_dict()), file)
    monkeypatch.setattr("sys.argv", ["streamlit", "--root", str(tmp_path)])
    found = opened("prediction", network=f"path:{file}", prediction_slice="7")
    for depth, expected in ((8, 7), (5, 3)):  # the middle one, where there is no 7th
        found.file_uploader(key="prediction_upload_npy").clear()
        found.file_uploader(key="prediction_upload_npy").upload("scan.npy", as_file(np.zeros((depth, 8, 8), "uint8")))
        found.run()
        assert not found.exception and not found.error
        assert found.slider(key="prediction_slice").value == expected
