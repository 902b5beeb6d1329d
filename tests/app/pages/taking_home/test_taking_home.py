"""Every figure, picture and table of every page has a download; ``conftest`` looks at all other tests' pages too."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.reuse.emergence import record_reuse
from app.dashboard.pages import PAGES
from app.dashboard.views.notes import SECTIONS
from app.dashboard.widgets import downloads
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
from tests.app.pages.conftest import without_download
from tests.app.pages.pages import DIGITS, FEW, choose_all
from tests.app.pages.taking_home.again import make_again

QUICK = {  # a page -> the beginnings of what its code makes within seconds
    "feature_reuse": ("weights", "row", "column", "observations"),
    "gradient_flow": ("path_lengths", "layers"),
    "agreement": ("agreement_total", "agreement_with", "disagreements"),
    "efficiency": ("error_vs_params", "efficiency_claims"),
    "comparison": ("comparison", "costs_by_stage"),
}
DRAWN = {  # a page that forgets a download -> what it draws without
    "st.dataframe([{'a': 1}])": ["dataframe"],
    "st.table([{'a': 1}])": ["table"],
    "st.image(np.zeros((2, 2, 3), 'uint8'))": ["image"],
    "st.plotly_chart({'data': [{'y': [1]}]}); st.download_button('CSV', b'')": ["plotly_chart"],
    "st.dataframe([{'a': 1}]); st.markdown('##### next'); st.download_button('CSV', b'')": ["dataframe"],
    "st.dataframe([{'a': 1}]); st.popover('x').download_button('CSV', b'')": [],
}


def drawn(page: str, **address: str) -> AppTest:
    script = f"from app.dashboard.pages import show_page\nshow_page({page!r})\n"
    found = AppTest.from_string(script, default_timeout=240)
    for name, value in address.items():
        found.query_params[name] = value
    choose_all(found, zoo_name=DIGITS, images_number=FEW).run()
    assert not found.exception
    return found


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("page", [page for page in PAGES if page != "notes"])  # whose downloads are made again below
def test_a_page_has_downloads_that_work_for_all_that_it_draws(page: str) -> None:
    found = drawn(page)
    assert not without_download(found)
    for name, item in found.session_state[downloads._ITEMS].items():
        for ending, content in item.files().items():
            if ending not in ("svg", "png") or item.formats == ("png",):
                assert content(), (name, ending)


@pytest.mark.parametrize("page", QUICK)
@pytest.mark.usefixtures("app")
def test_code_makes_the_files_that_the_page_offers(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = drawn(page, agreement_first="total_abs_weight", agreement_second="mean_abs_weight")
    items = found.session_state[downloads._ITEMS]
    found.session_state[downloads._ITEMS] = {name: item for name, item in items.items() if name.startswith(QUICK[page])}
    assert len(make_again(found, tmp_path, monkeypatch)) == len(QUICK[page])


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.usefixtures("app")
def test_code_makes_the_files_of_the_notes(section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_again(drawn("notes", section=section), tmp_path, monkeypatch)


@pytest.mark.usefixtures("app")
def test_code_makes_the_files_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(TrainingConfig("densenet-7-2", "digits", "demo", epochs=2), on_epoch=record_reuse, show_progress=False)
    names = {"runs", "demo_curves", "demo_reuse", "demo_observations"}
    assert make_again(drawn("training"), tmp_path, monkeypatch) == names


@pytest.mark.parametrize("page", DRAWN)
def test_what_has_no_download_is_found(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the look at every page, which would fail
    found = AppTest.from_string(f"import numpy as np\nimport streamlit as st\n{page}\n").run()
    assert not found.exception
    assert without_download(found) == DRAWN[page]
