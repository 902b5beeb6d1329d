"""A server that is killed loses nothing that a page had saved."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from benchmarks.support.served import serving
from densenet_core.training.runs.files import METRICS, WEIGHTS, read_metrics
from densenet_core.training.runs.status import is_training, read_summary

EPOCHS = 8
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]


def start_run(page: Page, url: str) -> None:
    page.goto(f"{url}/training")
    page.get_by_role("combobox", name="Network").click()
    page.keyboard.type("densenet-7-2")
    page.keyboard.press("Enter")
    page.get_by_role("spinbutton", name="Epochs").fill(str(EPOCHS))
    page.get_by_role("textbox", name="Name").fill("demo")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("Started demo")).to_be_visible()


def wait_for_epoch(folder: Path, epoch: int) -> None:
    for _ in range(6000):
        if (folder / WEIGHTS).exists() and read_summary(folder).epoch >= epoch:
            return
        time.sleep(0.05)
    pytest.fail(f"no epoch {epoch} after five minutes")


def test_a_killed_server_loses_no_run(browser: BrowserContext, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "demo"
    page = browser.new_page()
    with serving(tmp_path, tmp_path / "log") as server:
        start_run(page, server.url)
        wait_for_epoch(run, 2)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(10)
    before = read_metrics(run / METRICS)
    assert is_training(run)  # it goes on without the server
    wait_for_epoch(run, read_summary(run).epoch + 2)
    with serving(tmp_path, tmp_path / "log") as server:
        page.goto(f"{server.url}/training")
        expect(page.locator(".js-plotly-plot").first).to_be_visible()
        # the table of runs is drawn on a canvas: its words are in the page, and not visible
        expect(page.get_by_text("finished").first).to_be_attached()
        expect(page.get_by_text(f"epoch {EPOCHS} of {EPOCHS}").first).to_be_attached()
    page.close()
    after = read_metrics(run / METRICS)
    assert after[: len(before)] == before
    assert len(after) == 2 * EPOCHS + 1  # two rows an epoch, and the training images at the end
