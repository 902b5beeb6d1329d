"""Images of every kind that people have are explained, or rejected in words that name the file."""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app.cli.main import run
from app.dashboard.widgets import downloads
from tests.app.pages.odd.test_addresses import opened
from tests.app.pages.pages import DIGITS, page


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def frames() -> bytes:
    first, second = Image.new("RGB", (9, 9), "red"), Image.new("RGB", (9, 9), "blue")
    return encoded(first, "WEBP", save_all=True, append_images=[second], duration=50)


READ = {
    "one pixel": ("a.png", encoded(Image.new("RGB", (1, 1)))),
    "one line": ("a.png", encoded(Image.new("L", (4000, 1)))),
    "16 bits": ("a.png", encoded(Image.fromarray(np.full((9, 9), 40_000, np.uint16)))),
    "one bit": ("a.png", encoded(Image.new("1", (9, 9)))),
    "gray with alpha": ("a.png", encoded(Image.new("LA", (9, 9)))),
    "palette with transparency": ("a.png", encoded(Image.new("P", (9, 9)), transparency=0)),
    "CMYK": ("a.jpg", encoded(Image.new("CMYK", (9, 9)), "JPEG")),
    "animated": ("a.webp", frames()),
    "another ending": ("a.png", encoded(Image.new("RGB", (9, 9)), "JPEG")),
    "a name of marks": ("<b>*\u202e`.png", encoded(Image.new("RGB", (9, 9)))),
}
REJECTED = {
    "nothing": (b"", "not a readable"),
    "cut short": (READ["CMYK"][1][:200], "not a readable"),
    "a bomb": (encoded(Image.new("1", (50_000, 50_000)), optimize=False), "megapixels"),
    "TIFF": (encoded(Image.new("RGB", (9, 9)), "TIFF"), "not a readable"),
}


def uploaded(found: AppTest, name: str, content: bytes) -> AppTest:
    found.file_uploader(key="prediction_upload_png").clear()
    found.file_uploader(key="prediction_upload_png").upload(name, content)
    found.run()
    assert not found.exception
    return found


@pytest.fixture
def upload_page(app: AppTest) -> AppTest:
    return page(app, "prediction", prediction_origin="upload")


def test_images_of_every_kind_are_explained(upload_page: AppTest) -> None:
    for kind, (name, content) in READ.items():
        found = uploaded(upload_page, name, content)
        assert not found.error, (kind, found.error[0].value)
        assert found.get("plotly_chart"), kind


def test_what_is_no_image_is_rejected_by_name(upload_page: AppTest) -> None:
    for kind, (content, words) in REJECTED.items():
        found = uploaded(upload_page, "photo.png", content)
        assert [words in error.value and "photo" in error.value for error in found.error] == [True], kind
        assert not found.get("plotly_chart"), kind


def test_code_and_command_of_an_upload_make_what_the_page_offers(
    upload_page: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, content = READ["CMYK"]
    found = uploaded(upload_page, name, content)
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    items = found.session_state[downloads._ITEMS]
    exec(items["class_map"].code.python, {})
    assert Path("class_map.png").read_bytes() == items["class_map"].files()["png"]()
    words = shlex.split(items["prediction"].code.command)
    assert words[:4] == ["densenet-lens", "explain", DIGITS, name]
    assert run(words[1:]) == 0
    table = pd.read_csv("prediction.csv")
    assert table["contribution"].tolist() == pytest.approx(items["prediction"].data["contribution"].tolist(), abs=1e-5)


@pytest.mark.usefixtures("app")
def test_images_that_are_not_on_the_server_are_no_mistake_of_the_visitors() -> None:
    found = opened("pruning")
    assert not found.exception and not found.error
    assert any("which are not on this server" in info.value for info in found.info)
    found = opened("pruning", images_root="elsewhere")
    assert found.error and not found.info
