"""What a visitor of the dashboard waits for, in Chromium on the same machine.

`python benchmarks/dashboard.py`: from the server's start to the first heatmap drawn, beside a Streamlit app that draws
one small heatmap and nothing else; a change of control on
DenseNet-201 until it is drawn; a change of page, for pages that draw at once; a link opened by a new visitor of the
server, until the heatmap is drawn; and a change of control on the Efficiency page with 2,000 runs.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from playwright.async_api import Browser, Page, async_playwright

from app.dashboard.pages import GROUPS, PAGES
from densenet_core import Checkpoint, create_model, save_checkpoint
from densenet_core.hardware import hardware
from load import FLAGS, IMPORTS, MEASURES, Session, change, choose, upload
from runs import finished_runs
from support import recorded
from support.served import MAIN, serving

STARTS, CHANGES, VISITS, LINKS, TOGGLES, RUNS = 4, 30, 3, 4, 6, 2000
SMALLEST = """
import plotly.graph_objects as go
import streamlit as st

st.plotly_chart(go.Figure(go.Heatmap(z=[[1, 2], [3, 4]])))
"""
HEATMAP = ".js-plotly-plot .heatmaplayer image"
LINK = "?network=zoo.densenet-bc-76-12-digits&measure=effective_weight"
AT_ONCE = ("comparison", "gradient_flow", "claims", "feature_reuse")  # pages that measure nothing when they are opened
IS_DRAWN = """
address => location.pathname == address
    && document.querySelector("[data-testid=stApp]").dataset.testScriptState == "notRunning"
"""


async def see_heatmap(page: Page, url: str) -> None:
    """Open an address, and wait until its first heatmap is drawn."""
    await page.goto(url)
    await page.wait_for_selector(HEATMAP, state="attached")


async def first_heatmaps(browser: Browser) -> tuple[list[float], list[float]]:
    """Return the seconds from the server's start until a new visitor's first heatmap: ours, and of the smallest app."""
    seconds: tuple[list[float], list[float]] = [], []
    with tempfile.TemporaryDirectory() as folder:
        smallest = Path(folder) / "smallest.py"
        smallest.write_text(SMALLEST)
        for _ in range(STARTS):
            for main, taken in zip((MAIN, smallest), seconds, strict=True):
                taken.append(await first_heatmap(browser, Path(folder), main))
    return seconds


async def first_heatmap(browser: Browser, folder: Path, main: Path) -> float:
    """Start an app; return the seconds until a new visitor's first heatmap is drawn."""
    page = await browser.new_page()
    start = time.monotonic()
    with serving(folder, folder / "log", main=main) as server:
        await see_heatmap(page, server.url)
        seconds = time.monotonic() - start
    await page.close()
    return seconds


async def changes_of_control(browser: Browser) -> list[float]:
    """Return the seconds from the click until DenseNet-201 is drawn anew; the server has imported all by then."""
    torch.manual_seed(0)
    model, session = create_model("densenet201", 1000), Session("own-densenet201")
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "densenet201.safetensors"
        save_checkpoint(Checkpoint(model.spec, model.state_dict(), {"dataset": session.name}), file)
        with serving(Path(name), Path(name) / "log") as server:
            page = await browser.new_page()
            await upload(page, server.url, file, session)
            await page.wait_for_load_state("networkidle")
            await asyncio.sleep(IMPORTS)
            state, chance = {"Measure": MEASURES[0], "Scaling": "kind_max"}, random.Random(0)
            for _ in range(CHANGES):
                await change(page, session, state, chance)
                await asyncio.sleep(0.5)
            await page.close()
    return session.drawn_s


async def open_page(page: Page, module: str) -> float:
    """Open a page by the menu; return when its link was clicked, by the monotonic clock."""
    group = next(group for group, pages in GROUPS.items() if module in pages)
    if group:
        await page.get_by_test_id("stTopNavSection").nth(list(GROUPS).index(group) - 1).click()
    link = page.get_by_test_id("stTopNavDropdownLink" if group else "stTopNavLink").nth(GROUPS[group].index(module))
    await link.wait_for()
    start = time.monotonic()
    await link.click()
    return start


async def changes_of_page(page: Page) -> list[float]:
    """Return the seconds from the click on a page's link until it is drawn; the first round imports and is left out."""
    seconds = []
    for visit in range(1 + VISITS):
        for module in AT_ONCE:
            start = await open_page(page, module)
            await page.wait_for_function(IS_DRAWN, arg=f"/{PAGES[module][0]}", polling=20)
            if visit:
                seconds.append(time.monotonic() - start)
            await asyncio.sleep(0.5)
    return seconds


async def links_opened(browser: Browser, url: str) -> list[float]:
    """Return the seconds from a link's opening in a new browser context until its heatmap is drawn."""
    seconds = []
    for _ in range(LINKS):
        context = await browser.new_context()
        page = await context.new_page()
        start = time.monotonic()
        await see_heatmap(page, f"{url}/{LINK}")
        seconds.append(time.monotonic() - start)
        await context.close()
    return seconds


async def pages_and_links(browser: Browser) -> tuple[list[float], list[float]]:
    """Return the seconds of changes of page with the first network, and of links of others opened by new visitors."""
    with tempfile.TemporaryDirectory() as name, serving(Path(name), Path(name) / "log") as server:
        links = await links_opened(browser, server.url)
        page = await browser.new_page(viewport={"width": 1440, "height": 1000})
        await see_heatmap(page, server.url)
        await asyncio.sleep(IMPORTS)
        return await changes_of_page(page), links


async def changes_with_many_runs(browser: Browser) -> list[float]:
    """Return the seconds of a change of control on the Efficiency page, with a point for each of ``RUNS`` runs."""
    with tempfile.TemporaryDirectory() as name:
        finished_runs(Path(name) / "runs", RUNS)
        with serving(Path(name), Path(name) / "log") as server:
            page = await browser.new_page(viewport={"width": 1440, "height": 1000})
            await see_heatmap(page, server.url)
            await open_page(page, "efficiency")
            await page.get_by_text("log axis").first.wait_for(timeout=120_000)  # it counts each network's cost once
            await choose(page, "Data set", "C10+")
            await page.wait_for_function(f"document.querySelectorAll('.scatterlayer .point').length > {RUNS}")
            await page.wait_for_load_state("networkidle")
            seconds = [await toggle_logarithm(page) for _ in range(TOGGLES)]
            await page.close()
    return seconds


async def toggle_logarithm(page: Page) -> float:
    """Return the seconds from the click until the axis has other labels."""
    labels = "[...document.querySelectorAll('.xtick text')].map(text => text.textContent).join()"
    before = await page.evaluate(labels)
    start = time.monotonic()
    await page.get_by_text("log axis").first.click()
    await page.wait_for_function(f"before => {labels} != before", arg=before, polling=20)
    return time.monotonic() - start


async def measure() -> dict[tuple[str, str], list[float]]:
    """Return all waits, in seconds."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        first, smallest = await first_heatmaps(browser)
        pages, links = await pages_and_links(browser)
        found = {
            ("server", "start to first heatmap"): first,
            ("smallest Streamlit app", "start to first heatmap"): smallest,
            ("server", "link opened by a new visitor"): links,
            ("first network", "change of page"): pages,
            ("densenet201", "change of control"): await changes_of_control(browser),
            (f"Efficiency, {RUNS:,} runs", "change of control"): await changes_with_many_runs(browser),
        }
        await browser.close()
    return found


def main() -> None:
    found = asyncio.run(measure())
    print(f"Chromium and server on {hardware()}")
    rows = []
    for (case, way), seconds in found.items():
        middle, high = np.percentile(seconds, (50, 95))
        print(f"  {case}, {way}: median {middle:.2f} s, p95 {high:.2f} s ({len(seconds)})")
        rows.append(recorded.row(case, way, seconds, seconds, p95_ms=1000 * high))
    recorded.write("dashboard", "Waits in Chromium, until drawn", rows)


if __name__ == "__main__":
    main()
