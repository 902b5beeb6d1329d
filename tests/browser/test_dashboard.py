"""The dashboard in a real Chromium: what AppTest can't see, from the server's start to the file on disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from app.dashboard.pages import GROUPS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]


HEATMAP = ".st-key-heatmap"  # of a block, before its number


@pytest.fixture(scope="module")
def page(browser: BrowserContext) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_page_is_reached_by_the_menu_on_a_screen_1000_pixels_wide(language: str, page: Page, url: str) -> None:
    page.set_viewport_size({"width": 1000, "height": 900})
    page.goto(f"{url}/?language={language}")
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    expect(page.get_by_test_id("stTopNavLink")).to_have_count(len(GROUPS[""]))
    groups = page.get_by_test_id("stTopNavSection")
    expect(groups).to_have_count(len(GROUPS) - 1)  # Streamlit's menu of what has no room would be one more
    for place, pages in enumerate(list(GROUPS.values())[1:]):
        groups.nth(place).click()
        expect(page.get_by_test_id("stTopNavDropdownLink")).to_have_count(len(pages))
        page.keyboard.press("Escape")


def test_see_the_heatmap_click_a_cell_and_take_the_pdf_home(page: Page, url: str) -> None:
    page.set_viewport_size({"width": 1440, "height": 1100})
    page.goto(f"{url}/reuse")
    expect(page.locator(f"{HEATMAP}3").get_by_text("Dense block 3")).to_be_visible()
    expect(page.locator("[class*=st-key-heatmap] .hm image")).to_have_count(3)

    _click_cell(page, block=1, source=2, target=5)
    expect(page.get_by_role("heading", name="Block 1: from layer 2 to layer 5")).to_be_visible()
    _click_cell(page, block=2, source=0, target=4)
    expect(page.get_by_role("heading", name="Block 2: from the block's input to layer 4")).to_be_visible()

    with page.expect_download() as download:
        page.get_by_role("button", name="PDF", exact=True).click()
    assert download.value.suggested_filename == "densenet-40-12-cifar10-jpeg_feature_reuse_mean_abs_weight.pdf"
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(b"%PDF") and b"densenet-lens reuse densenet-40-12-cifar10-jpeg" in content
    expect(page.locator(".stException")).to_have_count(0)


def _click_cell(page: Page, block: int, source: int, target: int) -> None:
    """Clicks the middle of a cell, once the heatmap stays where it is: charts above may still find their size."""
    seen, found = None, _middle(page, block, source, target)
    while found != seen:
        seen = found
        page.mouse.move(*found)
        expect(page.locator(f"{HEATMAP}{block} .hoverlayer")).to_contain_text(
            f"block {block}: source {source} → target {target}"
        )
        found = _middle(page, block, source, target)
    page.mouse.click(*found)


def _middle(page: Page, block: int, source: int, target: int) -> tuple[float, float]:
    """The middle of a cell, by the positions that Plotly gives its axes."""
    x, y = page.evaluate(
        """([block, source, target]) => {
            const plot = document.querySelector(`.st-key-heatmap${block} .js-plotly-plot`), layout = plot._fullLayout;
            const box = plot.getBoundingClientRect(), x = layout.xaxis, y = layout.yaxis;
            return [box.left + x._offset + x.l2p(target), box.top + y._offset + y.l2p(source)];
        }""",
        [block, source, target],
    )
    return x, y


def test_an_invalid_file_shows_a_sentence_not_a_traceback(page: Page) -> None:
    page.get_by_role("combobox", name="Load from").click()
    page.get_by_role("option", name="Upload").click()
    page.locator("input[type=file]").set_input_files(
        {"name": "cat.pth", "mimeType": "application/octet-stream", "buffer": b"this is no checkpoint"}
    )
    expect(page.get_by_test_id("stAlert").last).to_contain_text("the file is text, which holds no weights")
    expect(page.locator(".stException")).to_have_count(0)


def test_the_language_outlives_a_reload_and_a_change_of_page(page: Page, url: str) -> None:
    page.goto(f"{url}/notes")
    expect(page.get_by_role("heading", name="How DenseNet works")).to_be_visible()
    page.get_by_role("radio", name="한국어").click()
    expect(page.get_by_role("heading", name="DenseNet의 동작 원리")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="DenseNet의 동작 원리")).to_be_visible()
    page.get_by_test_id("stTopNavSection").filter(has_text="네트워크").click()
    page.get_by_test_id("stTopNavDropdownLink").filter(has_text="비교").click()
    expect(page.get_by_role("heading", name="두 네트워크 나란히 보기")).to_be_visible()
    expect(page.locator(".stException")).to_have_count(0)
