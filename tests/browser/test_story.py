"""The whole story in a real Chromium: a file is dropped, seen on every page, handed over and measured; a run trains."""

from __future__ import annotations

import io
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from app.dashboard.pages import GROUPS, PAGES
from app.dashboard.widgets.network_origins import START
from densenet_core.checkpoints.zoo import load_zoo, zoo_path

DIGITS = "densenet-40-12-digits"
NAME = "mine.safetensors"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]


def open_page(page: Page, module: str) -> None:
    group = next(group for group, pages in GROUPS.items() if module in pages)
    if group:
        page.get_by_test_id("stTopNavSection").nth(list(GROUPS).index(group) - 1).click()
    links = page.get_by_test_id("stTopNavDropdownLink" if group else "stTopNavLink")
    links.nth(GROUPS[group].index(module)).click()
    expect(page).to_have_url(re.compile(rf"/{PAGES[module][0]}(\?|$)"))


def test_the_story(browser: BrowserContext, url: str) -> None:
    page = browser.new_page()
    page.goto(url)
    _drop_a_file(page)
    _see_it_on_other_pages(page)
    _open_the_link_elsewhere(page, browser)
    _measure_cancel_and_resume(page)
    _download_all(page)
    _train_and_be_refused(page)
    assert page.evaluate("document.documentElement.lang") == "en"
    page.close()


def _drop_a_file(page: Page) -> None:
    page.locator("input[type=file]").first.set_input_files(
        {"name": NAME, "mimeType": "application/octet-stream", "buffer": zoo_path(DIGITS).read_bytes()}
    )
    expect(page.get_by_text(NAME).last).to_be_visible()
    expect(page.get_by_text("1,019,434").first).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()


def _see_it_on_other_pages(page: Page) -> None:
    """The network stays; nothing long starts by itself, and no page fails."""
    for module in ("claims", "pruning", "agreement"):
        open_page(page, module)
        expect(page.get_by_test_id("stMain").get_by_text("1,019,434").first).to_be_visible()
        expect(page.locator(".stException")).to_have_count(0)
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


def _open_the_link_elsewhere(page: Page, browser: BrowserContext) -> None:
    """A shipped network, a cell, and its address in another tab, which is another session."""
    open_page(page, "feature_reuse")
    page.get_by_role("combobox", name="Load from").click()
    page.get_by_role("option", name="Shipped with the suite").click()
    expect(page.get_by_text(f"{load_zoo(START).num_params:,}").first).to_be_visible()
    cell = page.get_by_role("textbox", name="Connection")
    cell.fill("block 2, 1 -> 3")
    cell.press("Enter")
    expect(page.get_by_role("heading", name="Block 2: from layer 1 to layer 3")).to_be_visible()
    expect(page).to_have_url(re.compile(r"cell=2\.1\.3"))
    other = browser.new_page()
    other.goto(page.url)
    expect(other.get_by_role("heading", name="Block 2: from layer 1 to layer 3")).to_be_visible()
    other.close()


def _measure_cancel_and_resume(page: Page) -> None:
    page.get_by_role("combobox", name="Shipped network").click()
    page.get_by_role("option", name=DIGITS, exact=True).click()
    expect(page.get_by_text("1,019,434").first).to_be_visible()
    page.get_by_role("combobox", name="Measure").click()
    page.get_by_role("option", name="loss rise when cut").click()
    page.get_by_role("spinbutton", name="Test images").fill("60")
    main = page.get_by_test_id("stMain")
    main.get_by_role("button", name=re.compile("Measure$")).click()
    main.get_by_role("button", name="Cancel").click()
    main.get_by_role("button", name=re.compile("Measure$")).click()
    expect(main.get_by_role("button", name="Cancel")).to_be_visible()
    open_page(page, "efficiency")  # the work goes on
    open_page(page, "feature_reuse")
    expect(main.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(page.locator(".js-plotly-plot").first).to_be_visible()


def _download_all(page: Page) -> None:
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all").click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as file:
        assert file.testzip() is None
        assert {"feature_reuse_ablation.pdf", "feature_reuse_ablation.csv", "README.md"} <= set(file.namelist())
        assert "ablation" in file.read("feature_reuse_ablation.csv").decode().splitlines()[0]


def _train_and_be_refused(page: Page) -> None:
    open_page(page, "training")
    page.get_by_role("combobox", name="Network").click()
    page.keyboard.type("densenet-7-2")
    page.keyboard.press("Enter")
    expect(page.get_by_placeholder("densenet-7-2-digits")).to_be_visible()
    page.get_by_role("spinbutton", name="Epochs").fill("2")
    page.get_by_role("textbox", name="Name").fill("demo")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("Started demo")).to_be_visible()
    expect(page.get_by_text("epoch 2 of 2").first).to_be_attached()
    expect(page.locator(".st-key-manage_demo")).to_be_visible()  # its process has ended
    page.get_by_role("spinbutton", name="Epochs").fill("3")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_test_id("stAlert").filter(has_text="demo")).to_contain_text("did not start")
    expect(page.get_by_text("Started demo")).to_have_count(0)
